#!/usr/bin/env bash
# Mode ipip over the kernel's own driver: the device as it has to be, pods across it with full-MTU packets that may not be
# fragmented, packets of strangers and of pods dropped and counted, an address that changes and a node that leaves (what then
# comes from there is a stranger's), repair, a restart of the agent under traffic, the driver's fallback device left
# alone. `direct` peers get a plain route.
# guest: always
source "$(dirname "$0")/lib.sh"

probe=$TAG-probe
ip netns add "$probe"
NAMESPACES+=("$probe")
ip -n "$probe" link add probe0 type ipip local 127.0.0.1 2>/dev/null || { echo "skip: this kernel has no ipip driver"; exit 77; }

switch sw
node n1 1; node n2 2; node n3 3; node stranger 9
init --network 10.244.0.0/16 --mode ipip --opt Datapath=kernel
start_agents n1 n2 n3
pod n1 p1; pod n2 p1; pod n3 p1
NODES=(n1 n2 n3)

note "device, address and routes"
in_ns n1 ip -d link show knet.ipip | found 'ipip ipip remote any local 192.168.77.1 dev eth0 ttl inherit tos inherit nopmtudisc' || die "device"
in_ns n1 ip -d link show knet.ipip | found 'mtu 1480' || die "mtu"
for peer in n2 n3; do
  subnet=$(subnet_of $peer)
  eventually 2 in_ns n1 sh -c "ip route show $subnet | grep -q 'via 192.168.77.${peer#n} dev knet.ipip proto 107 onlink'"
done

note "pods, and full-MTU packets that may not be fragmented"
for from in n1 n2 n3; do
  for to in n1 n2 n3; do [[ $from == "$to" ]] || eventually 2 can_ping "$from-p1" "${POD_IP[$to-p1]}"; done
done
can_ping n1-p1 "${POD_IP[n2-p1]}" -M do -s $((1480 - 28)) || die "DF at the pod's MTU"
can_ping n1-p1 "${POD_IP[n2-p1]}" -M do -s $((1481 - 28)) && die "1481 must not pass unfragmented"
can_ping n1-p1 "${POD_IP[n2-p1]}" -s 4000 || die "a packet in fragments"

note "a stranger's packets are dropped and counted"
dropped() { in_ns "$1" nft list table inet knet | sed -n "s/.*counter packets \([0-9]*\) .*\"knet:$2\".*/\1/p"; }
in_ns stranger ip link add t0 type ipip remote 192.168.77.1 local 192.168.77.9
in_ns stranger ip link set t0 up
in_ns stranger ip addr add 10.244.200.1/32 dev t0
in_ns stranger ip route add "$(subnet_of n1)" dev t0
before=$(dropped n1 ipip-members)
[[ -n $before ]] || { in_ns n1 nft list table inet knet; die "no rule against strangers"; }
can_ping stranger "${POD_IP[n1-p1]}" && die "a stranger reaches a pod"
(($(dropped n1 ipip-members) > before)) || die "a stranger's packet is not counted"

note "repair"
want=$(ours n1)
reach='can_ping n1-p1 "${POD_IP[n2-p1]}"'
repaired "device deleted" n1 "$want" 'ip link del knet.ipip' "$reach"
repaired "device set down" n1 "$want" 'ip link set knet.ipip down' "$reach"
repaired "a peer's route deleted" n1 "$want" "ip route del $(subnet_of n2)" "$reach"
[[ $(in_ns n1 ip -o link show tunl0 | wc -l) == 1 ]] || die "the driver's own tunl0 was touched"

note "a restart of the agent under traffic loses nothing"
flood n1-p1 "${POD_IP[n2-p1]}"
index=$(in_ns n1 ip -o link show knet.ipip | cut -d: -f1)
stop_agent n1
start_agents n1
[[ $(in_ns n1 ip -o link show knet.ipip | cut -d: -f1) == "$index" ]] || die "the device was made anew"
lost=$(flood_lost)
[[ $lost == 0 ]] || die "$lost packets lost"

note "an address that changes"
in_ns n2 ip addr del 192.168.77.2/24 dev eth0
in_ns n2 ip addr add 192.168.77.22/24 dev eth0
in_ns n2 ip route replace default via 192.168.77.254
eventually 5 in_ns n2 sh -c "ip -d link show knet.ipip | grep -q 'local 192.168.77.22 '"
eventually 5 can_ping n1-p1 "${POD_IP[n2-p1]}"

# by_hand NODE ADDRESS POD-ADDRESS: a pod's packets in ipip to n1, from a device made without knet
by_hand() {
  in_ns "$1" ip link add t1 type ipip remote 192.168.77.1 local "$2"
  in_ns "$1" ip link set t1 up
  in_ns "$1" ip addr add "$3/32" dev t1
  in_ns "$1" ip route replace "$(subnet_of n1)" dev t1 src "$3"
}
# refused NODE: what it sends by that device is counted, and reaches no pod of n1's
refused() {
  local had
  had=$(dropped n1 ipip-members)
  can_ping "$1" "${POD_IP[n1-p1]}" && die "$1 reaches a pod"
  (($(dropped n1 ipip-members) > had)) || die "a packet of $1 is not counted"
}
note "what comes from the address that n2 had is a stranger's"
in_ns stranger ip addr add 192.168.77.2/24 dev eth0
for n in n1 n3; do in_ns $n ip neigh flush dev eth0; done  # who takes an address announces it
in_ns stranger ip route del "$(subnet_of n1)"
by_hand stranger 192.168.77.2 "${POD_IP[n2-p1]}"
refused stranger
eventually 2 can_ping n1-p1 "${POD_IP[n2-p1]}"

note "a node that leaves"
stop_agent n3
subnet=$(subnet_of n3)
knet_in n3 leave >/dev/null || die "leave"
eventually 3 in_ns n1 sh -c "[ -z \"\$(ip route show $subnet)\" ]"
nft_has() { in_ns n1 nft list table inet knet | found -F "$1"; }
eventually 3 eval '! nft_has 192.168.77.3'
by_hand n3 192.168.77.3 "${POD_IP[n3-p1]}"
refused n3
can_ping n1-p1 "${POD_IP[n2-p1]}" || die "the others"
NODES=(n1 n2)

assert_clean

# The unit tests of the driver, which can say nothing where it is missing.
unit=${KNET_BUILD:-$PWD/build}/unit_kernel
if [[ -x $unit ]]; then
  note "unit tests with the ipip driver"
  "$unit" "an ipip*,LinuxPlane keeps*" || die "unit tests"
fi
