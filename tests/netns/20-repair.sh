#!/usr/bin/env bash
# What is deleted or changed by hand comes back within a second, each thing by itself; nothing foreign is touched, before, during
# or after; and routes to a node that left while the agent was down are gone after its start.
# guest: always
source "$(dirname "$0")/lib.sh"

switch sw
node n1 1; node n2 2; node n3 3
init --network 10.244.0.0/16 --subnet-max 10.244.63.0  # the subnets put here by hand lie above

note "foreign things, some as near to ours as they can be"
in_ns n1 sh -ec '
  ip link add br-foreign type bridge; ip link set br-foreign up; ip addr add 172.20.0.1/24 dev br-foreign
  ip route add 10.99.0.0/16 via 172.20.0.9 dev br-foreign proto static
  ip route add 10.244.200.0/24 dev br-foreign proto static
  ip link add vxlan7 type vxlan id 7 dstport 4799 dev br-foreign; ip link set vxlan7 up
  ip neigh add 172.20.0.9 lladdr 02:00:00:00:00:09 dev br-foreign nud permanent
  ip rule add pref 1000 from 172.20.0.0/24 lookup main
  nft add table inet admin; nft add chain inet admin input "{ type filter hook input priority 0; policy accept; }"'
foreign_before=$(theirs n1)
foreign_107() { in_ns n1 ip route show proto 107 10.98.0.0/24 | found 'dev br-foreign'; }

start_agents n1 n2 n3
pod n1 p1; pod n2 p1; pod n3 p1
eventually 2 can_ping n1-p1 "${POD_IP[n2-p1]}"
eventually 2 can_ping n1-p1 "${POD_IP[n3-p1]}"

# The agent may still be at work on what the pods' start caused.
settled() { local a b; a=$(ours n1); sleep 0.2; b=$(ours n1); [[ $a == "$b" ]]; }
eventually 3 settled
in_ns n1 ip route add 10.98.0.0/24 dev br-foreign proto 107  # our protocol, but not inside the network
want=$(ours n1)

peer=$(subnet_of n2) gateway=${peer%/*}
mac=$(in_ns n2 cat /sys/class/net/knet.1/address)
host_dev=$(in_ns n1 ip -o route get "${POD_IP[n1-p1]}" | sed -n 's/.* dev \([^ ]*\).*/\1/p')
traffic="in_ns n1-p1 ping -n -q -c 1 -W 0.3 ${POD_IP[n2-p1]} >/dev/null 2>&1"
restore="ip addr replace 192.168.77.1/24 dev eth0; ip addr replace fd00:77::1/64 dev eth0 nodad
  ip route replace default via 192.168.77.254; ip -6 route replace default via fd00:77::fe"

# What is undone more than five times a minute counts as fought over; the agent's count begins anew with its start.
afresh() { stop_agent n1; start_agents n1; }

repaired "device deleted" n1 "$want" "ip link del knet.1" "$traffic"
repaired "route deleted" n1 "$want" "ip route del $peer" "$traffic"
repaired "route replaced by another gateway" n1 "$want" "ip route replace $peer via 192.168.77.3 proto 107" "$traffic"
repaired "fdb entry deleted" n1 "$want" "bridge fdb del $mac dev knet.1 dst 192.168.77.2 self" "$traffic"
repaired "neighbour deleted" n1 "$want" "ip neigh del $gateway dev knet.1" "$traffic"
repaired "neighbour with a wrong MAC" n1 "$want" \
  "ip neigh replace $gateway lladdr 02:00:00:00:00:66 dev knet.1 nud permanent" "$traffic"
repaired "pod's host route deleted" n1 "$want" "ip route del ${POD_IP[n1-p1]} dev $host_dev" "$traffic"
afresh
repaired "blackhole deleted" n1 "$want" "ip route del blackhole $(subnet_of n1)" "$traffic"
repaired "device's address deleted" n1 "$want" "ip addr flush dev knet.1 scope global" "$traffic"
repaired "nft table deleted" n1 "$want" "nft delete table inet knet" "$traffic"
repaired "nft rules flushed" n1 "$want" "nft flush table inet knet" "$traffic"
repaired "nft rule added" n1 "$want" "nft add rule inet knet postrouting counter" "$traffic"
repaired "underlay down and up" n1 "$want" "ip link set eth0 down; sleep 0.1; ip link set eth0 up; $restore" "$traffic"
afresh
repaired "underlay's address removed and restored" n1 "$want" "ip addr flush dev eth0 scope global; sleep 0.1; $restore" "$traffic"
repaired "vxlan down and up" n1 "$want" "ip link set knet.1 down; ip link set knet.1 up" "$traffic"
afresh
repaired "vxlan left down" n1 "$want" "ip link set knet.1 down" "$traffic"
repaired "vxlan's MAC changed" n1 "$want" "ip link set knet.1 address 02:00:00:00:00:77" "$traffic"
afresh
repaired "vxlan's MTU changed" n1 "$want" "ip link set knet.1 mtu 1300" "$traffic"
note "an impostor with our device's name and mark, but another VNI, when the agent starts"
stop_agent n1
in_ns n1 sh -ec 'ip link del knet.1; ip link add knet.1 type vxlan id 9 dstport 8472 local 192.168.77.1 dev eth0
  ip link set knet.1 alias knet'
start_agents n1
as_before() { [[ $(ours n1) == "$want" ]] && eval "$traffic"; }
eventually 1 as_before

note "fought over: left alone for a while, and said"
afresh
for _ in 1 2 3 4 5; do
  repaired "route, again and again" n1 "$want" "ip route del $peer"
done
hammer() { in_ns n1 ip route del "$peer"; status_says n1 '.fought_over | length > 0'; }
eventually 3 hammer
OUT=$(knet_in n1 status || true)
found "FOUGHT.*$peer" <<<"$OUT" || die "the status does not show what is fought over: $OUT"
stop_agent n1; start_agents n1
eventually 1 can_ping n1-p1 "${POD_IP[n2-p1]}"

note "nothing foreign was touched"
diff <(echo "$foreign_before") <(theirs n1) || die "foreign objects changed"
foreign_107 || die "a route of our protocol outside the network was removed"

note "what a node left behind while the agent was down"
gone=$(subnet_of n3)
stop_agent n1
in_ns n1 ip route show "$gone" | found knet.1 || die "the dataplane must stay when the agent stops"
stop_agent n3
knet_in n3 leave >/dev/null
in_ns n1 ip route show "$gone" | found knet.1 || die "no agent runs, and yet the route went"
start_agents n1
no_trace() {
  [[ -z $(in_ns n1 ip route show "$gone") ]] && ! in_ns n1 ip neigh show | found -F "${gone%/*} " &&
    ! in_ns n1 bridge fdb show dev knet.1 | found 'dst 192.168.77.3 '
}
eventually 1 no_trace
can_ping n1-p1 "${POD_IP[n2-p1]}" || die "the others must go on"

diff <(echo "$foreign_before") <(theirs n1) || die "foreign objects changed"
foreign_107 || die "a route of our protocol outside the network was removed"
in_ns n1 ip route del 10.98.0.0/24
NODES=(n1 n2)
assert_clean
diff <(echo "$foreign_before") <(theirs n1) || die "leave changed foreign objects"
