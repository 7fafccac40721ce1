#!/usr/bin/env bash
# Two nodes by hand, as on two machines: each is a network namespace with an address on one link; an etcd runs on the
# first. Then a pod on either, and a ping between them. Needs root and etcd; leaves nothing behind.
#
#   n1 192.168.77.1 ── veth ── 192.168.77.2 n2
set -euo pipefail

knet=${KNET:-$(command -v knet || echo "$(dirname "$0")/../build/knet")}
knet=$(realpath "$knet")
[[ -x $knet ]] || { echo "no knet at $knet; build it with scripts/build" >&2; exit 1; }
[[ $(id -u) -eq 0 ]] || { echo "skip: needs root"; exit 77; }
command -v etcd >/dev/null || { echo "skip: etcd is not installed: apt-get install etcd-server"; exit 77; }

tag=two$$
work=$(mktemp -d)
pids=()
cleanup() {
  local status=$?
  trap - EXIT INT TERM
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait
  for ns in n1 n2 pod1 pod2; do ip netns del "$tag-$ns" 2>/dev/null || true; done
  rm -rf "$work"
  exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

say() { printf '\n# %s\n' "$*"; }
become() { # NODE COMMAND...
  local node=$1
  shift
  exec ip netns exec "$tag-$node" env KNET_STATE_DIR="$work/$node/state" KNET_RUN_DIR="$work/$node/run" \
    KNET_NODE_NAME="$node" KNET_STORE=http://192.168.77.1:2379 "$@"
}
on() { (become "$@"); } # NODE COMMAND...: as if typed on that machine
start() { # LOG NODE COMMAND...: the same in the background
  local log=$1
  shift
  become "$@" >"$log" 2>&1 &
  pids+=($!)
}
until_true() { # SECONDS COMMAND...
  local end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < end)) || { echo "not in time: $*" >&2; return 1; }
    sleep 0.1
  done
}

say "two machines on one link"
ip netns add "$tag-n1"
ip netns add "$tag-n2"
ip -n "$tag-n1" link add eth0 type veth peer name eth0 netns "$tag-n2"
for i in 1 2; do
  # Each machine has an id of its own; namespaces share theirs, so these are made up.
  mkdir -p "$work/n$i/state" "$work/n$i/run"
  printf '%032x\n' "$i" >"$work/n$i/state/machine-id"
  ip -n "$tag-n$i" link set lo up
  ip -n "$tag-n$i" addr add "192.168.77.$i/24" dev eth0
  ip -n "$tag-n$i" link set eth0 up
  ip -n "$tag-n$i" route add default via 192.168.77.254
done

say "an etcd on n1"
start "$work/etcd.log" n1 etcd --data-dir "$work/etcd" --listen-client-urls http://192.168.77.1:2379 \
  --advertise-client-urls http://192.168.77.1:2379 --listen-peer-urls http://127.0.0.1:2380
until_true 20 on n1 "$knet" init --network 10.244.0.0/16 --dry-run --timeout 1s

say "once, anywhere: the network's config"
on n1 "$knet" init --network 10.244.0.0/16

say "on each machine: the agent (on a real one: knet join)"
for node in n1 n2; do start "$work/$node/agent.log" "$node" "$knet" agent; done
for node in n1 n2; do
  until_true 20 on "$node" "$knet" status || { cat "$work/$node/agent.log" >&2; exit 1; }
done
on n1 "$knet" status

say "a pod on either, as a container runtime would make it"
for i in 1 2; do
  ip netns add "$tag-pod$i"
  printf '{"cniVersion":"1.0.0","name":"knet","type":"knet","stateDir":"%s","runDir":"%s"}' "$work/n$i/state" "$work/n$i/run" |
    on "n$i" env CNI_COMMAND=ADD CNI_CONTAINERID="pod$i" CNI_NETNS="/run/netns/$tag-pod$i" CNI_IFNAME=eth0 \
      CNI_PATH="$(dirname "$knet")" "$knet" cni >"$work/pod$i.json"
  ip -n "$tag-pod$i" -brief addr show eth0
done
address=$(ip -n "$tag-pod2" -4 -json addr show eth0 | sed -n 's/.*"local":"\([0-9.]*\)".*/\1/p')

say "from pod 1 to pod 2 at $address"
until_true 10 ip netns exec "$tag-pod1" ping -c 1 -W 1 "$address"
ip netns exec "$tag-pod1" ping -c 3 -i 0.2 "$address"
