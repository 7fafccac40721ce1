#!/usr/bin/env bash
# host-gw's shortcut (Datapath): established TCP passes the stack by, all else goes through it. Witness is a forward chain
# of somebody else's, which counts what the stack still sees:
#
#   n1-p1 ── n1 ── sw ── n2 ── n2-p1      a stream of thousands of packets; the chain sees few of them, and every
#             chain       chain           connection's beginning and end
#
# NAT, other people's rules, borrowed sources, a narrow path, other people's filters, an agent that is away, changes of
# option and mode. Both families.
# timeout: 180
source "$(dirname "$0")/lib.sh"
command -v python3 >/dev/null || { echo "skip: needs python3"; exit 77; }

switch sw
node n1 1; node n2 2
init --network 10.244.0.0/16 --network6 fd00:244::/48 --mode host-gw
expect 0 knet_in n1 mode list
if ! grep -Eq '^host-gw.*yes, bpf' <<<"$OUT"; then
  why=$(grep -o 'no shortcut: .*' <<<"$OUT" | head -n 1)
  echo "skip: ${why:-no shortcut here}"
  exit 77
fi
start_agents n1 n2
pod n1 p1; pod n1 p2; pod n2 p1
p1=${POD_IP[n1-p1]} p2=${POD_IP[n1-p2]} q1=${POD_IP[n2-p1]} q1_6=${POD_IP6[n2-p1]}

path_is() { status_says "$1" ".datapaths[] | select(.mode == \"host-gw\") | .datapath == \"$2\""; }
shortcuts() { # NODE COUNT: so many are wanted and there
  knet_in "$1" status | if [[ $2 == 0 ]]; then ! grep -q shortcut; else found "shortcut $2,"; fi
}
both() { "$1" n1 "${@:2}" && "$1" n2 "${@:2}"; }
ready() { both path_is bpf && shortcuts n1 3 && shortcuts n2 2; }
eventually 10 ready

# Another's tables: what the stack forwards, and what conntrack calls invalid is dropped, as kube-proxy has it.
for n in n1 n2; do
  in_ns $n nft 'table inet witness {
    counter seen { }
    counter invalid { }
    chain forward { type filter hook forward priority 10; ct state invalid counter name invalid drop; tcp dport 7999 drop; meta l4proto tcp counter name seen; }
  }'
done
counted() { in_ns "$1" nft list counter inet witness "$2" | sed -n 's/.*packets \([0-9]*\).*/\1/p'; }
# stream FROM TO ADDRESS MEGABYTES: compared by digest; into SEEN and PASSED: what n2's stack forwarded of it, and what came in
stream() {
  local seen
  seen=$(counted n2 seen) PASSED=$(in_ns n2 awk '/eth0:/ { print $3 + $11 }' /proc/net/dev)
  tcp_stream "$1" "$2" "$3" "$4" 60
  SEEN=$(($(counted n2 seen) - seen)) PASSED=$(($(in_ns n2 awk '/eth0:/ { print $3 + $11 }' /proc/net/dev) - PASSED))
}
by_shortcut() { ((PASSED > 500 && SEEN * 10 < PASSED)) || die "$1: the stack saw $SEEN of $PASSED packets"; note "$1: the stack saw $SEEN of $PASSED packets"; }
by_stack() { ((PASSED > 500 && SEEN * 10 > PASSED * 9)) || die "$1: the stack saw $SEEN of $PASSED packets only"; note "$1: the stack saw $SEEN of $PASSED packets"; }

note "streams of both families, both ways"
stream n1-p1 n2-p1 "$q1" 200
by_shortcut IPv4
stream n2-p1 n1-p1 "$p1" 200
by_shortcut "IPv4 back"
stream n1-p1 n2-p1 "$q1_6" 200
by_shortcut IPv6
offloads() { local n; for n in n1 n2 n1-p1 n2-p1; do in_ns "$n" ethtool -K eth0 tx "$1" tso "$1" gso "$1" gro "$1" >/dev/null 2>&1 || true; done; }
if command -v ethtool >/dev/null; then
  offloads off
  stream n1-p1 n2-p1 "$q1" 20
  by_shortcut "offloads off"
  offloads on
fi

in_ns n2 nft insert rule inet witness forward tcp dport 7000 ct mark set 5
stream n1-p1 n2-p1 "$q1" 50
by_stack "with conntrack's mark"
in_ns n2 nft delete rule inet witness forward handle "$(in_ns n2 nft -a list chain inet witness forward | sed -n 's/.*ct mark set .*# handle \([0-9]*\)$/\1/p')"

