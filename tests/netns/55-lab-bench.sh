#!/usr/bin/env bash
# lab bench: figures of each path with ratios, as table, JSON and picture; the traffic really takes the path (witness: ip);
# a lab of the user beside it is left alone; nothing is left, also after kill -9; without root too.
# timeout: 180
source "$(dirname "$0")/lib.sh"

trap 'status=$?; "$KNET" lab down --name "$TAG" >/dev/null 2>&1; (exit $status); cleanup' EXIT
bench() { "$KNET" lab bench "$@"; }
QUICK=(--seconds 0.1 --rounds 2 --modes vxlan)
agents_of() { pgrep -P "$1" || true; }  # PID of a bench
says() { jq -e "$1" >/dev/null <<<"$OUT" || { echo "$OUT"; die "not so: $1"; }; }

note "words"
expect 2 bench --modes vxlam
contains "--modes: no mode 'vxlam'; did you mean vxlan?"
expect 2 bench --modes alloc
contains "--modes alloc: it moves no packets between nodes"
expect 2 bench --rounds 0
expect 2 bench --seconds 0
expect 2 bench --opt Datapath=user
expect 2 bench --masquerade perhaps
expect 2 bench --svg /nowhere/at/all.svg
contains "/nowhere/at is no directory"
expect 0 bench --dry-run
for row in "host-gw/kernel +host-gw +kernel" "vxlan +vxlan +-"; do found -E "^$row +on" <<<"$OUT" || die "no row $row: $OUT"; done
contains "raw: one veth pair between two namespaces"
lacks alloc
expect 0 bench --dry-run --masquerade both --modes vxlan -o json
[[ $(jq -r '[.paths[].name] | join("|")' <<<"$OUT") == "raw|host-gw/kernel|host-gw/kernel, plain|vxlan|vxlan, plain" ]] || die "paths: $OUT"

note "figures and ratios, beside a lab of the user"
expect 0 "$KNET" lab up --name "$TAG" --nodes 2 --pods 1 --no-masquerade
! in_ns n1 nft list table inet knet 2>/dev/null | found masquerade || die "masquerade rules in spite of --no-masquerade"
# Not those of the tests beside this one.
outside() { { ip netns list; ls /run/knet-lab; ip -br link; } | awk '{ print $1 }' | grep -e "^$TAG" -e '^[^k]' -e '^k[^t]' | sort; }
before=$(outside)
expect 0 bench "${QUICK[@]}" --svg "$WORK/cost.svg"
contains "TCP GBIT/S"
contains "TO HOST-GW (MIN-MAX)"
contains "TO RAW VETH (MIN-MAX)"
contains "3 paths measured; host-gw/kernel itself went from"
contains "kernel $(uname -r), "
contains ": knet lab bench --modes vxlan --seconds 0.1 --rounds 2"
lacks FAIL
[[ $(grep -c '^vxlan ' <<<"$OUT") -eq 3 ]] || die "three lines on vxlan: $OUT"
[[ $(outside) == "$before" ]] || die "something changed outside: $(outside)"
expect 0 "$KNET" lab ping --name "$TAG"
contains "2 of 2 pairs pass."
expect 0 "$KNET" lab down --name "$TAG"

note "the picture"
if command -v xmllint >/dev/null; then xmllint --noout "$WORK/cost.svg"; fi
[[ $(grep -c 'class="bar"' "$WORK/cost.svg") -eq 6 ]] || die "six panels, one bar of vxlan each: $(cat "$WORK/cost.svg")"
[[ $(tail -n 1 "$WORK/cost.svg") == "</svg>" ]] || die "the picture is cut off"

note "JSON: every figure, each round, sane ratios"
expect 0 bench "${QUICK[@]}" -o json
says '.schema == 1 and .rounds == 2 and .seconds == 0.1 and .cores >= 1 and (.left_out | length) == 0'
says '[.paths[].name] == ["raw", "host-gw/kernel", "vxlan"]'
says '[.paths[].figures | to_entries[] | .value | select((.rounds | length) != 2 or .min > .median or .median > .max)] == []'
says '[.paths[].figures | keys | length] == [7, 7, 7]'
says '[.paths[].figures.tcp_gbit_per_s.min > 0.05] | all'
says '[.paths[].figures.udp_packets_per_s.min > 1000] | all'
says '[.paths[].figures.round_trip_us | .min > 1 and .max < 100000] | all'
says '[.paths[].figures.cpu_s_per_gb.median > 0] | all'
says '.paths[1].figures.tcp_gbit_per_s.to_host_gw == {"min": 1, "median": 1, "max": 1}'
says '.paths[0].figures.udp_packets_per_s.to_raw.median == 1'
says '.paths[2].figures.tcp_gbit_per_s.to_host_gw.median | . > 0.2 and . < 2'

note "over IPv6, by its address family's own figures"
expect 0 bench "${QUICK[@]}" --ipv6 -o json
says '[.paths[].figures.tcp_gbit_per_s.min > 0.05] | all'

note "the traffic takes the path: ip counts it on the node's device; kill -9 leaves nothing"
"$KNET" lab bench --modes vxlan --seconds 0.5 --rounds 100 >"$WORK/out" 2>&1 &
BENCH=$!
PIDS+=("$BENCH")
four_agents() { [[ $(agents_of "$BENCH" | wc -l) -eq 4 ]]; }
eventually 10 four_agents
mapfile -t AGENTS < <(agents_of "$BENCH")
vxlan_moved() { # a node has sent 20 MB by vxlan
  local pid
  for pid in "${AGENTS[@]}"; do
    nsenter -t "$pid" -n ip -j -s link show knet.1 2>/dev/null | jq -e '.[0].stats64.tx.bytes > 20000000' >/dev/null && return 0
  done
  return 1
}
eventually 15 vxlan_moved
kill -9 "$BENCH"
wait "$BENCH" 2>/dev/null || true
ended() { local pid; for pid in "${AGENTS[@]}"; do [[ ! -d /proc/$pid ]] || [[ $(awk '{ print $3 }' "/proc/$pid/stat") == Z ]] || return 1; done; }
eventually 5 ended
[[ ! -e /run/knet-lab ]] || [[ -z $(ls /run/knet-lab | grep '^bench') ]] || die "directories left"

note "a path that is asked for by name and can't run here is told, and is no success"
OUT=$("$KNET" lab bench --dry-run -o json)
absent=$(jq -r '.left_out[0].name // empty' <<<"$OUT")
if [[ -n $absent ]]; then
  expect 1 bench --seconds 0.05 --rounds 1 --modes "$absent"
  contains "NOT MEASURED"
  contains "$absent"
fi

note "without root"
if su nobody -s /bin/sh -c 'unshare -Urn true' 2>/dev/null; then
  install -m 755 "$KNET" "$WORK/knet"
  chmod 755 "$WORK"
  expect 0 su nobody -s /bin/sh -c "cd /; exec $WORK/knet lab bench ${QUICK[*]} -o json"
  says '[.paths[].figures.tcp_gbit_per_s.min > 0.05] | all'
else
  note "no unprivileged user namespaces here: not tried"
fi
note "clean"
