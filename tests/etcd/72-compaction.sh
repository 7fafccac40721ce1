#!/usr/bin/env bash
# History is compacted while an agent is cut off from etcd: when it is back it lists anew, sees who came, who went and whose MAC
# changed, and says so once; nothing is lost meanwhile.
source "$(dirname "$0")/../netns/lib.sh"

switch sw
node n1 1; node n2 2
etcd_up
# The nodes take theirs below 64, so that they never meet the subnets that are put here by hand.
init --network 10.244.0.0/16 --subnet-max 10.244.63.0
start_agents n1 n2
pod n1 p1; pod n2 p1
eventually 2 can_ping n1-p1 "${POD_IP[n2-p1]}"
put() { # SUBNET LAST-NUMBER MAC-END
  etcdctl put "$PREFIX/subnets/$1-24" \
    '{"PublicIP":"192.168.77.'$2'","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:'$3'"}}' >/dev/null
}
put 10.244.81.0 81 81; put 10.244.82.0 82 82
routed() { [[ -n $(in_ns n1 ip route show "$1/24") ]]; }
unrouted() { ! routed "$1"; }
eventually 2 routed 10.244.81.0
eventually 2 routed 10.244.82.0

note "n1 is cut off from etcd; the cluster changes and the history goes"
pid=${AGENT[n1]}
flood n1-p1 "${POD_IP[n2-p1]}"
etcd_down KILL
public=$ETCD_URL
ETCD_URL=http://127.0.0.1:2379
etcd_up
STORE=$public
etcdctl del "$PREFIX/subnets/10.244.81.0-24" >/dev/null
put 10.244.82.0 82 8f
put 10.244.83.0 83 83
eventually 15 status_says n1 '.store.connected | not'
for _ in 1 2 3; do etcdctl put /elsewhere x >/dev/null; done
revision=$(etcdctl get /elsewhere -w json | jq .header.revision)
etcdctl compact --physical "$revision" >/dev/null
routed 10.244.81.0 || die "a route was removed on an old view"

etcd_down KILL
ETCD_URL=$public
etcd_up
eventually 20 routed 10.244.83.0
eventually 2 unrouted 10.244.81.0
in_ns n1 ip neigh show 10.244.82.0 dev knet.1 | found 02:00:00:00:00:8f || die "the changed MAC of 10.244.82.0 was not seen"
in_ns n1 bridge fdb show dev knet.1 | found 02:00:00:00:00:82 && die "the old MAC's fdb entry stayed"
[[ $(in_ns n1 bridge fdb show dev knet.1 | grep -c permanent) == 3 ]] || die "fdb entries: $(in_ns n1 bridge fdb show dev knet.1)"
kill -0 "$pid" || die "the agent ended"
eventually 5 agent_ready n1
lost=$(flood_lost)
[[ $lost == 0 ]] || die "$lost packets lost"

note "and it follows on"
put 10.244.84.0 84 84
eventually 2 routed 10.244.84.0
for subnet in 82 83 84; do etcdctl del "$PREFIX/subnets/10.244.$subnet.0-24" >/dev/null; done
assert_clean