note "a connection's end is seen: conntrack knows it as closed, and calls nothing of it invalid"
if [[ -r /proc/net/nf_conntrack ]]; then
  ended() { ! in_ns "$1" grep -q 'ESTABLISHED.*dport=7000' /proc/net/nf_conntrack; }
  eventually 2 both ended
fi
for n in n1 n2; do [[ $(counted $n invalid) == 0 ]] || die "conntrack on $n calls $(counted $n invalid) packets invalid"; done

note "another's rule holds for new connections"
in_ns n2-p1 timeout "$(slow 20)" python3 -c "import socket; s = socket.create_server(('$q1', 7999)); s.settimeout(15); s.accept()" 2>/dev/null &
PIDS+=($!)
in_ns n1-p1 timeout "$(slow 3)" python3 -c "import socket; socket.create_connection(('$q1', 7999), 1)" 2>/dev/null && die "a connection that n2's rule drops"

note "what NAT rewrites is the stack's"
in_ns n1 nft "table ip service { chain pre { type nat hook prerouting priority -100; ip daddr 10.96.0.1 tcp dport 7000 dnat to $q1; }
}"
rm -f "$WORK/ready"
in_ns n2-p1 timeout "$(slow 60)" "$KNET_SOURCE/tests/netns/tcp-stream" take "$q1" "$WORK/ready" >"$WORK/taken" & taker=$!
PIDS+=("$taker")
eventually 10 test -e "$WORK/ready"
seen=$(counted n1 seen)
in_ns n1-p1 timeout "$(slow 60)" "$KNET_SOURCE/tests/netns/tcp-stream" give 10.96.0.1 50 >"$WORK/given" || die "stream to a service"
wait "$taker"
cmp "$WORK/given" "$WORK/taken" || die "stream to a service changed"
(($(counted n1 seen) - seen > 500)) || die "n1's stack saw $(($(counted n1 seen) - seen)) packets of a connection that it rewrites"
in_ns n1 nft delete table ip service

note "nobody borrows another pod's connection"
cat >"$WORK/hold.py" <<'PY'
# hold.py take ADDRESS | give OWN ADDRESS PORT FILE: a connection that stays; its own port is written to FILE
import socket, sys, time
if sys.argv[1] == "take":
    server = socket.create_server((sys.argv[2], 7002))
    peer = server.accept()[0]
else:
    peer = socket.create_connection((sys.argv[3], 7002), 10, (sys.argv[2], int(sys.argv[4])))
left = 200 * 4096
while left > 0:
    left -= peer.send(b"." * min(left, 4096)) if sys.argv[1] == "take" else len(peer.recv(1 << 20))
open(sys.argv[-1], "w").close()
time.sleep(60)
PY
in_ns n2-p1 python3 "$WORK/hold.py" take "$q1" "$WORK/held-2" & PIDS+=($!)
eventually 5 in_ns n2-p1 sh -c 'ss -ltn | grep -q :7002'
in_ns n1-p1 python3 "$WORK/hold.py" give "$p1" "$q1" 40123 "$WORK/held-1" & PIDS+=($!)
eventually 10 test -e "$WORK/held-1"
in_ns n2-p1 nft "table inet witness {
  counter theirs { }
  chain input { type filter hook prerouting priority -300; ip saddr $p1 tcp sport 40123 tcp flags & (psh|ack|urg) == psh|ack counter name theirs; }
}"
send_as() { # POD SOURCE COUNT: segments of p1's connection, with PSH
  in_ns "$1" python3 - "$2" "$q1" "$3" <<'PY'
import socket, struct, sys
source, to, count = sys.argv[1:4]
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
def checksum(data):
    if len(data) % 2: data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16: total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff
for i in range(int(count)):
    tcp = struct.pack("!HHIIBBHHH", 40123, 7002, 1000 + i, 1, 0x50, 0x18, 512, 0, 0) + b"spoof"
    pseudo = socket.inet_aton(source) + socket.inet_aton(to) + struct.pack("!BBH", 0, 6, len(tcp))
    tcp = tcp[:16] + struct.pack("!H", checksum(pseudo + tcp)) + tcp[18:]
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), i, 0, 64, 6, 0, socket.inet_aton(source), socket.inet_aton(to))
    s.sendto(ip + tcp, (to, 0))
