#!/usr/bin/env bash
# Twelve nodes started together on a pool with exactly twelve subnets, over etcd: each gets one, none dies. The thirteenth is
# told that the pool is exhausted; when a node has gone silent, who holds what and how to free it.
source "$(dirname "$0")/lib.sh"

N=12
switch sw
for i in $(seq $N); do node "n$i" "$i"; done
etcd_up
init --network 10.244.0.0/16 --subnet-min 10.244.1.0 --subnet-max "10.244.$N.0"
for i in $(seq $N); do start_agent "n$i"; done
for i in $(seq $N); do eventually 20 test -s "$WORK/n$i/run/subnet.env"; done
distinct=$(for i in $(seq $N); do subnet_of "n$i"; done | sort -u | wc -l)
[[ $distinct == "$N" ]] || die "$distinct distinct subnets for $N nodes"
for i in $(seq $N); do
  kill -0 "${AGENT[n$i]}" || die "the agent of n$i ended"
  eventually 10 agent_ready "n$i"
done
[[ $(etcdctl get --prefix --keys-only "$PREFIX/subnets/" | grep -c .) == "$N" ]] || die "keys in etcd"
eventually 5 sh -c "[ \$(ip -n $TAG-n1 route show proto 107 | grep -c 'dev knet.1') = $((N - 1)) ]"

note "one too many"
node late 50
expect 1 knet_in late agent --once --node-name late
contains "no free /24 is left in 10.244.0.0/16"
note "one of them goes silent (its presence runs out)"
stop_agent n5 KILL
etcdctl del "$PREFIX/knet/nodes/n5" >/dev/null
expect 1 knet_in late agent --once --node-name late
contains "$(subnet_of n5) by n5"
contains "knet node remove n5"
note "the advice works"
expect 0 knet_in n1 node remove n5
expect 0 knet_in late agent --once --node-name late
[[ $(subnet_of late) == "$(subnet_of n5)" ]] || die "the freed subnet was not taken"
assert_clean
