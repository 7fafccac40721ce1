#!/usr/bin/env bash
# Two routed segments, n1 and n2 on one, n3 on the other. Encap none: the router between them learns pods' subnets by eBGP (BIRD), the
# nodes send all plain. Encap ipip and vxlan, with and without DirectRouting: who is encapsulated, packets as large as pods may
# send, floods while an agent restarts.
# timeout: 180
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/bgp-lib"

has_mode() { knet_in n1 mode list -o json | jq -e --arg m "$1" '.modes[] | select(.name == $m) | .runs_here' >/dev/null; }
switch left
switch right
router core left 77 right 78
NET[left]=77 NET[right]=78
node n1 1 left
node n2 2 left
node n3 3 right
mkdir -p "$WORK/core"
pods=(n1-p1 n2-p1 n3-p1)

# way FROM TO: the device and gateway that the kernel takes from a node to another's pods
way() { in_ns "$1" ip route get "${POD_IP[$2-p1]}" | sed -n '1s/.*\(via [0-9.]*\)\? *dev \([^ ]*\).*/\2/p'; }
full() { # FROM TO: exactly as large as the pod's MTU, and no more
  local mtu
  mtu=$(in_ns "$1-p1" cat /sys/class/net/eth0/mtu)
  can_ping "$1-p1" "${POD_IP[$2-p1]}" -M do -s $((mtu - 28)) || die "$1 -> $2: $mtu bytes, DF"
  can_ping "$1-p1" "${POD_IP[$2-p1]}" -M do -s $((mtu - 27)) && die "$1 -> $2: $((mtu + 1)) bytes, DF, must not pass"
  MTU=$mtu
}
round() { # WHAT DEVICE NEAR-DEVICE [OPTION...]: up, look, down
  local what=$1 device=$2 near=$3 n
  shift 3
  note "$what"
  STORE=sqlite://$WORK/$((ROUND += 1)).db
  init --network 10.244.0.0/16 --mode bgp "$@"
  start_agents n1 n2 n3
  for n in 1 2 3; do eventually 10 sessions n$n 2; done
  for n in 1 2 3; do pod n$n p1; done
  [[ -z ${FABRIC:-} ]] || $FABRIC
  eventually 8 matrix "${pods[@]}" || { for n in 1 2 3; do echo "n$n:"; in_ns n$n ip route; done >&2; die "$what: the matrix"; }
  [[ $(way n1 n3) == "$device" && $(way n3 n1) == "$device" ]] || die "$what: n1 -> n3 by $(way n1 n3), n3 -> n1 by $(way n3 n1), expected $device"
  [[ $(way n1 n2) == "$near" ]] || die "$what: n1 -> n2 by $(way n1 n2), expected $near"
  full n1 n3
  full n3 n2
  flood_to n1-p1 "${POD_IP[n3-p1]}" -s $((MTU - 28))
  flood_to n3-p1 "${POD_IP[n2-p1]}"
  flood_to n2-p1 "${POD_IP[n1-p1]}"
  stop_agent n3 KILL
  start_agents n3
  eventually 10 sessions n3 2
  stop_agent n1
  start_agents n1
  eventually 10 sessions n1 2
  if [[ $device == eth0 ]]; then no_tunnels n1 || die "$what: a tunnel device"; fi
  none_lost "$what, pods' MTU $MTU"
  for n in 1 2 3; do cni DEL n$n p1 >/dev/null; done
  assert_clean
  for n in 1 2 3; do ip netns del "$TAG-n$n-p1"; done
}
ROUND=0

fabric() {
  for n in 1 2; do expect 0 knet_in n1 bgp peer add 192.168.77.254 --name core-n$n --as 65001 --node n$n; done
  expect 0 knet_in n1 bgp peer add 192.168.78.254 --name core-n3 --as 65001 --node n3
  bird_up core <<'BIRD'
router id 192.168.77.254;
protocol device { }
protocol direct { ipv4; }
protocol kernel { ipv4 { import none; export where source = RTS_BGP; }; }
template bgp node { ipv4 { import where net ~ [ 10.244.0.0/16+ ]; export all; }; direct; graceful restart on; connect delay time 1; }
protocol bgp n1 from node { local 192.168.77.254 as 65001; neighbor 192.168.77.1 as 64512; }
protocol bgp n2 from node { local 192.168.77.254 as 65001; neighbor 192.168.77.2 as 64512; }
protocol bgp n3 from node { local 192.168.78.254 as 65001; neighbor 192.168.78.3 as 64512; }
BIRD
  eventually 10 bird_established core 3
  for n in 1 2 3; do eventually 10 sessions n$n 3; done
  FABRIC=
}
if command -v bird >/dev/null; then
  sessions() { bgp_is "$1" "([.peers[] | select(.state == \"established\")] | length) == (.peers | length) and (.peers | length) >= $2"; }
  FABRIC=fabric round "Encap none over a fabric that speaks BGP" eth0 eth0
  bird_down core
  unset FABRIC
else
  echo "NOT TESTED: Encap none over a fabric, as bird is not installed"
fi
round "Encap vxlan, DirectRouting" knet.1 eth0 --opt Encap=vxlan
round "Encap vxlan always" knet.1 knet.1 --opt Encap=vxlan --opt DirectRouting=false
if has_mode ipip; then
  round "Encap ipip, DirectRouting" knet.ipip eth0 --opt Encap=ipip
  round "Encap ipip always" knet.ipip knet.ipip --opt Encap=ipip --opt DirectRouting=false
else
  echo "NOT TESTED: Encap ipip, as the mode ipip does not run here"
fi