PY
}
theirs() { in_ns n2-p1 nft list counter inet witness theirs | sed -n 's/.*packets \([0-9]*\).*/\1/p'; }
before=$(theirs)
send_as n1-p2 "$p1" 300
can_ping n1-p2 "$q1" || die "no ping after it"  # whatever was sent has arrived
[[ $(theirs) == "$before" ]] || die "$(($(theirs) - before)) packets of n1-p2 went as n1-p1's"
send_as n1-p1 "$p1" 300
eventually 3 eval '(($(theirs) - before >= 290))'  # its own: the test can fail

note "a narrow path: who sends too big is told"
# Another's route to this one pod, over a link that takes 1300 bytes.
in_ns n1 ip route add "$q1/32" via 192.168.77.2 mtu 1300 proto static
stream n1-p1 n2-p1 "$q1" 20
in_ns n1-p1 ip route get "$q1" | found 'mtu 1300' || die "n1-p1 was not told"
in_ns n1 ip route del "$q1/32" proto static
in_ns n1-p1 ip route flush cache

note "another's filters are not passed by"
dev=$(jq -r '.interfaces[] | select(.sandbox == null or .sandbox == "") | .name' "$WORK/n2/p1.json" | head -n 1)
in_ns n2 tc qdisc add dev "$dev" clsact
through() { stream n2-p1 n1-p1 "$p1" 50; ((SEEN * 10 > PASSED * 3)); }  # the way out; answers come in elsewhere
eventually 5 through
in_ns n2 tc qdisc del dev "$dev" clsact
goes_by() { stream n2-p1 n1-p1 "$p1" 50; ((SEEN * 10 < PASSED)); }
eventually 5 goes_by

note "nor a queue on the way into a pod"
in_ns n2 tc qdisc add dev "$dev" root pfifo
queued() { in_ns n2 tc -s qdisc show dev "$dev" | sed -n 's/.*Sent \([0-9]*\) bytes.*/\1/p' | head -n 1; }
through() { local was; was=$(queued); stream n1-p1 n2-p1 "$q1" 50; (($(queued) - was > 49000000)); }
eventually 5 through
by_shortcut "with a queue"
in_ns n2 tc qdisc del dev "$dev" root

note "without an agent it goes on, and a restart leaves it"
stop_agent n2 KILL
stream n1-p1 n2-p1 "$q1" 200
by_shortcut "no agent on n2"
start_agents n2
stream n1-p1 n2-p1 "$q1" 200
by_shortcut "its restart"

note "Datapath kernel, and back"
expect 0 knet_in n1 config set Backend.Datapath=kernel
eventually 5 both path_is kernel
eventually 5 both shortcuts 0
stream n1-p1 n2-p1 "$q1" 100
by_stack "Datapath kernel"
expect 0 knet_in n1 config set Backend.Datapath=auto
eventually 5 ready
stream n1-p1 n2-p1 "$q1" 100
by_shortcut "Datapath auto again"

note "a mode with a tunnel has none; the stream goes on through the change"
rm -f "$WORK/ready"
in_ns n2-p1 timeout "$(slow 60)" "$KNET_SOURCE/tests/netns/tcp-stream" take "$q1" "$WORK/ready" >"$WORK/taken" & taker=$!
PIDS+=("$taker")
eventually 10 test -e "$WORK/ready"
in_ns n1-p1 timeout "$(slow 60)" sh -c "python3 '$KNET_SOURCE/tests/netns/tcp-stream' give $q1 3000" >"$WORK/given" & giver=$!
PIDS+=("$giver")
expect 0 knet_in n1 mode set vxlan
wait "$giver" && wait "$taker" || die "the stream broke"
cmp "$WORK/given" "$WORK/taken" || die "the stream changed"
eventually 20 both shortcuts 0
assert_clean

note "without masquerading nobody would ask conntrack: with Datapath=bpf a rule of ours does"
STORE=sqlite://$WORK/plain.db
for path in auto bpf; do
  init --force --network 10.244.0.0/16 --mode host-gw --no-masquerade --opt Datapath=$path >/dev/null
  [[ $path == bpf ]] || { start_agents n1 n2; pod n1 p3; pod n2 p3; }
  [[ $path == bpf ]] && want=bpf || want=kernel
  eventually 10 both path_is $want
done
q1=${POD_IP[n2-p3]}
eventually 5 shortcuts n2 2
for n in n1 n2; do in_ns $n nft list table inet knet | found 'ct state .*knet:track' || die "no rule that has $n ask conntrack"; done
in_ns n2 nft flush chain inet witness forward
in_ns n2 nft add rule inet witness forward meta l4proto tcp counter name seen
stream n1-p3 n2-p3 "$q1" 100
by_shortcut "without masquerading"
assert_clean
