#!/usr/bin/env bash
# The node's address changes, as DHCP or another NIC would have it: the lease is updated, the subnet kept, the peers follow, the
# agent goes on; first another address on the same NIC, then another NIC that matches the selector, then the first one again.
source "$(dirname "$0")/lib.sh"

switch sw
node n1 1; node n2 2
etcd_up
init --network 10.244.0.0/16
start_agent n1 --iface-regex '^192\.168\.77\.[1-9]'
start_agent n2
for name in n1 n2; do eventually 5 agent_ready $name; done
pod n1 p1; pod n2 p1
eventually 2 can_ping n1-p1 "${POD_IP[n2-p1]}"
subnet=$(subnet_of n1) pid=${AGENT[n1]}
key=$PREFIX/subnets/$(tr / - <<<"$subnet")
etcd_lease=$(lease_id "$key")

follows() { # ADDRESS DEVICE: lease, own device, the peer's fdb
  [[ $(lease_of n1 | jq -r .PublicIP) == "$1" ]] &&
    in_ns n1 ip -d link show knet.1 | found "local $1 dev $2 " &&
    in_ns n2 bridge fdb show dev knet.1 | found "dst $1 "
}
check() { # WHAT ADDRESS DEVICE
  eventually ${FOLLOW:-10} follows "$2" "$3"
  eventually 1 can_ping n1-p1 "${POD_IP[n2-p1]}"
  eventually 1 can_ping n2-p1 "${POD_IP[n1-p1]}"
  [[ $(subnet_of n1) == "$subnet" ]] || die "$1: another subnet"
  [[ $(lease_id "$key") == "$etcd_lease" ]] || die "$1: the lease was not kept but made anew"
  kill -0 "$pid" || die "$1: the agent ended"
  eventually 2 agent_ready n1
  [[ $(in_ns n2 bridge fdb show dev knet.1 | grep -c permanent) == 1 ]] || die "$1: old fdb entries stay on the peer"
  note "$1: followed"
}

note "another address on the same NIC"
in_ns n1 sh -ec 'ip addr add 192.168.77.51/24 dev eth0; ip addr del 192.168.77.1/24 dev eth0
  ip addr add 192.168.77.51/24 dev eth0 2>/dev/null || true; ip route replace default via 192.168.77.254'
FOLLOW=1 check "address" 192.168.77.51 eth0

note "another NIC that matches"
nic n1 eth1 n1b sw
in_ns n1 sh -ec 'ip addr flush dev eth0; ip link set eth0 down
  ip addr add 192.168.77.61/24 dev eth1; ip route replace default via 192.168.77.254'
check "NIC" 192.168.77.61 eth1

note "the first NIC again, the second one unplugged (which takes the vxlan with it)"
in_ns n1 ip link del eth1
in_ns n1 ip link set eth0 up
underlay n1 1 eth0
check "NIC back" 192.168.77.1 eth0
assert_clean
