#!/usr/bin/env bash
# knet lab up, 3 nodes with 2 pods each, until the matrix is all green, for each mode and store. Reference of the same run: the bare
# namespaces and veth pairs made with ip.
set -euo pipefail
KNET=${KNET:-$PWD/build/knet}
[[ $(id -u) -eq 0 ]] || { echo "skip: needs root"; exit 77; }
name=bench$$
trap '"$KNET" lab down --name "$name" >/dev/null 2>&1 || true' EXIT
timed() { local begin=${EPOCHREALTIME/./}; "$@" >/dev/null 2>&1 || { "$@"; exit 1; }; awk -v us=$((${EPOCHREALTIME/./} - begin)) 'BEGIN { printf "%.2f", us / 1e6 }'; }
bare() {
  local i p
  ip netns add "$name-x"
  ip -n "$name-x" link add br0 type bridge
  for i in 1 2 3; do
    ip netns add "$name-x$i"
    ip -n "$name-x$i" link add eth0 type veth peer name "x$i" netns "$name-x"
    ip -n "$name-x" link set "x$i" master br0 up
    ip -n "$name-x$i" link set eth0 up
    for p in 1 2; do
      ip netns add "$name-x$i-$p"
      ip -n "$name-x$i" link add "p$p" type veth peer name eth0 netns "$name-x$i-$p"
      ip -n "$name-x$i" link set "p$p" up
      ip -n "$name-x$i-$p" link set eth0 up
    done
  done
}
reference=$(timed bare)
for ns in x x1 x2 x3 x1-1 x1-2 x2-1 x2-2 x3-1 x3-2; do ip netns del "$name-$ns"; done
up() { "$KNET" lab up --name "$name" --mode "$1" --store "$2" && "$KNET" lab ping --name "$name"; }
for mode in vxlan host-gw; do
  for store in sqlite etcd; do
    [[ $store == sqlite ]] || command -v etcd >/dev/null || continue
    seconds=$(timed up $mode $store)
    "$KNET" lab down --name "$name" >/dev/null
    echo "lab up and a green matrix, $mode on $store: $seconds s; bare namespaces and veths with ip: $reference s, ratio $(awk -v a="$seconds" -v b="$reference" 'BEGIN { printf "%.1f", a / b }')"
  done
done
