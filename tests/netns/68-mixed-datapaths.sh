#!/usr/bin/env bash
# One cluster, several datapaths: n1 and n3 carry the tunnel in BPF, n2, which may not load programs, in userspace; for udp and
# ipip. Pods reach each other over both families; full-size packets pass; what arrives is what was sent, with the
# underlay's offloads on and off; a narrow path's outer fragments are put together; nobody counts a wrong checksum.
# timeout: 240
source "$(dirname "$0")/lib.sh"
command -v python3 >/dev/null || { echo "skip: needs python3"; exit 77; }
command -v setpriv >/dev/null || { echo "skip: needs setpriv, for a node that may not use BPF"; exit 77; }
command -v ethtool >/dev/null || { echo "skip: needs ethtool, for an underlay without offloads"; exit 77; }

cat >"$WORK/echo.py" <<'PY'
# echo.py serve ADDRESS READY-FILE | ask ADDRESS segments|whole: datagrams of many sizes there and back, with "segments" also a row
# that the sender's kernel cuts up as late as it can (UDP_SEGMENT); each must come back as it went.
import random, socket, sys
family = socket.AF_INET6 if ":" in sys.argv[2] else socket.AF_INET
s = socket.socket(family, socket.SOCK_DGRAM)
if sys.argv[1] == "serve":
    s.bind((sys.argv[2], 7001))
    s.settimeout(30)
    open(sys.argv[3], "w").close()
    while True:
        data, who = s.recvfrom(65535)
        if data == b"end": break
        s.sendto(data, who)
    sys.exit()
s.settimeout(1)
s.connect((sys.argv[2], 7001))
rng = random.Random(2)
for size in list(range(0, 40)) + [511, 512, 1200, 1231, 1232, 1399, 1400, 1401, 1424, 1452, 1453, 3000, 9001, 20000]:
    data = rng.randbytes(size)
    for attempt in range(3):  # the first fragments may wait for a neighbour
        s.send(data)
        try:
            got = s.recv(65535)
        except TimeoutError:
            continue
        if got == data: break
    else:
        sys.exit(f"a datagram of {size} bytes did not come back as it went")
if sys.argv[3] == "segments":
    s.setsockopt(socket.IPPROTO_UDP, 103, 1200)
    data = rng.randbytes(12 * 1200 + 7)
    s.send(data)
    got = []
    try:
        while len(got) < 13: got.append(s.recv(65535))
    except TimeoutError:
        sys.exit(f"of 13 segments {len(got)} came back")
    if sorted(got) != sorted(data[i:i + 1200] for i in range(0, len(data), 1200)): sys.exit("segments came back changed")
    s.setsockopt(socket.IPPROTO_UDP, 103, 0)
s.send(b"end")
PY
stream() { tcp_stream "$1" "$2" "$3" $((KNET_SLOW > 1 ? 4 : 24)); }
datagrams() { # FROM TO ADDRESS segments|whole
  local server
  rm -f "$WORK/ready"
  in_ns "$2" timeout "$(slow 40)" python3 "$WORK/echo.py" serve "$3" "$WORK/ready" & server=$!
  PIDS+=("$server")
  eventually 10 test -e "$WORK/ready"
  in_ns "$1" timeout "$(slow 40)" python3 "$WORK/echo.py" ask "$3" "$4" || die "datagrams $1 to $3"
  wait "$server" || die "datagrams $1 to $3: no end"
}
# of NAME: sum of the counters of /proc/net/snmp, snmp6 whose names match
counted() { # NAMESPACE REGEX
  in_ns "$1" awk -v like="$2" '
    FILENAME ~ /snmp6$/ { if ($1 ~ like) n += $2; next }
    $1 == kind { for (i = 2; i <= NF; i++) if (kind name[i] ~ like) n += $i; kind = ""; next }
    { kind = $1; for (i = 2; i <= NF; i++) name[i] = $i }
    END { print n + 0 }' /proc/net/snmp /proc/net/snmp6
}
no_wrong_sums() { # NAMESPACE...
  local ns
  for ns in "$@"; do [[ $(counted "$ns" 'InCsumErrors|InHdrErrors') -eq 0 ]] || die "$ns counts wrong checksums: $(in_ns "$ns" cat /proc/net/snmp)"; done
}
offloads() { local n; for n in $OFFLOADED; do in_ns "$n" ethtool -K eth0 tx "$1" tso "$1" gso "$1" gro "$1" >/dev/null 2>&1; done; }
filters() { { in_ns "$1" tc filter show dev "knet.$WIRE" egress | grep "knet/"; in_ns "$1" "$KNET_SOURCE/tests/netns/ingress-programs" list eth0; } | grep -c knet || true; }
has_filters() { [[ $(filters "$1") -eq $2 ]]; }  # NODE COUNT
NETWORKS=(--network 10.244.0.0/16 --network6 fd00:244::/56)
# A program that may do all but load BPF.
printf '#!/bin/sh\nexec setpriv --bounding-set -bpf,-sys_admin --inh-caps -bpf,-sys_admin "%s" "$@"\n' "$KNET" >"$WORK/less"
chmod +x "$WORK/less"

