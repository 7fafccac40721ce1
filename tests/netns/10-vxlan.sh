#!/usr/bin/env bash
# Three nodes in vxlan mode on the embedded store: pods reach each other on one node and across, over exactly the
# kernel state that facts of the mode promise; everything goes away with leave.
# guest: always
source "$(dirname "$0")/lib.sh"

switch sw
node n1 1; node n2 2; node n3 3
init --network 10.244.0.0/16
start_agents n1 n2 n3
pod n1 p1; pod n1 p2; pod n2 p1; pod n3 p1

note "kernel state on n1"
in_ns n1 ip -d link show knet.1 | found 'vxlan id 1 local 192.168.77.1 dev eth0 .*dstport 8472 nolearning' || die "device"
in_ns n1 ip -d link show knet.1 | found 'mtu 1450' || die "mtu"
for peer in n2 n3; do
  subnet=$(subnet_of $peer) gateway=${subnet%/*}
  eventually 2 in_ns n1 sh -c "ip route show $subnet | grep -q 'via $gateway dev knet.1 proto 107 onlink'"
  mac=$(in_ns $peer cat /sys/class/net/knet.1/address)
  in_ns n1 ip neigh show "$gateway" dev knet.1 | found "$mac PERMANENT" || die "neighbour of $peer"
  in_ns n1 bridge fdb show dev knet.1 | found "$mac dst 192.168.77.${peer#n}.*permanent" || die "fdb of $peer"
done
in_ns n1 ip route show type blackhole | found "$(subnet_of n1) proto 107" || die "blackhole of the own subnet"

note "pods"
for from in n1-p1 n1-p2 n2-p1 n3-p1; do
  for to in n1-p1 n1-p2 n2-p1 n3-p1; do
    [[ $from == "$to" ]] || eventually 2 can_ping "$from" "${POD_IP[$to]}"
  done
done
note "full-MTU packets that may not be fragmented"
can_ping n1-p1 "${POD_IP[n2-p1]}" -M do -s $((1450 - 28)) || die "DF at the pod's MTU"
[[ $(in_ns n1-p1 cat /sys/class/net/eth0/mtu) == 1450 ]] || die "pod MTU"
note "node to remote pod, pod to remote node"
can_ping n1 "${POD_IP[n2-p1]}" || die "node to pod"
can_ping n1-p1 192.168.77.2 || die "pod to node (masqueraded)"

cni DEL n1 p2
answer=$(in_ns n1 ip route get "${POD_IP[n1-p2]}" 2>&1 || true)
found -E 'unreachable|Invalid|blackhole|No route' <<<"$answer" || die "a pod that is gone is still routed: $answer"
cni DEL n1 p2 || die "DEL must be idempotent"
assert_clean
