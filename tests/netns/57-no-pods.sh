#!/usr/bin/env bash
# timeout: 120
# A node that runs no pods: joined so, or set so live while a pod runs; back again; left.
source "$(dirname "$0")/lib.sh"

switch sw
for i in 1 2 3; do node "n$i" "$i"; done
init --network 10.244.0.0/16 --mode vxlan
start_agents n1 n2
speaks() { status_says "$1" '.subnet == "" and .no_pods != "" and .ready'; }
has_subnet() { status_says "$1" '.subnet != "" and .ready'; }
routes_of_knet() { in_ns "$1" ip route show proto 107; }
no_kernel_part() { [[ -z $(routes_of_knet "$1") ]] && ! in_ns "$1" ip link show knet.1 2>/dev/null; }

note "joined without pods: no subnet, no routes, no device, and CNI says why"
start_agent n3 --no-pods
eventually 5 speaks n3
no_kernel_part n3 || die "$(routes_of_knet n3)"
[[ ! -e $WORK/n3/run/subnet.env ]] || die "subnet.env"
expect 0 knet_in n3 status
contains "no pods (it joined with --no-pods)"
expect 0 knet_in n1 node list
contains "n3"
contains "no pods"
cni_fails() { # COMMAND NODE POD TEXT
  local out
  if out=$(cni "$1" "$2" "$3" 2>/dev/null); then die "$1 must fail on $2: $out"; fi
  [[ $(jq -r .msg <<<"$out") == *"$4"* ]] || die "$1 on $2: $out"
}
new_ns n3-a
cni_fails ADD n3 a "runs no pods"
cni_fails STATUS n3 a "runs no pods"
[[ $(in_ns n1 ip route show proto 107 | grep -vc blackhole) == 1 ]] || die "n1's routes: $(routes_of_knet n1)"

note "set live with a pod: no more pods, and the subnet stays until it is gone"
pod n1 a
pod n2 a
eventually 5 can_ping n1-a "${POD_IP[n2-a]}"
before=$(subnet_of n2)
expect 0 knet_in n1 node set n2 --no-pods --force
new_ns n2-b
eventually 5 test -e "$WORK/n2/run/no-pods"
cni_fails ADD n2 b "knet node set n2 --no-pods"
cni CHECK n2 a >/dev/null 2>&1 || true  # it may want prevResult; it must not be the end of the pod
never 3 status_says n2 '.subnet == ""'
can_ping n1-a "${POD_IP[n2-a]}" || die "the pod that runs was cut off"
status_says n2 '.degraded | map(select(contains("no new pods"))) | length == 1' || die "$(knet_in n2 status)"
cni DEL n2 a >/dev/null
eventually 8 speaks n2
eventually 3 no_kernel_part n2
gone() { [[ -z $(in_ns n1 ip route show "$before") ]]; }
eventually 3 gone
expect 0 knet_in n1 subnet list
lacks "$before"

note "its agent restarts, also with the store away: the same"
stop_agent n2
start_agent n2
eventually 5 speaks n2
never 1 has_subnet n2
for name in n1 n2 n3; do stop_agent $name; done
mkdir "$WORK/aside"
mv "$WORK"/knet.db* "$WORK/aside/"
mkdir "$WORK/knet.db"  # no database can be opened there
start_agent n2
eventually 5 status_says n2 '.store.from_cache and .subnet == ""'
no_kernel_part n2 || die "routes out of nothing"
stop_agent n2
rmdir "$WORK/knet.db"
mv "$WORK"/aside/knet.db* "$WORK/"
start_agents n1
start_agent n2
start_agent n3 --no-pods
eventually 5 speaks n2
eventually 5 speaks n3

note "live back to pods"
expect 0 knet_in n1 node set n2 --pods
eventually 5 has_subnet n2
eventually 2 test ! -e "$WORK/n2/run/no-pods"
pod n2 c
eventually 5 can_ping n1-a "${POD_IP[n2-c]}"
expect 0 knet_in n1 node list -o json
[[ $(jq -r '[.nodes[] | select(.pods == false) | .name] | join(" ")' <<<"$OUT") == n3 ]] || die "$OUT"

note "leave takes the record away"
stop_agent n3
expect 0 knet_in n3 leave
contains "record of a node without pods"
[[ ! -e $WORK/n3/run/no-pods ]] || die "the marker is left"
expect 0 knet_in n1 node list
lacks "n3"
cni DEL n1 a >/dev/null
cni DEL n2 c >/dev/null
for name in n1 n2; do
  stop_agent $name
  expect 0 knet_in $name leave
done
assert_clean
