#!/usr/bin/env bash
# From the start of a node's agent, on a bare node with etcd up, until the first ping reaches a pod of another node.
# Reference of the same run: the same objects made by one `ip -batch` and one `bridge -batch`, until the first ping.
source "$(dirname "$0")/../tests/netns/lib.sh"

RUNS=${RUNS:-9}
switch sw
node n1 1; node n2 2
etcd_up
init --network 10.244.0.0/16 >/dev/null
start_agents n1 n2
pod n2 p1
target=${POD_IP[n2-p1]}
eventually 2 can_ping n1 "$target"
own=$(subnet_of n1) peer=$(subnet_of n2) mac=$(in_ns n1 cat /sys/class/net/knet.1/address) peer_mac=$(in_ns n2 cat /sys/class/net/knet.1/address)
median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
bare() { in_ns n1 sh -c 'ip link del knet.1; ip route flush proto 107; ip nexthop flush proto 107; nft delete table inet knet; sysctl -qw net.ipv4.ip_forward=0' >/dev/null 2>&1 || true; }
first_ping() { # COMMAND...: ms from its start until the first reply
  local start
  ip netns exec "$TAG-n1" ping -n -D -i 0.001 -c 3000 -W 1 "$target" >"$WORK/ping" 2>/dev/null &
  local ping=$!
  PIDS+=("$ping")
  sleep 0.05
  start=$EPOCHREALTIME
  "$@"
  until grep -q 'bytes from' "$WORK/ping"; do :; done
  kill "$ping"; wait "$ping" 2>/dev/null || true
  sed -n 's/^\[\([0-9.]*\)\] .*bytes from.*/\1/p' "$WORK/ping" | head -1 | awk -v start="$start" '{ printf "%.1f\n", ($1 - start) * 1000 }'
}
by_hand() {
  printf '%s\n' "link add knet.1 mtu 1450 address $mac type vxlan id 1 local 192.168.77.1 dev eth0 dstport 8472 nolearning" \
    "addr add ${own%/*}/32 dev knet.1" "link set knet.1 up" "neigh add ${peer%/*} lladdr $peer_mac dev knet.1 nud permanent" \
    "route add $peer via ${peer%/*} dev knet.1 onlink proto 107" | ip netns exec "$TAG-n1" ip -batch -
  echo "fdb add $peer_mac dev knet.1 dst 192.168.77.2 self permanent" | ip netns exec "$TAG-n1" bridge -batch -
}
for ((run = 0; run < RUNS; ++run)); do
  if agent_runs n1; then stop_agent n1; fi
  bare
  first_ping by_hand >>"$WORK/ref"
  bare
  first_ping start_agent n1 >>"$WORK/knet"
done
knet=$(median <"$WORK/knet") ref=$(median <"$WORK/ref")
echo "start until the first ping across: $knet ms (all: $(sort -n "$WORK/knet" | tr '\n' ' ')), by hand with ip $ref ms, ratio $(awk -v a="$knet" -v b="$ref" 'BEGIN { printf "%.1f", a / b }')"
NODES=()
