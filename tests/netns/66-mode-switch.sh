#!/usr/bin/env bash
# serial
# timeout: 400
# The cluster changes its mode while pods talk: nothing is lost between datapaths that are the kernel's, pings with full-sized
# DF packets and a long TCP stream go on; under rp_filter 1 wherever it can be set. Then: an agent that is restarted in the
# middle, a node that is away meanwhile, the end by hand, pods whose MTU has to fall.
source "$(dirname "$0")/lib.sh"

# A TCP stream of small chunks without end; the receiver tells how many bytes came and the longest pause in ms.
stream() { # FROM TO-POD TO-ADDRESS
  ip netns exec "$TAG-$2" perl -MIO::Socket::INET -MTime::HiRes=time -e '
    my $l = IO::Socket::INET->new(Listen => 1, LocalPort => 5001, ReuseAddr => 1) or die "listen: $!"; my $c = $l->accept;
    my ($sum, $gap, $last) = (0, 0, time);
    while ((my $n = sysread $c, my $buffer, 1 << 20) > 0) { my $t = time; $gap = $t - $last if $t - $last > $gap; $last = $t; $sum += $n }
    printf "%d %d\n", $sum, $gap * 1000' >"$WORK/stream.in" &
  STREAM_IN=$!
  eventually 3 in_ns "$2" sh -c 'ss -tln | grep -q :5001'
  ip netns exec "$TAG-$1" perl -MIO::Socket::INET -MTime::HiRes=usleep -e '
    my ($stop, $sum) = (0, 0); $SIG{TERM} = sub { $stop = 1 };
    my $s = IO::Socket::INET->new(PeerAddr => $ARGV[0], PeerPort => 5001) or die "connect: $!"; my $chunk = "x" x 65536;
    while (!$stop) { for (my $at = 0; $at < 65536;) { my $n = syswrite $s, $chunk, 65536 - $at, $at; next if !defined $n && $!{EINTR};
      die "write: $!" if !defined $n; $at += $n; $sum += $n } usleep 5000 }
    print "$sum\n"' "$3" >"$WORK/stream.out" &
  STREAM_OUT=$!
  PIDS+=("$STREAM_IN" "$STREAM_OUT")
}
stream_end() { # sets PAUSE; the stream must have come whole
  local sent got
  kill -TERM "$STREAM_OUT"
  wait "$STREAM_OUT" || die "the TCP stream broke"
  wait "$STREAM_IN"
  sent=$(<"$WORK/stream.out")
  read -r got PAUSE <"$WORK/stream.in"
  [[ -n $sent && $sent == "$got" && $sent -gt 1000000 ]] || die "the TCP stream sent ${sent:-nothing} bytes, $got came"
}

has_mode() { knet_in n1 mode list -o json | jq -e --arg m "$1" '.modes[] | select(.name == $m) | .runs_here' >/dev/null; }
lease_mode() { knet_in n1 node list -o json | jq -r --arg n "$1" '.nodes[] | select(.name == $n) | .leases[0].mode'; }
receives() { status_says "$1" ".receives == $2"; }  # NODE JSON
path_of() { knet_in n1 status -o json | jq -r --arg m "$1" '[.datapaths[] | select(.mode == $m) | .datapath][0] // "kernel"'; }

switch sw
for n in 1 2 3; do
  node n$n $n
  in_ns n$n sh -c 'echo 1 | tee /proc/sys/net/ipv4/conf/*/rp_filter >/dev/null'
done
init --network 10.244.0.0/16 --network6 fd00:244::/48
start_agents n1 n2 n3
for n in 1 2 3; do pod n$n p1; done
ping_all() { local a b; for a in n1 n2 n3; do for b in n1 n2 n3; do [[ $a == "$b" ]] || can_ping $a-p1 "${POD_IP[$b-p1]}" || return 1; done; done; }
eventually 5 ping_all

# may_lose PATH: of 1,000 pings. Before 6.6 there is no tcx: the clsact that comes and goes with a bpf path empties the uplink's
# queue once each (man knet-mode).
may_lose() {
  local major minor rest
  IFS=.- read -r major minor rest < <(uname -r)
  if [[ $1 == bpf || ${LAST_PATH:-kernel} == bpf ]] && (( major * 100 + minor < 606 )); then echo 5; else echo 0; fi
}

# change MODE [ARGUMENT...]: with traffic between all pods; tells what was lost on the way.
change() {
  local mode=$1 before path
  before=$(lease_mode n1)
  flood_to n1-p1 "${POD_IP[n2-p1]}"
  flood_to n2-p1 "${POD_IP[n3-p1]}"
  flood_to n3-p1 "${POD_IP[n1-p1]}"
  flood_to n1-p1 "${POD_IP[n3-p1]}" -M do -s $((1450 - 28))
  flood_to n2-p1 "${POD_IP6[n1-p1]}" -s $((1400 - 48))
  stream n1-p1 n2-p1 "${POD_IP[n2-p1]}"
  expect 0 timeout 60 ip netns exec "$TAG-n1" env KNET_STORE="$STORE" KNET_STATE_DIR="$WORK/n1/state" KNET_RUN_DIR="$WORK/n1/run" \
    "$KNET" mode set "$@" --wait --wait-timeout 30s
  contains "3 nodes changed over to $mode"
  path=$(path_of "$mode")
  stream_end
  floods_end
  for n in n1 n2 n3; do
    [[ $(lease_mode $n) == "$mode" ]] || die "$n does not announce $mode"
    eventually 3 receives $n '[]'
  done
  printf '%-8s -> %-8s %-7s %2d of %d pings lost, TCP paused %d ms at most\n' "$before" "$mode" "$path" "$LOST" "$SENT" "$PAUSE"
  if [[ $path != user && ${LAST_PATH:-kernel} != user ]]; then
    [[ $LOST -le $(( $(may_lose "$path") * SENT / 1000 )) ]] || die "$LOST packets lost from $before to $mode"
    [[ $PAUSE -lt 1000 ]] || die "the TCP stream paused for $PAUSE ms"
  fi
  LAST_PATH=$path
}

