#!/usr/bin/env bash
# alloc: subnets are given out and pods made, nothing is routed between nodes, and knet makes no device.
source "$(dirname "$0")/lib.sh"

switch sw
node n1 1; node n2 2
init --network 10.244.0.0/16 --mode alloc
start_agents n1 n2
pod n1 p1; pod n1 p2; pod n2 p1
[[ $(subnet_of n1) != "$(subnet_of n2)" ]] || die "the same subnet twice"
found '^FLANNEL_MTU=1500$' "$WORK/n1/run/subnet.env" || die "MTU of subnet.env: $(cat "$WORK/n1/run/subnet.env")"
[[ -z $(in_ns n1 ip -br link | grep -E '^knet6?\.' || true) ]] || die "alloc makes no device"
[[ -z $(in_ns n1 ip route show "$(subnet_of n2)") ]] || die "alloc routes nothing"
eventually 2 can_ping n1-p1 "${POD_IP[n1-p2]}"
can_ping n1-p1 "${POD_IP[n2-p1]}" && die "nothing should carry this"
assert_clean
