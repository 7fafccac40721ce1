#!/usr/bin/env bash
# Pods must not speak a tunnel's wire format: behind masquerade, or with a forged source, one would look like its node.
# For vxlan, udp and ipip: what a pod sends so to another node or its own never gets there, and is counted; what pods send
# each other on that port does.
# timeout: 120
source "$(dirname "$0")/lib.sh"
command -v python3 >/dev/null || { echo "skip: needs python3"; exit 77; }

cat >"$WORK/send.py" <<'PY'
import socket, sys
kind, source, to, number = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
if kind == "udp":
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    size = 69
else:
    s = socket.socket(socket.AF_INET, socket.SOCK_RAW, number)
    size = 77
if source != "-":
    s.bind((source, 0))
s.sendto(b"E" * size, (to, number if kind == "udp" else 0))
PY
cat >"$WORK/take.py" <<'PY'
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind((sys.argv[1], int(sys.argv[2])))
open(sys.argv[3], "w").close()
s.settimeout(5)
print(len(s.recvfrom(100)[0]))
PY
send() { in_ns n1-p1 python3 "$WORK/send.py" "$@"; }
dropped() { # KEY: packets that this rule of n1 dropped
  in_ns n1 nft list table inet knet | grep "comment \"knet:$1\"" | grep -oP 'packets \K[0-9]+'
}
passed() { in_ns sw nft list table bridge watch | grep "comment \"$1\"" | grep -oP 'packets \K[0-9]+'; }  # WHAT
passes() { [[ $(passed "$1") -gt $2 ]]; }

switch sw
node n1 1; node n2 2
# Each packet of the test has 97 bytes with its IP header, as no other has.
in_ns sw nft -f - <<'NFT'
table bridge watch {
  chain forward { type filter hook forward priority 0;
    iifname "n1" ip length 97 ip protocol udp udp dport { 8472, 8285 } counter comment "udp"
    iifname "n1" ip length 97 ip protocol 4 counter comment "ipip"
    iifname "n1" ip length 97 ip protocol udp udp dport 9999 counter comment "other-udp"
    iifname "n1" ip length 97 ip protocol 253 counter comment "other-ip"
  }
}
NFT
for mode in vxlan udp ipip; do
  case $mode in
    vxlan) kind=udp number=8472 other=9999 options=() ;;
    udp) kind=udp number=8285 other=9999 options=(--opt Datapath=user) ;;
    ipip) kind=ip number=4 other=253 options=(--opt Datapath=user) ;;
  esac
  name=$([[ $kind == ip ]] && echo ipip || echo udp)
  note "$mode"
  STORE=sqlite://$WORK/$mode.db
  init --network 10.244.0.0/16 --mode $mode "${options[@]}"
  start_agents n1 n2
  pod n1 p1; pod n2 p1
  eventually 3 can_ping n1-p1 "${POD_IP[n2-p1]}"

  send $kind - 192.168.77.2 $other
  eventually 2 passes "other-$kind" 0
  before=$(passed $name)
  send $kind - 192.168.77.2 $number
  [[ $(dropped $mode-from-pods4) == 1 ]] || die "not counted: $(in_ns n1 nft list table inet knet)"
  send $kind - 192.168.77.1 $number
  [[ $(dropped $mode-from-pods-here4) == 1 ]] || die "not counted towards the own node: $(in_ns n1 nft list table inet knet)"
  in_ns n1 sysctl -qw net.ipv4.conf.all.rp_filter=0
  for dev in $(in_ns n1 ls /proc/sys/net/ipv4/conf | grep -E '^knet[0-9a-f]{11}$'); do in_ns n1 sysctl -qw "net.ipv4.conf.$dev.rp_filter=0"; done
  in_ns n1-p1 ip addr add 192.168.77.200/32 dev lo  # as another node would send it
  send $kind 192.168.77.200 192.168.77.2 $number
  [[ $(dropped $mode-from-pod-links4) == 1 ]] || die "not counted with a forged source: $(in_ns n1 nft list table inet knet)"
  [[ $(passed $name) == "$before" ]] || die "$mode: a pod's packets of that form left the node"
  if [[ $kind == udp ]]; then
    rm -f "$WORK/ready"
    in_ns n2-p1 timeout 10 python3 "$WORK/take.py" "${POD_IP[n2-p1]}" $number "$WORK/ready" >"$WORK/taken" & taker=$!
    PIDS+=("$taker")
    eventually 3 test -e "$WORK/ready"
    send udp - "${POD_IP[n2-p1]}" $number
    wait "$taker" || die "pods can't use port $number among themselves"
    [[ $(cat "$WORK/taken") == 69 ]] || die "got $(cat "$WORK/taken") bytes"
  fi
  for name in n1 n2; do cni DEL $name p1 >/dev/null; ip netns del "$TAG-$name-p1"; done
  for key in from-pods4 from-pod-links4 from-pods-here4 from-pod-links-here; do
    in_ns n2 nft list table inet knet | found "comment \"knet:$mode-$key\"" || die "n2 has no rule $mode-$key"
  done
  assert_clean
done
