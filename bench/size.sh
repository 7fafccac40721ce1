#!/usr/bin/env bash
# The program: size in MB, shared libraries, time of `knet version`. Reference: flanneld 0.28 (55.6 MB) with the four CNI plugins
# that it needs (14 MB), and `ip -V` of the same run.
set -euo pipefail
KNET=${KNET:-build/knet}
bytes=$(stat -Lc %s "$KNET")
libraries=none
if ldd "$KNET" >/dev/null 2>&1; then libraries=$(ldd "$KNET" | wc -l); fi
timed() { # COMMAND...: ms of the median of 51 runs
  local i begin
  for i in $(seq 51); do
    begin=${EPOCHREALTIME/./}
    "$@" >/dev/null
    echo $((${EPOCHREALTIME/./} - begin))
  done | sort -n | awk 'NR == 26 { printf "%.2f", $1 / 1000 }'
}
awk -v b="$bytes" -v l="$libraries" -v v="$(timed "$KNET" version)" -v r="$(timed ip -V)" \
  'BEGIN { printf "binary: %.2f MB, shared libraries: %s; 69.6 MB of flanneld and plugins are %.0f times as much; start %.1f ms (ip -V: %.1f ms)\n", b / 1e6, l, 69.6e6 / b, v, r }'
