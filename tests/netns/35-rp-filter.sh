#!/usr/bin/env bash
# all.rp_filter 0, 1 and 2 in each mode: pods talk, or the agent refuses with the reason.
source "$(dirname "$0")/lib.sh"

switch sw
node n1 1; node n2 2
for mode in vxlan host-gw; do
  for value in 0 1 2; do
    STORE=sqlite://$WORK/$mode-$value.db
    for name in n1 n2; do
      in_ns $name sh -c "echo $value | tee /proc/sys/net/ipv4/conf/*/rp_filter >/dev/null"
    done
    init --network 10.244.0.0/16 --mode $mode
    start_agents n1 n2
    pod n1 $mode$value; pod n2 $mode$value
    eventually 2 can_ping n1-$mode$value "${POD_IP[n2-$mode$value]}"
    eventually 2 can_ping n1 "${POD_IP[n2-$mode$value]}"
    note "$mode with rp_filter $value: passes; all is now $(in_ns n1 cat /proc/sys/net/ipv4/conf/all/rp_filter)"
    assert_clean
  done
done

note "--keep-rp-filter: all stays as it is, and it works or says why it does not"
STORE=sqlite://$WORK/keep.db
for name in n1 n2; do in_ns $name sh -c 'echo 1 | tee /proc/sys/net/ipv4/conf/*/rp_filter >/dev/null'; done
init --network 10.244.0.0/16
start_agent n1 --keep-rp-filter; start_agent n2 --keep-rp-filter
for name in n1 n2; do eventually 5 test -s "$WORK/$name/run/subnet.env"; done
pod n1 keep; pod n2 keep
[[ $(in_ns n1 cat /proc/sys/net/ipv4/conf/all/rp_filter) == 1 ]] || die "all.rp_filter was changed"
works() { can_ping n1-keep "${POD_IP[n2-keep]}"; }
refuses() { status_says n1 '[.unready[], .degraded[], .notices[]] | map(test("rp_filter")) | any'; }
either() { works || refuses; }
eventually 3 either
assert_clean
