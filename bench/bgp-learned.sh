#!/usr/bin/env bash
# One agent in mode bgp that learns 10,000 routes from BIRD: time until all are in the kernel, memory of the whole agent, CPU time.
# Reference of the same run: BIRD that learns the same from the same and puts it into the kernel.   ROUTES=N RUNS=N
source "$(dirname "$0")/../tests/netns/lib.sh"
source "$(dirname "$0")/../tests/netns/bgp-lib"
need_bird

ROUTES=${ROUTES:-10000} RUNS=${RUNS:-3}
switch sw
node n1 1
host feed 100; host ref 3
median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
bird_up feed < <(
  echo 'router id 192.168.77.100; protocol device { } protocol static { ipv4;'
  for ((i = 0; i < ROUTES; ++i)); do echo "route 10.$((128 + i / 256)).$((i % 256)).0/24 blackhole;"; done
  echo '}'
  for peer in 1:64512 3:64512; do
    echo "protocol bgp p${peer%:*} { local 192.168.77.100 as 64512; neighbor 192.168.77.${peer%:*} as ${peer#*:}; passive on;
      ipv4 { import none; export where source = RTS_STATIC; next hop self; }; }"
  done
)
init --network 10.0.0.0/8 --subnet-len 24 --subnet-min 10.1.0.0 --subnet-max 10.100.255.0 --mode bgp >/dev/null
expect 0 knet_in n1 bgp peer add 192.168.77.100 --as 64512 --name feed --prefix-limit 1000000
cat >"$WORK/ref/config" <<'BIRD'
router id 192.168.77.3; protocol device { } protocol direct { ipv4; }
protocol kernel { ipv4 { import none; export where source = RTS_BGP; }; }
protocol bgp feed { local 192.168.77.3 as 64512; neighbor 192.168.77.100 as 64512; connect delay time 1; ipv4 { import all; export none; }; }
BIRD
figures() { # WHO PID BEGIN: after a second of quiet
  awk -v us=$((${EPOCHREALTIME/./} - $3)) 'BEGIN { printf "%.3f\n", us / 1e6 }' >>"$WORK/$1.time"
  sleep 1
  awk '{ printf "%.2f\n", ($14 + $15) / 100 }' "/proc/$2/stat" >>"$WORK/$1.cpu"
  awk '/^VmRSS/ { printf "%.1f\n", $2 / 1024 }' "/proc/$2/status" >>"$WORK/$1.rss"
  awk '/^VmHWM/ { printf "%.1f\n", $2 / 1024 }' "/proc/$2/status" >>"$WORK/$1.peak"
}
routes_in() { ip -n "$TAG-$1" -4 route show | grep -c 'via 192.168.77.100' || true; }
for ((run = 0; run < RUNS; ++run)); do
  begin=${EPOCHREALTIME/./}
  bird_up ref <"$WORK/ref/config"
  until [[ $(routes_in ref) -ge $ROUTES ]]; do ((${EPOCHREALTIME/./} - begin < 60000000)) || die "BIRD: not in 60 s: $(routes_in ref)"; done
  figures bird "${BIRD[ref]}" "$begin"
  bird_down ref
  ip -n "$TAG-ref" route flush proto bird
  begin=${EPOCHREALTIME/./}
  start_agent n1
  until [[ $(routes_in n1) -ge $ROUTES ]]; do ((${EPOCHREALTIME/./} - begin < 60000000)) || die "knet: not in 60 s: $(routes_in n1)"; done
  figures knet "${AGENT[n1]}" "$begin"
  stop_agent n1
  knet_in n1 leave >/dev/null || true
done
for who in knet bird; do
  printf '%-5s %d routes: %s s until in the kernel (from the start of the program), CPU %s s, RSS %s MB, peak %s MB\n' $who "$ROUTES" \
    "$(median <"$WORK/$who.time")" "$(median <"$WORK/$who.cpu")" "$(median <"$WORK/$who.rss")" "$(median <"$WORK/$who.peak")"
done
for figure in time cpu rss; do
  awk -v f=$figure -v a="$(median <"$WORK/knet.$figure")" -v b="$(median <"$WORK/bird.$figure")" 'BEGIN { printf "%-5s knet / BIRD %.2f\n", f, b > 0 ? a / b : 0 }'
done
awk -v a="$(median <"$WORK/knet.rss")" -v n="$ROUTES" 'BEGIN { if (n <= 10000 && a > 12) { print "MORE THAN 12 MB"; exit 1 } }'
NODES=()