note "vxlan and host-gw, there and back"
change host-gw
in_ns n1 sh -c '! ip link show knet.1 2>/dev/null' || die "knet.1 is still there"
change vxlan

if has_mode udp && has_mode ipip; then
  note "the tunnels"
  change udp
  change ipip
  change vxlan
  note "in userspace: what is lost is told"
  change udp --opt Datapath=user
  change ipip --opt Datapath=user
  change vxlan
  [[ $(in_ns n1 ip -br link | grep -cE 'knet\.(udp|ipip)') == 0 ]] || die "a device of an earlier mode is left"
fi

note "words: what is refused, what is so already"
expect 0 knet_in n1 mode set vxlan
contains "is vxlan already"
expect 1 knet_in n1 mode set vxlan --opt VNI=7
contains "VNI"
expect 2 knet_in n1 mode set vxlam
contains "did you mean vxlan"
expect 2 knet_in n1 mode set host-gw --opt VNI=7
expect 1 knet_in n1 config set Backend.Type=host-gw
contains "knet mode set host-gw"
expect 0 knet_in n1 mode set host-gw --dry-run
contains "dry run"
[[ $(lease_mode n1) == vxlan ]] || die "a dry run changed the mode"
expect 0 knet_in n1 mode finish
contains "nothing to finish"

note "a node is away meanwhile, and an agent is restarted in the middle"
stop_agent n3
flood_to n1-p1 "${POD_IP[n3-p1]}"
flood_to n3-p1 "${POD_IP[n2-p1]}"
flood_to n1-p1 "${POD_IP[n2-p1]}"
expect 0 knet_in n1 mode set host-gw
contains "knet mode finish"
for n in n1 n2; do eventually 5 status_says $n '.announced == "host-gw" and .receives == ["vxlan"]'; done
[[ $(lease_mode n3) == vxlan ]] || die "n3 is away and announces something else"
eventually 2 in_ns n1 sh -c "ip route show $(subnet_of n2) | grep -q 'dev eth0'"
in_ns n1 sh -c "ip route show $(subnet_of n3) | grep -q 'dev knet.1'" || die "n3 is not sent to by vxlan any more"
expect 0 knet_in n1 node list
contains "still receives vxlan"
stop_agent n1 KILL
start_agents n1
eventually 3 status_says n1 '.receives == ["vxlan"] and .store.connected'
never 7 receives n1 '[]'  # n3 has acted on nothing
in_ns n1 ip link show knet.1 >/dev/null || die "knet.1 is gone though n3 sends by it"
expect 1 knet_in n1 mode finish
contains "n3 still announces vxlan"
expect 1 knet_in n1 mode set host-gw --wait --wait-timeout 1s
contains "n3"
contains "NOT OVER"
start_agents n3
expect 0 knet_in n1 mode set host-gw --wait --wait-timeout 20s
floods_end
[[ $LOST -eq 0 ]] || die "$LOST of $SENT packets lost around the node that was away"
echo "$SENT pings around it, none lost"

note "a switch back in the middle; the end by hand while a node is away"
stop_agent n3
expect 0 knet_in n1 mode set vxlan
eventually 5 status_says n2 '.announced == "vxlan" and .receives == ["host-gw"]'
expect 0 knet_in n1 mode set host-gw
eventually 5 status_says n2 '.announced == "host-gw" and .receives == ["vxlan"]'
expect 0 knet_in n1 mode finish
for n in n1 n2; do eventually 3 receives $n '[]'; done
start_agents n3
eventually 3 ping_all
stop_agent n3
expect 0 knet_in n1 mode set vxlan
eventually 5 status_says n1 '.receives == ["host-gw"]'
expect 1 knet_in n1 mode finish
expect 0 knet_in n1 mode finish --force
for n in n1 n2; do eventually 3 receives $n '[]'; done
start_agents n3
eventually 5 ping_all

note "pods whose MTU has to fall, while they talk"
expect 0 knet_in n1 mode set host-gw --wait --wait-timeout 20s
for n in n1 n2; do pod $n p2; done
[[ $(in_ns n1-p2 cat /sys/class/net/eth0/mtu) == 1500 ]] || die "a new pod has not the MTU of host-gw"
flood_to n1-p2 "${POD_IP[n2-p2]}" -M do -s $((1450 - 28))
stream n1-p2 n2-p2 "${POD_IP[n2-p2]}"
expect 0 knet_in n1 mode set vxlan --wait --wait-timeout 20s
[[ $(in_ns n1-p2 cat /sys/class/net/eth0/mtu) == 1450 ]] || die "the pod's MTU did not fall"
stream_end
floods_end
[[ $LOST -eq 0 ]] || die "$LOST packets lost while the pods' MTU fell"
[[ $PAUSE -lt 2000 ]] || die "the TCP stream paused for $PAUSE ms"
echo "MTU 1500 -> 1450: none of $SENT pings lost, TCP paused $PAUSE ms at most"
assert_clean
