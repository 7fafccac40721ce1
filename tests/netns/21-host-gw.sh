#!/usr/bin/env bash
# host-gw in dual stack: plain routes to the peers' addresses, the underlay's MTU for pods, no device of ours; repaired within
# a second, also after the NIC was down; a peer that is not on link is named and the others work.
source "$(dirname "$0")/lib.sh"

switch sw
node n1 1; node n2 2; node n3 3
init --network 10.244.0.0/16 --network6 fd00:244::/48 --mode host-gw
start_agents n1 n2 n3
pod n1 p1; pod n2 p1; pod n3 p1

note "kernel state"
for peer in n2 n3; do
  number=${peer#n}
  eventually 2 in_ns n1 sh -c "ip route show $(subnet_of $peer) | grep -q 'via 192.168.77.$number dev eth0 proto 107'"
  eventually 2 in_ns n1 sh -c "ip -6 route show $(subnet6_of $peer) | grep -q 'via fd00:77::$number dev eth0 proto 107'"
done
[[ -z $(in_ns n1 ip -br link | grep -E '^knet6?\.' || true) ]] || die "host-gw needs no device"
in_ns n1 ip -6 route show | found "blackhole $(subnet6_of n1) .*proto 107" || die "blackhole of the own IPv6 subnet"
[[ $(in_ns n1-p1 cat /sys/class/net/eth0/mtu) == 1500 ]] || die "pod MTU"

note "traffic, both families, full size"
for to in n2-p1 n3-p1; do
  eventually 2 can_ping n1-p1 "${POD_IP[$to]}"
  eventually 2 can_ping n1-p1 "${POD_IP6[$to]}"
  can_ping n1-p1 "${POD_IP[$to]}" -M do -s 1472 || die "DF at 1500"
  can_ping n1-p1 "${POD_IP6[$to]}" -M do -s 1452 || die "IPv6 at 1500"
done

note "repair"
settled() { local a b; a=$(ours n1); sleep 0.2; b=$(ours n1); [[ $a == "$b" ]]; }
eventually 3 settled
want=$(ours n1)
traffic="in_ns n1-p1 ping -n -q -c 1 -W 0.3 ${POD_IP[n2-p1]} >/dev/null 2>&1"
traffic6="in_ns n1-p1 ping -n -q -c 1 -W 0.3 ${POD_IP6[n2-p1]} >/dev/null 2>&1"
restore="ip addr replace 192.168.77.1/24 dev eth0; ip addr replace fd00:77::1/64 dev eth0 nodad
  ip route replace default via 192.168.77.254; ip -6 route replace default via fd00:77::fe"
repaired "route" n1 "$want" "ip route del $(subnet_of n2)" "$traffic"
repaired "IPv6 route" n1 "$want" "ip -6 route del $(subnet6_of n2)" "$traffic6"
repaired "IPv6 pod route" n1 "$want" "ip -6 route del ${POD_IP6[n1-p1]}" "$traffic6"
repaired "underlay down and up" n1 "$want" "ip link set eth0 down; sleep 0.1; ip link set eth0 up; $restore" "$traffic && $traffic6"
repaired "addresses removed and restored" n1 "$want" \
  "ip addr flush dev eth0; sleep 0.1; $restore" "$traffic && $traffic6"
assert_clean
