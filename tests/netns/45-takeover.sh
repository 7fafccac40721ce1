#!/usr/bin/env bash
# From the store and kernel state that flanneld leaves, made here by hand: knet takes over while pods on flannel's bridge talk. The
# subnet is kept, flannel.1 gives way to knet.1, what is lost meanwhile is measured. The other node goes on with flannel (its
# device, and a loop that follows etcd as flanneld does), a third one runs knet from the start: a mixed cluster.
#
#   n1 flannel -> knet    n2 flannel, at last knet too    n3 knet
source "$(dirname "$0")/lib.sh"

switch sw
node n1 1; node n2 2; node n3 3
etcd_up
etcdctl put "$PREFIX/config" '{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}' >/dev/null

declare -A MAC=([n1]=fe:0b:bb:72:15:01 [n2]=fe:0b:bb:72:15:02) SUBNET=([n1]=10.5.70 [n2]=10.5.66)
flannel() { # NODE: what flanneld has made there
  local name=$1 number=${1#n} lease
  lease=$(etcdctl lease grant 86400 | awk '{ print $2 }')
  etcdctl put --lease="$lease" "$PREFIX/subnets/${SUBNET[$name]}.0-24" \
    '{"PublicIP":"192.168.77.'$number'","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"'${MAC[$name]}'"}}' >/dev/null
  mkdir -p "$WORK/$name/run"
  printf 'FLANNEL_NETWORK=10.5.0.0/16\nFLANNEL_SUBNET=%s.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n' "${SUBNET[$name]}" \
    >"$WORK/$name/run/subnet.env"
  in_ns "$name" sh -ec "
    sysctl -qw net.ipv4.ip_forward=1
    ip link add flannel.1 mtu 1450 address ${MAC[$name]} type vxlan id 1 local 192.168.77.$number dev eth0 dstport 8472 nolearning
    ip addr add ${SUBNET[$name]}.0/32 dev flannel.1; ip link set flannel.1 up
    ip link add cni0 type bridge; ip addr add ${SUBNET[$name]}.1/24 dev cni0; ip link set cni0 up"
}
flannel_peer() { # NODE PEER MAC: as flanneld does for a lease that it sees
  in_ns "$1" sh -c "ip neigh replace ${SUBNET[$2]}.0 lladdr $3 dev flannel.1 nud permanent
    bridge fdb replace $3 dev flannel.1 dst 192.168.77.${2#n}
    ip route replace ${SUBNET[$2]}.0/24 via ${SUBNET[$2]}.0 dev flannel.1 onlink"
}
old_pod() { # NODE: a pod on flannel's bridge
  new_ns "$1-old"
  ip -n "$TAG-$1-old" link add eth0 mtu 1450 type veth peer name vold netns "$TAG-$1"
  in_ns "$1" ip link set vold mtu 1450 master cni0 up
  in_ns "$1-old" sh -ec "ip link set eth0 up; ip addr add ${SUBNET[$1]}.9/24 dev eth0; ip route add default via ${SUBNET[$1]}.1"
}
for name in n1 n2; do flannel $name; old_pod $name; done
flannel_peer n1 n2 "${MAC[n2]}"; flannel_peer n2 n1 "${MAC[n1]}"
eventually 2 can_ping n1-old 10.5.66.9
in_ns n1 ip route add 10.5.250.0/24 via 192.168.77.254 proto static   # inside the network, but not flannel's

note "n2 follows etcd as flanneld does"
mkfifo "$WORK/watch"
ip netns exec "$TAG-sw" env ETCDCTL_API=3 etcdctl --endpoints "$ETCD_URL" watch --prefix "$PREFIX/subnets" >"$WORK/watch" 2>/dev/null &
PIDS+=($!)
while read -r line; do
  [[ $line == *VtepMAC* && $line == *'"192.168.77.1"'* ]] || continue
  flannel_peer n2 n1 "$(jq -r .BackendData.VtepMAC <<<"$line")"
done <"$WORK/watch" &
PIDS+=($!)
# The watch stands when it has seen a change: the lease written again, as flanneld renews it.
etcdctl put --ignore-lease "$PREFIX/subnets/10.5.66.0-24" "$(etcdctl get --print-value-only "$PREFIX/subnets/10.5.66.0-24")" >/dev/null

note "knet takes over n1"
mkdir "$WORK/bin"; ln -s "$KNET" "$WORK/bin/flanneld"
flood n1-old 10.5.66.9
sleep 0.3
ip netns exec "$TAG-n1" env KNET_NODE_NAME=n1 KNET_STATE_DIR="$WORK/n1/state" KNET_RUN_DIR="$WORK/n1/run" "$WORK/bin/flanneld" \
  -etcd-endpoints="$ETCD_URL" -iface=eth0 -ip-masq -subnet-file="$WORK/n1/run/subnet.env" >>"$WORK/n1/agent.log" 2>&1 &
AGENT[n1]=$!
PIDS+=($!)
eventually 5 in_ns n1 ip link show knet.1
gone() { ! in_ns n1 ip link show flannel.1; }
eventually 3 gone
eventually 3 can_ping n1-old 10.5.66.9
lost=$(flood_lost)
note "$(awk '/packets transmitted/ { print $1 }' "$WORK/flood") pings at 10 ms, $lost lost in the takeover"
[[ $lost -le $(slow 50) ]] || die "$lost packets lost: more than half a second (x $KNET_SLOW)"
[[ $(subnet_of n1) == 10.5.70.0/24 ]] || die "another subnet: $(subnet_of n1)"
mac=$(in_ns n1 cat /sys/class/net/knet.1/address)
want='{"PublicIP":"192.168.77.1","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"'$mac'"}}'
[[ $(lease_of n1) == "$want" ]] || die "lease: $(lease_of n1)"
[[ $(etcdctl get --prefix --keys-only "$PREFIX/subnets/" | grep -c .) == 2 ]] || die "a second lease was made"
[[ -z $(in_ns n1 ip route show proto boot dev flannel.1 2>/dev/null) ]] || die "flannel's routes are still there"
in_ns n1 ip route show 10.5.66.0/24 | found 'dev knet.1 proto 107 onlink' || die "route to the flannel node"
in_ns n1 ip route show 10.5.250.0/24 | found 'proto static' || die "a foreign route inside the network was removed"
found 'flannel\.1' "$WORK/n1/agent.log" || die "what was taken over is not said"

note "n3 joins with knet: three ways to talk"
start_agent n3
eventually 5 test -s "$WORK/n3/run/subnet.env"
pod n3 p1
SUBNET[n3]=$(subnet_of n3); SUBNET[n3]=${SUBNET[n3]%.0/24}
flannel_peer n2 n3 "$(in_ns n3 cat /sys/class/net/knet.1/address)"
eventually 3 can_ping n3-p1 10.5.66.9
eventually 3 can_ping n3-p1 10.5.70.9
pod n1 p1
eventually 3 can_ping n1-p1 10.5.66.9
knet_in n3 node list | tee "$WORK/nodes"
found -i flannel "$WORK/nodes" || die "the flannel node is not shown as one"

note "without being asked to, the agent leaves flannel's device alone and says so; asked, it takes it over"
start_agent n2
eventually 4 logged n2 'flannel\.1'
in_ns n2 ip link show flannel.1 >/dev/null || die "flannel.1 was removed without being asked to"
stop_agent n2
flood n1-old 10.5.66.9
start_agent n2 --adopt-flannel
gone() { ! in_ns n2 ip link show flannel.1; }
eventually 4 gone
eventually 3 can_ping n1-old 10.5.66.9
note "$(flood_lost) lost while n2 changed"
[[ $(subnet_of n2) == 10.5.66.0/24 ]] || die "another subnet: $(subnet_of n2)"
eventually 3 can_ping n3-p1 10.5.66.9
for name in n1 n2 n3; do eventually 5 status_says $name .ready; done
assert_clean
