#!/usr/bin/env bash
# udp and ipip carried by userspace (Datapath user): pods reach each other over both families, long TCP streams arrive as
# they were sent with and without the underlay's offloads, what can't be carried is answered, what is not a peer's
# is dropped and counted, and the agent's restart takes the device over.
# timeout: 180
source "$(dirname "$0")/lib.sh"
command -v python3 >/dev/null || { echo "skip: needs python3"; exit 77; }

metric() { # NODE WHY: dropped packets of the tunnel for this reason; told anew every 5 s
  in_ns "$1" python3 -c 'import urllib.request; print(urllib.request.urlopen("http://127.0.0.1:9099/metrics").read().decode())' |
    awk -v why="why=\"$2\"" 'index($0, "tunnel_dropped_packets") && index($0, why) { n += $NF } END { print n + 0 }'
}
dropped_more_than() { [[ $(metric "$1" "$2") -gt $3 ]]; }  # NODE WHY COUNT
# stream FROM TO ADDRESS: 64 MB of pseudo-random bytes through TCP; their digest is compared.
stream() {
  local from=$1 to=$2 address=$3
  rm -f "$WORK/taking"
  in_ns "$to" timeout 40 "$KNET_SOURCE/tests/netns/tcp-stream" take "$address" "$WORK/taking" >"$WORK/taken" & local taker=$!
  PIDS+=("$taker")
  eventually 10 test -e "$WORK/taking"
  in_ns "$from" timeout 40 "$KNET_SOURCE/tests/netns/tcp-stream" give "$address" 64 >"$WORK/given" || die "stream $from to $address"
  wait "$taker" || die "stream $from to $address was not taken"
  [[ $(cat "$WORK/given") == $(cat "$WORK/taken") ]] || die "stream changed: $(cat "$WORK/given" "$WORK/taken")"
}
offloads() { # on|off: of every NIC of the underlay
  local n
  for n in n1 n2 n3; do in_ns "$n" ethtool -K eth0 tx "$1" tso "$1" gso "$1" gro "$1" >/dev/null 2>&1; done
}
# throw FROM-NODE TO-ADDRESS INNER-HEX: a datagram to the tunnel's port
throw() {
  in_ns "$1" python3 -c 'import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.sendto(bytes.fromhex(sys.argv[2]), (sys.argv[1], 8285))' "$2" "$3"
}
echo_request() { # SOURCE DESTINATION: hex of an ICMP echo request in IPv4
  python3 -c 'import ipaddress, struct, sys
def done(b, at):
    s = sum(struct.unpack("!%dH" % (len(b) // 2), b))
    while s >> 16: s = (s & 0xffff) + (s >> 16)
    return b[:at] + struct.pack("!H", s ^ 0xffff) + b[at + 2:]
icmp = done(struct.pack("!BBHHH", 8, 0, 0, 7, 7) + b"\0" * 32, 2)
a, b = (ipaddress.ip_address(x).packed for x in sys.argv[1:3])
print((done(struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(icmp), 0, 0, 64, 1, 0, a, b), 10) + icmp).hex())' "$1" "$2"
}

switch sw
node n1 1; node n2 2; node n3 3
new_ns stranger
nic stranger eth0 stranger sw
ip -n "$TAG-stranger" addr add 192.168.77.66/24 dev eth0
init --network 10.244.0.0/16 --network6 fd00:244::/56 --mode udp --opt Datapath=user
for n in n1 n2 n3; do start_agent $n --listen 127.0.0.1:9099; done
for n in n1 n2 n3; do eventually 5 agent_ready $n; done
pod n1 p1; pod n2 p1; pod n3 p1

pods_reach_each_other() {
  local from to
  for from in n1-p1 n2-p1 n3-p1; do
    for to in n1-p1 n2-p1 n3-p1; do
      [[ $from == "$to" ]] || { eventually 5 can_ping "$from" "${POD_IP[$to]}"; eventually 5 can_ping "$from" "${POD_IP6[$to]}"; }
    done
  done
}
note "pods, both families"
pods_reach_each_other
in_ns n1 ip -d link show knet.udp | found 'tun type tun.*vnet_hdr on.*persist on' || die "device: $(in_ns n1 ip -d link show knet.udp)"

note "packets of the full MTU that may not be fragmented; one byte more is answered"
mtu=$(in_ns n1-p1 cat /sys/class/net/eth0/mtu)
can_ping n1-p1 "${POD_IP[n2-p1]}" -M do -s $((1472 - 28)) || [[ $mtu -lt 1472 ]] || die "DF at the device's MTU"
can_ping n1-p1 "${POD_IP[n2-p1]}" -M do -s $((mtu - 28)) || die "DF at the pod's MTU"
can_ping n1-p1 "${POD_IP6[n2-p1]}" -M do -s $((1452 - 48)) || die "IPv6 at its MTU"
can_ping n1-p1 "${POD_IP[n2-p1]}" -s 4000 || die "fragments"
note "the time to live falls by one for each node"
expect 0 in_ns n1-p1 ping -n -c 1 -W 1 "${POD_IP[n2-p1]}"
contains "ttl=62"
expect 1 in_ns n1-p1 ping -n -c 1 -W 1 -t 2 "${POD_IP[n2-p1]}"
contains "Time to live exceeded"
subnet=$(subnet_of n2)
contains "From ${subnet%/*} "

note "no such peer: network unreachable, no route"
expect 1 in_ns n1-p1 ping -n -c 1 -W 1 10.244.255.1
subnet=$(subnet_of n1)
contains "From ${subnet%/*} icmp_seq=1 Destination Net Unreachable"
expect 1 in_ns n1-p1 ping -n -c 1 -W 1 fd00:244:0:ff::1
contains "Destination unreachable: No route"
eventually 8 dropped_more_than n1 "no such peer" 1

note "a path with less room"
in_ns n1 ip route add 192.168.77.2/32 dev eth0 mtu 1400
expect 1 in_ns n1-p1 ping -n -c 1 -W 1 -M do -s 1400 "${POD_IP[n2-p1]}"
contains "mtu = 1372"
in_ns n1-p1 ip route flush cache
can_ping n1-p1 "${POD_IP[n2-p1]}" -M dont -s 1400 || die "what may be fragmented is"
stream n1-p1 n2-p1 "${POD_IP[n2-p1]}"
in_ns n1 ip route del 192.168.77.2/32 dev eth0 mtu 1400
in_ns n1 ip -6 route add fd00:77::2/128 dev eth0 mtu 1400
expect 1 in_ns n1-p1 ping -n -c 1 -W 1 -M do -s 1400 "${POD_IP6[n2-p1]}"
contains "mtu=1352"
in_ns n1 ip -6 route del fd00:77::2/128 dev eth0 mtu 1400
in_ns n1-p1 sh -c 'ip route flush cache; ip -6 route flush cache'

note "streams, the underlay with and without offloads"
stream n1-p1 n2-p1 "${POD_IP[n2-p1]}"
stream n2-p1 n3-p1 "${POD_IP6[n3-p1]}"
if command -v ethtool >/dev/null; then
  offloads off
  stream n1-p1 n2-p1 "${POD_IP[n2-p1]}"
  stream n3-p1 n1-p1 "${POD_IP6[n1-p1]}"
  offloads on
fi

note "strangers and liars"
seen=$(in_ns n2-p1 cat /proc/net/snmp | awk '/^Icmp:/ { n = $2 } END { print n }')
before=$(metric n2 "not a member")
throw stranger 192.168.77.2 "$(echo_request "${POD_IP[n1-p1]}" "${POD_IP[n2-p1]}")"
eventually 8 dropped_more_than n2 "not a member" "$before"
before=$(metric n2 "spoofed source")
throw n3 192.168.77.2 "$(echo_request "${POD_IP[n1-p1]}" "${POD_IP[n2-p1]}")"
eventually 8 dropped_more_than n2 "spoofed source" "$before"
before=$(metric n2 "malformed")
for hex in 00 45 4500ffff "$(printf 'ff%.0s' {1..60})"; do throw n1 192.168.77.2 "$hex"; done
eventually 8 dropped_more_than n2 "malformed" $((before + 3))
[[ $(in_ns n2-p1 cat /proc/net/snmp | awk '/^Icmp:/ { n = $2 } END { print n }') == "$seen" ]] || die "a lie reached the pod"
throw n1 192.168.77.2 "$(echo_request "${POD_IP[n1-p1]}" "${POD_IP[n2-p1]}")"  # by the peer's address, from another port
eventually 2 test "$(in_ns n2-p1 cat /proc/net/snmp | awk '/^Icmp:/ { n = $2 } END { print n }')" -gt "$seen"

note "the agent is killed and starts again: the device stays, its number too"
index=$(in_ns n1 cat /sys/class/net/knet.udp/ifindex)
flood n1-p1 "${POD_IP[n2-p1]}"
stop_agent n1 KILL
start_agent n1 --listen 127.0.0.1:9099
eventually 5 agent_ready n1
eventually 3 can_ping n1-p1 "${POD_IP[n2-p1]}"
lost=$(flood_lost)
echo "lost in the restart: $lost packets of 10 ms each"
[[ $lost -lt 200 ]] || die "the restart took $lost packets"
[[ $(in_ns n1 cat /sys/class/net/knet.udp/ifindex) == "$index" ]] || die "the device was made anew"
in_ns n1 ip link del knet.udp
eventually 3 can_ping n1-p1 "${POD_IP[n2-p1]}"

note "an idle pump sleeps"
pump=$(grep -l '^knet.udp$' /proc/"${AGENT[n1]}"/task/*/comm) || die "no thread of that name"
slept() { # no wake-up in half a second
  local before
  before=$(awk '/ctxt_switches/ { n += $2 } END { print n }' "${pump%/comm}/status")
  sleep 0.5
  [[ $(awk '/ctxt_switches/ { n += $2 } END { print n }' "${pump%/comm}/status") == "$before" ]]
}
eventually 5 slept

note "a peer that goes"
stop_agent n3
knet_in n3 leave >/dev/null
NODES=(n1 n2)
gone() { # that n3's packets are no member's now
  local n
  n=$(metric n1 "not a member")
  throw n3 192.168.77.1 "$(echo_request "${POD_IP[n3-p1]}" "${POD_IP[n1-p1]}")"
  dropped_more_than n1 "not a member" "$n"
}
eventually 15 gone
can_ping n1-p1 "${POD_IP[n2-p1]}" || die "the others"
assert_clean
