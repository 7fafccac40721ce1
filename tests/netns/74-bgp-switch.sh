#!/usr/bin/env bash
# serial
# timeout: 180
# The cluster changes from vxlan to bgp, on to host-gw and back to bgp and vxlan while pods talk, in both families: no packet
# is lost; and bgp with a node away that still announces what was before.
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/bgp-lib"

switch sw
for n in 1 2 3; do node n$n $n; done
init --network 10.244.0.0/16 --network6 fd00:244::/48
start_agents n1 n2 n3
for n in 1 2 3; do pod n$n p1; done
pods=(n1-p1 n2-p1 n3-p1)
eventually 5 matrix "${pods[@]}"
lease_mode() { knet_in n1 node list -o json | jq -r --arg n "$1" '.nodes[] | select(.name == $n) | .leases[0].mode'; }

change() { # MODE [ARGUMENT...]
  local mode=$1 before n
  before=$(lease_mode n1)
  flood_to n1-p1 "${POD_IP[n2-p1]}"
  flood_to n2-p1 "${POD_IP[n3-p1]}"
  flood_to n3-p1 "${POD_IP[n1-p1]}"
  flood_to n1-p1 "${POD_IP[n3-p1]}" -M do -s $((1450 - 28))
  flood_to n2-p1 "${POD_IP6[n1-p1]}" -s $((1400 - 48))
  expect 0 knet_in n1 mode set "$@" --wait --wait-timeout 30s
  contains "3 nodes changed over to $mode"
  if [[ $mode == bgp ]]; then
    for n in 1 2 3; do eventually 5 sessions n$n 2; done
    # Until routes are learned what was there before carries on; then it goes.
    for n in 2 3; do
      eventually 10 via n1 "$(subnet_of n$n)" "via 192.168.77.$n dev eth0"
      eventually 10 via6 n1 "$(subnet6_of n$n)" "via fd00:77::$n dev eth0"
    done
  fi
  for n in n1 n2 n3; do eventually 10 status_says $n '.receives == []'; done
  none_lost "$before -> $mode"
  matrix "${pods[@]}" || die "the matrix in $mode"
}
change bgp
for n in n1 n2 n3; do eventually 3 no_tunnels $n; done
change host-gw
change bgp
change vxlan
knet_in n1 bgp peers >/dev/null 2>&1 && die "a speaker still runs in mode vxlan"

note "one is away meanwhile: the others reach its pods the old way"
stop_agent n3
flood_to n1-p1 "${POD_IP[n3-p1]}"
flood_to n1-p1 "${POD_IP[n2-p1]}"
flood_to n3-p1 "${POD_IP[n2-p1]}"
expect 0 knet_in n1 mode set bgp
for n in n1 n2; do eventually 8 status_says $n '.announced == "bgp"'; done
eventually 8 via n1 "$(subnet_of n2)" "via 192.168.77.2 dev eth0"
never 2 via n1 "$(subnet_of n3)" "dev eth0"
start_agents n3
eventually 15 via n1 "$(subnet_of n3)" "via 192.168.77.3 dev eth0"
eventually 15 via n3 "$(subnet_of n1)" "via 192.168.77.1 dev eth0"
none_lost "one away"
for n in 1 2 3; do cni DEL n$n p1 >/dev/null; done
assert_clean
