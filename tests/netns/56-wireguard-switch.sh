#!/usr/bin/env bash
# The cluster changes to wireguard and back while pods talk: each node needs the others' keys, so packets are lost until both of
# two nodes have announced the mode. How many, and for how long, is told, and has a bound; nothing is lost once the change
# is done.
# timeout: 200
# guest: always
source "$(dirname "$0")/lib.sh"

probe=$TAG-probe
ip netns add "$probe"
NAMESPACES+=("$probe")
ip -n "$probe" link add probe0 type wireguard 2>/dev/null || { echo "skip: this kernel has no wireguard driver"; exit 77; }

switch sw
node n1 1; node n2 2; node n3 3
init --network 10.244.0.0/16 --network6 fd00:244::/48 >/dev/null
start_agents n1 n2 n3
for n in n1 n2 n3; do pod $n p1; done
ping_all() {
  local a b
  for a in n1 n2 n3; do
    for b in n1 n2 n3; do
      [[ $a == "$b" ]] || { can_ping $a-p1 "${POD_IP[$b-p1]}" && can_ping $a-p1 "${POD_IP6[$b-p1]}"; } || return 1
    done
  done
}
eventually 5 ping_all

# pauses FROM TO-ADDRESS: a request each 20 ms until its end; then "LOST SENT LONGEST", the last in ms, between two answers
pauses() {
  local file=$WORK/pauses-${#FLOODS[@]}
  ip netns exec "$TAG-$1" ping -n -D -i 0.02 -W 2 "$2" >"$file" 2>&1 &
  FLOODS+=("$! $file")
  PIDS+=($!)
}
answers() { [[ $(grep -c 'bytes from' "$1") -gt $2 ]]; }  # FILE COUNT
# change MODE: with traffic between all pods; what each flood lost, and for how long none of its answers came
change() {
  local mode=$1 before item file lost=0 sent=0 longest=0 a b c count
  before=$(knet_in n1 node list -o json | jq -r '.nodes[0].leases[0].mode')
  FLOODS=()
  pauses n1-p1 "${POD_IP[n2-p1]}"
  pauses n2-p1 "${POD_IP[n3-p1]}"
  pauses n3-p1 "${POD_IP6[n1-p1]}"
  for item in "${FLOODS[@]}"; do eventually 5 answers "${item#* }" 20; done
  expect 0 timeout "$(slow 30)" ip netns exec "$TAG-n1" env KNET_STORE="$STORE" KNET_STATE_DIR="$WORK/n1/state" KNET_RUN_DIR="$WORK/n1/run" \
    "$KNET" mode set "$mode" --wait --wait-timeout "$(slow 20)s"
  contains "3 nodes changed over to $mode"
  for item in "${FLOODS[@]}"; do
    count=$(grep -c 'bytes from' "${item#* }") || true
    eventually 5 answers "${item#* }" $((count + 20))  # it goes on
    kill -INT "${item% *}"
  done
  for item in "${FLOODS[@]}"; do
    file=${item#* }
    wait "${item% *}" 2>/dev/null || true
    read -r a b c < <(awk '
      /bytes from/ { t = substr($1, 2) + 0; if (last && t - last > most) most = t - last; last = t }
      /packets transmitted/ { lost = $1 - $4; sent = $1 }
      END { printf "%d %d %d\n", lost, sent, most * 1000 }' "$file")
    lost=$((lost + a)) sent=$((sent + b))
    ((c <= longest)) || longest=$c
  done
  printf '%-9s -> %-9s %3d of %d pings lost, no answer for %d ms at most\n' "$before" "$mode" "$lost" "$sent" "$longest"
  # A handshake that found the other without the key is tried again after 5 s.
  slow_ms 2
  ((longest < LIMIT + 6000)) || die "no answer for $longest ms"
  ping_all || die "after the change to $mode"
}
change wireguard
change vxlan
assert_clean
