#!/usr/bin/env bash
# udp and ipip with DirectRouting over two segments: plain routes inside a segment, the tunnel across the router, for both
# families; judged by the node's real prefix, not by what a route says.
#
#   n1 .1, n2 .2 ── sw 192.168.77.0/24 ── r ── sw2 192.168.78.0/24 ── n3 .3
# timeout: 120
source "$(dirname "$0")/lib.sh"

switch sw; switch sw2
router r sw 77 sw2 78
node n1 1 sw; node n2 2 sw; node n3 3 sw2
in_ns sw nft -f - <<'NFT'
table bridge count {
  chain forward { type filter hook forward priority 0;
    iifname "n1" oifname "n2" udp dport 8285 counter comment "udp-near"
    iifname "n1" oifname "reth0" udp dport 8285 counter comment "udp-far"
    iifname "n1" oifname "n2" ip protocol 4 counter comment "ipip-near"
    iifname "n1" oifname "reth0" ip protocol 4 counter comment "ipip-far"
    iifname "n1" oifname "n2" ip6 nexthdr 41 counter comment "ipip6-near"
    iifname "n1" oifname "reth0" ip6 nexthdr 41 counter comment "ipip6-far"
  }
}
NFT
counted() { in_ns sw nft list table bridge count | grep "\"$1\"" | grep -oP 'packets \K[0-9]+'; }
rows() { in_ns "$1" ip $3 route show "$2"; }

for mode in udp ipip; do
  note "$mode"
  STORE=sqlite://$WORK/$mode.db
  init --network 10.244.0.0/16 --network6 fd00:244::/48 --mode $mode --opt DirectRouting=true
  start_agents n1 n2 n3
  pod n1 p1; pod n2 p1; pod n3 p1
  eventually 2 in_ns n1 sh -c "ip route show $(subnet_of n2) | grep -q 'via 192.168.77.2 dev eth0 proto 107'"
  eventually 2 in_ns n1 sh -c "ip -6 route show $(subnet6_of n2) | grep -q 'via fd00:77::2 dev eth0 proto 107'"
  eventually 2 in_ns n1 sh -c "ip route show $(subnet_of n3) | grep -q 'dev knet.$mode proto 107'"
  eventually 2 in_ns n1 sh -c "ip -6 route show $(subnet6_of n3) | grep -q 'dev knet.$mode proto 107'"
  room=$([[ $mode == udp ]] && echo 1472 || echo 1480)
  room6=$([[ $mode == udp ]] && echo 1452 || echo 1460)
  for to in n2-p1 n3-p1; do
    eventually 3 can_ping n1-p1 "${POD_IP[$to]}"
    eventually 3 can_ping n1-p1 "${POD_IP6[$to]}"
    can_ping n1-p1 "${POD_IP[$to]}" -M do -s $((room6 - 28)) || die "DF at the pods' MTU to $to"
    can_ping n1-p1 "${POD_IP6[$to]}" -M do -s $((room6 - 48)) || die "full-size IPv6 to $to"
  done
  in_ns n1 ip link show knet.$mode | found "mtu $room" || die "the device's MTU"
  [[ $(in_ns n1 cat /proc/sys/net/ipv6/conf/knet.$mode/mtu) == "$room6" ]] || die "IPv6's MTU on knet.$mode"
  [[ $(counted $mode-near) == 0 ]] || die "$mode between neighbours"
  [[ $(counted $mode-far) -ge 1 ]] || die "no $mode across the router"
  [[ $mode == udp || $(counted ipip6-near) == 0 ]] || die "ipip6 between neighbours"
  [[ $mode == udp || $(counted ipip6-far) -ge 1 ]] || die "no ipip6 across the router"

  note "DirectRouting off and on again while pods talk"
  flood n1-p1 "${POD_IP[n2-p1]}"
  knet_in n1 config set DirectRouting=false >/dev/null
  for name in n1 n2; do
    other=$([[ $name == n1 ]] && echo n2 || echo n1)
    eventually 3 in_ns $name sh -c "ip route show $(subnet_of $other) | grep -q 'dev knet.$mode proto 107'"
  done
  eventually 2 can_ping n1-p1 "${POD_IP[n2-p1]}"
  knet_in n1 config set DirectRouting=true >/dev/null
  for name in n1 n2; do
    other=$([[ $name == n1 ]] && echo n2 || echo n1)
    eventually 3 in_ns $name sh -c "ip route show $(subnet_of $other) | grep -q 'dev eth0 proto 107'"
  done
  note "lost of the flood: $(flood_lost)"
  for name in n1 n2 n3; do cni DEL $name p1 >/dev/null; ip netns del "$TAG-$name-p1"; done
  assert_clean
done
