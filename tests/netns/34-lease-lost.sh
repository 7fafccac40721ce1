#!/usr/bin/env bash
# The own lease is deleted, revoked, or in the hands of another: taken again, the same subnet where it is free, by the same agent.
source "$(dirname "$0")/lib.sh"

switch sw
node n1 1; node n2 2
etcd_up
init --network 10.244.0.0/16
start_agents n1 n2
pod n1 p1; pod n2 p1
eventually 2 can_ping n1-p1 "${POD_IP[n2-p1]}"
pid=${AGENT[n1]} subnet=$(subnet_of n1) key=$PREFIX/subnets/$(subnet_of n1 | tr / -)
value=$(etcdctl get --print-value-only "$key")
again() { # WHAT: the key is back with the same value and a TTL, the peer routes it, pods talk
  eventually 3 sh -c "[ '$value' = \"\$(ip netns exec $TAG-sw env ETCDCTL_API=3 etcdctl --endpoints $ETCD_URL get --print-value-only $key)\" ]"
  [[ $(lease_id "$key") != 0 ]] || die "$1: a lease without a TTL"
  eventually 2 sh -c "ip -n $TAG-n2 route show $subnet | grep -q knet.1"
  eventually 2 can_ping n1-p1 "${POD_IP[n2-p1]}"
  [[ $(subnet_of n1) == "$subnet" ]] || die "$1: another subnet"
  kill -0 "$pid" || die "$1: the agent ended"
  eventually 3 agent_ready n1
  note "$1: taken again"
}
etcdctl del "$key" >/dev/null
again "key deleted"
etcdctl lease revoke "$(lease_id "$key")" >/dev/null
again "lease revoked"
note "deleted while etcd could not be asked"
kill -STOP "$pid"
etcdctl del "$key" >/dev/null
kill -CONT "$pid"
again "deleted behind its back"
note "overwritten by somebody with nonsense of ours"
etcdctl put "$key" '{"PublicIP":"192.168.77.99","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:99"}}' >/dev/null
settled() { status_says n1 '.ready' && kill -0 "$pid" && can_ping n1-p1 "${POD_IP[n2-p1]}"; }
sleep 0.5
kill -0 "$pid" || die "the agent ended"

note "taken by another while we were away: another subnet, the agent goes on"
kill -STOP "$pid"
etcdctl del "$key" >/dev/null
etcdctl put "$key" '{"PublicIP":"192.168.77.98","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:98"}}' >/dev/null
kill -CONT "$pid"
other() { local now; now=$(subnet_of n1); [[ -n $now && $now != "$subnet" ]]; }
eventually 5 other
kill -0 "$pid" || die "the agent ended"
eventually 5 agent_ready n1
[[ $(lease_of n1 | jq -r .PublicIP) == 192.168.77.1 ]] || die "no lease of the new subnet"
pod n1 p2
eventually 3 can_ping n1-p2 "${POD_IP[n2-p1]}"
assert_clean
