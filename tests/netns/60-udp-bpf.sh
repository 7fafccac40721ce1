#!/usr/bin/env bash
# udp and ipip through BPF (Datapath bpf): pods reach each other over both families, streams arrive as they were sent with and
# without the offloads of the underlay, full-size packets pass and larger ones are answered, what is not a peer's is
# dropped and counted, a filter that is taken away comes back, and the path outlives the agent.
# timeout: 240
# guest: always
source "$(dirname "$0")/lib.sh"
command -v python3 >/dev/null || { echo "skip: needs python3"; exit 77; }

cat >"$WORK/send.py" <<'PY'
# send.py udp|ipip FROM TO INNER-FROM INNER-TO [LIE]: one echo request in an outer packet from this host. LIE: "long", the inner
# packet says that it is longer than what came; "ce", the outer one met congestion that the inner one can't be told of; "mark", it can;
# "pad", Ethernet's padding behind it.
import ipaddress, socket, struct, sys
wire, source, target, inner_from, inner_to = sys.argv[1:6]
lie = sys.argv[6] if len(sys.argv) > 6 else ""
def summed(b, at):
    s = sum(struct.unpack("!%dH" % (len(b) // 2), b))
    while s >> 16: s = (s & 0xffff) + (s >> 16)
    return b[:at] + struct.pack("!H", s ^ 0xffff) + b[at + 2:]
def ip(protocol, a, b, payload, tos=0, more=0):
    a, b = (ipaddress.ip_address(x).packed for x in (a, b))
    head = struct.pack("!BBHHHBBH4s4s", 0x45, tos, 20 + len(payload) + more, 7, 0, 64, protocol, 0, a, b)
    return summed(head, 10) + payload
icmp = summed(struct.pack("!BBHHH", 8, 0, 0, 7, 7) + b"\0" * 32, 2)
inner = ip(1, inner_from, inner_to, icmp, tos=2 if lie == "mark" else 0, more=100 if lie == "long" else 0)
payload = inner if wire == "ipip" else struct.pack("!HHHH", 8285, 8285, 8 + len(inner), 0) + inner
packet = ip(4 if wire == "ipip" else 17, source, target, payload, tos=3 if lie in ("ce", "mark") else 0)
if lie == "pad": packet += b"\xff" * 6
device = "eth0"
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind((device, 0))
mac = lambda path: bytes.fromhex(open(path).read().strip().replace(":", ""))
s.send(bytes.fromhex(sys.argv[7].replace(":", "")) + mac("/sys/class/net/eth0/address") + b"\x08\x00" + packet)
PY
cat >"$WORK/narrow.py" <<'PY'
# narrow.py udp|ipip FROM TO MTU: what a router says to FROM, on behalf of TO's side: fragmentation needed
import ipaddress, socket, struct, sys
wire, source, target, mtu = sys.argv[1:5]
a, b = (ipaddress.ip_address(x).packed for x in (source, target))
quoted = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 1500, 0, 0x4000, 60, 4 if wire == "ipip" else 17, 0, a, b)
quoted += struct.pack("!HHHH", 8285, 8285, 1480, 0) if wire == "udp" else b"\x45\0\x05\xc8\0\0\0\0"
def summed(x):
    s = sum(struct.unpack("!%dH" % (len(x) // 2), x))
    while s >> 16: s = (s & 0xffff) + (s >> 16)
    return x[:2] + struct.pack("!H", s ^ 0xffff) + x[4:]
socket.socket(socket.AF_INET, socket.SOCK_RAW, 1).sendto(summed(struct.pack("!BBHHH", 3, 4, 0, 0, int(mtu)) + quoted), (source, 0))
PY
stream() { # FROM TO ADDRESS: random bytes through TCP; their digest is compared
  local from=$1 to=$2 address=$3 taker
  rm -f "$WORK/taking"
  in_ns "$to" timeout 60 "$KNET_SOURCE/tests/netns/tcp-stream" take "$address" "$WORK/taking" >"$WORK/taken" & taker=$!
  PIDS+=("$taker")
  eventually 10 test -e "$WORK/taking"
  in_ns "$from" timeout 60 "$KNET_SOURCE/tests/netns/tcp-stream" give "$address" $((KNET_SLOW > 1 ? 4 : 32)) >"$WORK/given" || die "stream $from to $address"
  wait "$taker" || die "stream $from to $address was not taken"
  [[ $(cat "$WORK/given") == $(cat "$WORK/taken") ]] || die "stream changed: $(cat "$WORK/given" "$WORK/taken")"
}
metric() { # NODE TEXT...: the sum of the metrics' lines that hold each text
  in_ns "$1" python3 -c 'import sys, urllib.request
lines = urllib.request.urlopen("http://127.0.0.1:9099/metrics").read().decode().splitlines()
print(sum(int(x.split()[-1]) for x in lines if x[0] != "#" and all(t in x for t in sys.argv[1:])))' "${@:2}"
}
more_than() { local floor=$1; shift; [[ $(metric "$@") -gt $floor ]]; }  # COUNT NODE TEXT...
echoes() { in_ns "$1" awk '/^IcmpMsg:/ && !n++ { for (i = 1; i <= NF; i++) if ($i == "InType8") at = i; next } /^IcmpMsg:/ { print at ? $at : 0 }' /proc/net/snmp | tail -n 1; }
heard_more() { [[ $(echoes "$1") -gt $2 ]]; }  # POD COUNT
congested() { in_ns "$1" awk '/^IpExt:/ && !n++ { for (i = 1; i <= NF; i++) if ($i == "InCEPkts") at = i; next } /^IpExt:/ { print $at }' /proc/net/netstat; }
on_ingress() { in_ns "$1" "$KNET_SOURCE/tests/netns/ingress-programs" "${@:2}" eth0; }  # NODE list|detach
filters() { { in_ns "$1" tc filter show dev "knet.$WIRE" egress | grep "knet/"; on_ingress "$1" list; } | grep -c knet; }
both_filters() { [[ $(filters "$1") -eq 2 ]]; }
no_filters() { [[ $(filters "$1") -eq 0 ]]; }
send() { in_ns "$1" python3 "$WORK/send.py" "$WIRE" "${@:2:4}" "${6:-}" "$(cat "$WORK/mac")"; }
knows_mtu() { in_ns "$1" ip route get "$2" | grep -q "mtu $3"; }  # NODE ADDRESS MTU
offloads() { local n; for n in n1 n2; do in_ns "$n" ethtool -K eth0 tx "$1" tso "$1" gso "$1" gro "$1" >/dev/null 2>&1; done; }

trial() { # udp|ipip HEADER4 HEADER6
  WIRE=$1
  local header4=$2 header6=$3 dev=knet.$1 n before passed seen lost index
  note "$WIRE"
  for n in n1 n2 n3; do start_agent $n --listen 127.0.0.1:9099; done
  for n in n1 n2 n3; do eventually 5 agent_ready $n; done
  for n in n1 n2 n3; do pod $n "$WIRE"; done
  local p1=n1-$WIRE p2=n2-$WIRE
  local a1=${POD_IP[$p1]} a2=${POD_IP[$p2]} b1=${POD_IP6[$p1]} b2=${POD_IP6[$p2]}
  expect 0 knet_in n1 mode list
  contains "yes, bpf"
  eventually 5 can_ping "$p1" "$a2"
  eventually 5 can_ping "$p1" "$b2"
  eventually 3 both_filters n1

  note "the kernel alone carries it: nothing reaches userspace"
  before=$(metric n1 tunnel_sent_packets "$dev" 'path="bpf"')
  passed=$(metric n1 tunnel_passed_packets "$dev")
  for n in "$a2" "$b2"; do in_ns "$p1" ping -n -q -c 20 -i 0.01 -W 1 "$n" | found ' 0% packet loss' || die "pings to $n"; done
  eventually 8 more_than $((before + 39)) n1 tunnel_sent_packets "$dev" 'path="bpf"'
  # But for what the kernel itself says on a link: multicast listener reports.
  [[ $(metric n1 tunnel_passed_packets "$dev") -lt $((passed + 10)) ]] || die "packets went to userspace"
  expect 0 in_ns "$p1" ping -n -c 1 -W 1 "$a2"
  contains "ttl=62"
  expect 1 in_ns "$p1" ping -n -c 1 -W 1 -t 2 "$a2"
  contains "Time to live exceeded"

  note "full-size packets that may not be fragmented; one byte more is answered"
  can_ping "$p1" "$a2" -M do -s $((1500 - header4 - 28)) || die "full size, IPv4"
  can_ping "$p1" "$b2" -M do -s $((1500 - header6 - 48)) || die "full size, IPv6"
  can_ping "$p1" "$a2" -s 4000 || die "fragments"

  note "a path with less room, as a router tells it"
  in_ns n2 python3 "$WORK/narrow.py" "$WIRE" 192.168.77.1 192.168.77.2 1400
  eventually 1 knows_mtu n1 192.168.77.2 1400
  expect 1 in_ns "$p1" ping -n -c 1 -W 2 -M do -s 1400 "$a2"
  contains "mtu = $((1400 - header4))"
  stream "$p1" "$p2" "$a2"
  in_ns n1 ip route flush cache
  in_ns "$p1" ip route flush cache

  note "streams, the underlay with and without offloads"
  stream "$p1" "$p2" "$a2"
  stream "$p2" "$p1" "$b1"
  if command -v ethtool >/dev/null; then
    offloads off
    stream "$p1" "$p2" "$a2"
    stream "$p2" "$p1" "$b1"
    offloads on
  fi

  note "strangers and liars"
  in_ns n2 cat /sys/class/net/eth0/address >"$WORK/mac"
  seen=$(echoes "$p2")
  for n in "stranger 192.168.77.66 $a1 " "n3 192.168.77.3 $a1 " "n1 192.168.77.1 10.244.0.7 " "n1 192.168.77.1 $a1 long" \
    "n1 192.168.77.1 $a1 ce"; do
    local who from inner lie what
    read -r who from inner lie <<<"$n"
    case $who$lie$inner in
      stranger* | n3*) what="not the source's node" ;;
      n1long*) what=malformed ;;
      n1ce*) what="congestion not supported" ;;
      *) what="unknown source" ;;
    esac
    before=$(metric n2 "dev=\"$dev\"" "why=\"$what\"")
    send "$who" "$from" 192.168.77.2 "$inner" "$a2" "$lie"
    eventually 8 more_than "$before" n2 "dev=\"$dev\"" "why=\"$what\""
  done
  [[ $(echoes "$p2") == "$seen" ]] || die "a lie reached the pod"
  send n1 192.168.77.1 192.168.77.2 "$a1" "$a2" pad
  eventually 2 heard_more "$p2" "$seen"

  seen=$(echoes "$p2")
  before=$(congested "$p2")
  send n1 192.168.77.1 192.168.77.2 "$a1" "$a2" mark
  eventually 2 heard_more "$p2" "$seen"
  [[ $(congested "$p2") -eq $((before + 1)) ]] || die "congestion on the way is not told to the inner packet"

  note "what is taken away comes back"
  on_ingress n1 detach
  kill -HUP "${AGENT[n1]}"  # by tcx the kernel tells nobody: the next scan would find it
  eventually 2 both_filters n1
  eventually 2 can_ping "$p1" "$a2"
  in_ns n1 tc qdisc del dev "$dev" clsact
  eventually 2 both_filters n1
  eventually 2 can_ping "$p1" "$a2"
  in_ns n1 ip link del "$dev"
  eventually 3 both_filters n1
  eventually 3 can_ping "$p1" "$a2"

  note "the agent is killed: the path stays; it starts again: nothing is lost"
  index=$(on_ingress n1 list)
  flood "$p1" "$a2"
  stop_agent n1 KILL
  can_ping "$p1" "$a2" || die "no path without an agent"
  can_ping "$p2" "$b1" || die "no way back without an agent"
  start_agent n1 --listen 127.0.0.1:9099
  eventually 5 agent_ready n1
  lost=$(flood_lost)
  [[ $lost -eq 0 ]] || die "the restart took $lost packets"
  [[ -n $index && $(on_ingress n1 list) == "$index" ]] || die "the program was loaded anew"

  if command -v setpriv >/dev/null; then
    note "a node that carries it in userspace"
    stop_agent n2
    on_ingress n2 detach  # what hangs on tcx can't be looked at without the capability, nor taken away
    printf '#!/bin/sh\nexec setpriv --bounding-set -bpf,-sys_admin --inh-caps -bpf,-sys_admin "%s" "$@"\n' "$KNET" >"$WORK/less"
    chmod +x "$WORK/less"
    knet_in n1 init --force --network 10.244.0.0/16 --network6 fd00:244::/56 --mode "$WIRE" --opt Datapath=auto >/dev/null
    PROGRAM[n2]=$WORK/less
    start_agent n2 --listen 127.0.0.1:9099
    eventually 5 agent_ready n2
    eventually 5 no_filters n2
    both_filters n1 || die "n1 has no filters"
    eventually 5 can_ping "$p1" "$a2"
    eventually 5 can_ping "$p1" "$b2"
    stream "$p1" "$p2" "$a2"
    stream "$p2" "$p1" "$a1"
    stream "$p1" "$p2" "$b2"
    stream "$p2" "$p1" "$b1"
    before=$(metric n1 tunnel_received_packets "$dev" 'path="bpf"')
    in_ns "$p2" ping -n -q -c 20 -i 0.01 -W 1 "$a1" | found ' 0% packet loss' || die "pings from userspace"
    more_than $((before + 19)) n1 tunnel_received_packets "$dev" 'path="bpf"' || die "userspace's packets take the slow way"
    stop_agent n2
    unset 'PROGRAM[n2]'
    start_agent n2 --listen 127.0.0.1:9099
    eventually 5 agent_ready n2
    eventually 5 both_filters n2
    eventually 5 can_ping "$p1" "$a2"
  fi

  note "a peer that goes"
  stop_agent n3
  knet_in n3 leave >/dev/null
  refused() { # n3's packets are nobody's now
    local n
    n=$(metric n2 "dev=\"$dev\"" 'why="unknown source"')
    send n3 192.168.77.3 192.168.77.2 "${POD_IP[n3-$WIRE]}" "$a2"
    more_than "$n" n2 "dev=\"$dev\"" 'why="unknown source"'
  }
  eventually 15 refused
  can_ping "$p1" "$a2" || die "the others"
  local foreign=0
  in_ns n2 tc filter add dev eth0 ingress protocol ip pref 9 u32 match u32 0 0 flowid 1:1 2>/dev/null && foreign=1
  assert_clean
  for n in n1 n2 n3; do
    [[ -z $(on_ingress "$n" list | grep knet) ]] || die "a filter is left on $n's eth0"
    [[ $n == n2 && $foreign -eq 1 ]] || [[ -z $(in_ns "$n" tc qdisc show dev eth0 clsact) ]] || die "a clsact is left on $n's eth0"
    mkdir -p "$WORK/$n"
  done
  [[ $foreign -eq 0 ]] || in_ns n2 tc qdisc del dev eth0 clsact || die "a clsact went that another's filter hung on"
}

switch sw
node n1 1; node n2 2; node n3 3
new_ns stranger
nic stranger eth0 stranger sw
ip -n "$TAG-stranger" addr add 192.168.77.66/24 dev eth0
init --network 10.244.0.0/16 --network6 fd00:244::/56 --mode udp --opt Datapath=bpf
expect 0 knet_in n1 mode list
if ! grep -Eq '^udp.*yes, bpf' <<<"$OUT"; then echo "skip: no BPF tunnels here"; exit 77; fi
trial udp 28 48
STORE=sqlite://$WORK/ipip.db
init --network 10.244.0.0/16 --network6 fd00:244::/56 --mode ipip --opt Datapath=bpf
trial ipip 20 40
