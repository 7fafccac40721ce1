#!/usr/bin/env bash
# Several endpoints: the first dead from the start, then the one in use dies and another takes over; agents, commands and watches go
# on without losing a change. A cluster of three etcd members, one of which is killed.
source "$(dirname "$0")/../netns/lib.sh"

switch sw
node n1 1; node n2 2
command -v etcd >/dev/null || { echo "skip: etcd is not installed"; exit 77; }
declare -A MEMBER
cluster=a=http://192.168.77.101:2380,b=http://192.168.77.102:2380,c=http://192.168.77.103:2380
mkdir "$WORK/etcd"
for i in 1 2 3; do in_ns sw ip addr add 192.168.77.10$i/24 dev br0; done
member() { # NAME NUMBER
  local url=http://192.168.77.10$2
  ip netns exec "$TAG-sw" etcd --name "$1" --data-dir "$WORK/etcd/$1" --listen-client-urls $url:2379 --advertise-client-urls $url:2379 \
    --listen-peer-urls $url:2380 --initial-advertise-peer-urls $url:2380 --initial-cluster $cluster \
    --heartbeat-interval 50 --election-timeout 500 >>"$WORK/etcd/$1.log" 2>&1 &
  MEMBER[$1]=$!
  PIDS+=($!)
}
member a 1; member b 2; member c 3
ETCDCTL_ENDPOINTS=http://192.168.77.101:2379,http://192.168.77.102:2379,http://192.168.77.103:2379
eventually 15 etcdctl endpoint health

note "the first endpoint is dead from the start"
STORE=http://192.168.77.99:2379,http://192.168.77.101:2379,http://192.168.77.102:2379,http://192.168.77.103:2379
init --network 10.244.0.0/16 --subnet-max 10.244.63.0  # the subnets put here by hand lie above
for name in n1 n2; do start_agent $name; done
for name in n1 n2; do eventually 15 agent_ready $name; done
pod n1 p1; pod n2 p1
eventually 2 can_ping n1-p1 "${POD_IP[n2-p1]}"

note "the member that n1 uses dies"
flood n1-p1 "${POD_IP[n2-p1]}"
used=$(in_ns n1 ss -Htn state established '( dport = :2379 )' | awk '{ print $4 }' | sort | uniq -c | sort -rn | awk 'NR == 1 { print $2 }')
case $used in *.101:*) dead=a number=1 ;; *.102:*) dead=b number=2 ;; *.103:*) dead=c number=3 ;; *) die "n1 is connected to nothing: '$used'" ;; esac
kill -9 "${MEMBER[$dead]}"
ETCDCTL_ENDPOINTS=$(sed "s#http://192.168.77.10$number:2379,\?##; s#,\$##" <<<"$ETCDCTL_ENDPOINTS")
eventually 15 etcdctl put "$PREFIX/subnets/10.244.81.0-24" \
  '{"PublicIP":"192.168.77.81","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:81"}}'
for name in n1 n2; do eventually 20 sh -c "ip -n $TAG-$name route show 10.244.81.0/24 | grep -q knet.1"; done
for name in n1 n2; do eventually 20 agent_ready $name; done
expect 0 knet_in n1 node list; contains n2
lost=$(flood_lost)
[[ $lost == 0 ]] || die "$lost packets lost"

note "it comes back, another one dies"
member "$dead" "$number"
other=$([[ $dead == a ]] && echo b || echo a)
eventually 15 in_ns sw env ETCDCTL_API=3 etcdctl --endpoints http://192.168.77.10$number:2379 endpoint health
kill -9 "${MEMBER[$other]}"
ETCDCTL_ENDPOINTS=http://192.168.77.10$number:2379
eventually 15 etcdctl del "$PREFIX/subnets/10.244.81.0-24"
for name in n1 n2; do eventually 20 sh -c "[ -z \"\$(ip -n $TAG-$name route show 10.244.81.0/24)\" ]"; done
expect 0 knet_in n1 subnet list
assert_clean