# all_ways A B: what pods A and B, NODE-POD each, have to get through the tunnel
all_ways() {
  local a=$1 b=$2 offload from to address segments
  local na=${a%%-*} nb=${b%%-*}
  for offload in on off; do
    offloads $offload
    for from in "$a $b" "$b $a"; do
      read -r from to <<<"$from"
      # A veth hands a raw socket the packed super-packet, and nothing tells how it was to be cut. TCP's are cut by the MTU.
      segments=segments
      [[ $WIRE-$offload-$to != ipip-on-n2-* ]] || segments=whole
      can_ping "$from" "${POD_IP[$to]}" -M do -s $((1500 - HEADER4 - 28)) || die "$from to $to: a full packet, IPv4, offloads $offload"
      can_ping "$from" "${POD_IP6[$to]}" -M do -s $((1500 - HEADER6 - 48)) || die "$from to $to: a full packet, IPv6, offloads $offload"
      can_ping "$from" "${POD_IP[$to]}" -s 5000 || die "$from to $to: inner fragments, IPv4"
      can_ping "$from" "${POD_IP6[$to]}" -s 5000 || die "$from to $to: inner fragments, IPv6"
      for address in "${POD_IP[$to]}" "${POD_IP6[$to]}"; do
        stream "$from" "$to" "$address"
        datagrams "$from" "$to" "$address" "$segments"
      done
    done
  done
  offloads on
  for from in "$a $b" "$b $a"; do
    read -r from to <<<"$from"
    narrow "$from" "$to"
  done
  no_wrong_sums "$a" "$b" "$na" "$nb"
}
# narrow FROM TO: the sender's node knows a path with less room
narrow() {
  local from=$1 to=$2 here=${1%%-*} there=${2%%-*} made put
  in_ns "$here" ip route add "192.168.77.${there#n}/32" dev eth0 mtu lock 1400
  in_ns "$here" ip -6 route add "fd00:77::${there#n}/128" dev eth0 mtu lock 1300
  in_ns "$from" sh -c 'ip route flush cache; ip -6 route flush cache'
  made=$(counted "$here" '^Ip:FragCreates|Ip6FragCreates') put=$(counted "$there" '^Ip:ReasmOKs')
  can_ping "$from" "${POD_IP[$to]}" -M dont -s 1400 || die "$from to $to: IPv4 in outer fragments"
  can_ping "$from" "${POD_IP6[$to]}" -s 1232 || die "$from to $to: IPv6 in outer fragments"
  [[ $(counted "$here" '^Ip:FragCreates|Ip6FragCreates') -ge $((made + 4)) ]] || die "$here made no outer fragments"
  # IPv6's are put together by connection tracking, which counts none.
  [[ $(counted "$there" '^Ip:ReasmOKs') -gt $put ]] || die "$there put no outer fragments together"
  expect 1 in_ns "$from" ping -n -c 1 -W 2 -M do -s 1400 "${POD_IP[$to]}"
  contains "mtu = $((1400 - HEADER4))"
  stream "$from" "$to" "${POD_IP[$to]}"
  stream "$from" "$to" "${POD_IP6[$to]}"
  in_ns "$here" ip route del "192.168.77.${there#n}/32" dev eth0 mtu lock 1400
  in_ns "$here" ip -6 route del "fd00:77::${there#n}/128" dev eth0 mtu lock 1300
  in_ns "$from" sh -c 'ip route flush cache; ip -6 route flush cache'
}

trial() { # udp|ipip HEADER4 HEADER6 [INIT-ARGUMENT...]
  WIRE=$1 HEADER4=$2 HEADER6=$3
  shift 3
  local n other
  note "$WIRE: two nodes with BPF, one without"
  STORE=sqlite://$WORK/$WIRE.db
  init "${NETWORKS[@]}" --mode "$WIRE" "$@"
  for n in n1 n2 n3; do mkdir -p "$WORK/$n"; done
  PROGRAM[n2]=$WORK/less
  start_agents n1 n2 n3
  unset 'PROGRAM[n2]'
  for n in n1 n2 n3; do pod $n "$WIRE"; done
  for n in n1 n3; do eventually 5 has_filters $n 2; done
  has_filters n2 0 || die "n2 carries it in BPF all the same"
  PROGRAM[n2]=$WORK/less
  expect 0 knet_in n2 mode list
  unset 'PROGRAM[n2]'
  grep -Eq "^$WIRE .*user" <<<"$OUT" || { echo "$OUT"; die "n2 does not say that userspace carries it"; }
  for n in n1 n2 n3; do
    for other in n1 n2 n3; do
      [[ $n == "$other" ]] && continue
      eventually 5 can_ping $n-"$WIRE" "${POD_IP[$other-$WIRE]}"
      eventually 5 can_ping $n-"$WIRE" "${POD_IP6[$other-$WIRE]}"
    done
  done
  OFFLOADED="n1 n2 n3"
  note "BPF and userspace"
  all_ways "n1-$WIRE" "n2-$WIRE"
  note "BPF and BPF"
  all_ways "n1-$WIRE" "n3-$WIRE"
  PROGRAM[n2]=$WORK/less
  assert_clean
  unset 'PROGRAM[n2]'
}

switch sw
node n1 1; node n2 2; node n3 3
mkdir -p "$WORK/n1" "$WORK/n2" "$WORK/n3"
init "${NETWORKS[@]}" --mode udp
expect 0 knet_in n1 mode list
if ! grep -Eq '^udp.*yes, bpf' <<<"$OUT"; then echo "skip: no BPF tunnels here"; exit 77; fi
trial udp 28 48
# Also where the kernel has its own ipip driver, which carries no IPv6: 69-ipip-mixed is about that one.
trial ipip 20 40
