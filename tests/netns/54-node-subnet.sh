#!/usr/bin/env bash
# knet node and knet subnet over a real cluster: lists, one node that dies, its removal, reservations that outlive it.
source "$(dirname "$0")/lib.sh"

trap 'status=$?; "$KNET" lab down --name "$TAG" >/dev/null 2>&1; (exit $status); cleanup' EXIT
expect 0 "$KNET" lab up --name "$TAG" --pods 1
on_n1() { "$KNET" lab exec --name "$TAG" n1 -- "$@"; }

note "node list and show"
expect 0 on_n1 knet node list
contains "n1 *  192.168.77.1  10.244.1.0/24  vxlan  ready"
contains "n3    192.168.77.3  10.244.3.0/24  vxlan  ready"
contains "3 nodes: 3 ready.  pool: "
expect 0 on_n1 knet node list -o json
[[ $(jq -r '.schema, (.nodes | length), .nodes[0].this_node, .nodes[2].leases[0].subnet' <<<"$OUT" | tr '\n' ' ') == "1 3 true 10.244.3.0/24 " ]] ||
  die "JSON of node list"
expect 0 on_n1 knet node show n2
contains "10.244.2.0/24, lease for 23h"
expect 0 on_n1 knet nodes show 192.168.77.2
contains "n2"
expect 2 on_n1 knet node show n22
contains "did you mean n2?"

note "a live node is not removed"
expect 1 on_n1 knet node remove n3
contains "n3 is alive"

note "a dead one is"
kill -9 "$(jq '.nodes[2].agent.pid' "/run/knet-lab/$TAG/lab.json")"
expect 1 on_n1 knet node remove n3
contains alive
# Its presence ends by itself after a minute; --force takes the word of who knows that it is dead.
expect 0 on_n1 knet node remove n3 --force
contains "removed lease 10.244.3.0/24"
expect 0 on_n1 knet node list
lacks "10.244.3.0/24"
no_route() { [[ -z $(ip netns exec "$TAG-n1" ip route show 10.244.3.0/24) ]]; }
eventually 2 no_route || die "$(on_n1 knet route show; tail -n 5 "/run/knet-lab/$TAG/n1/agent.log")"
expect 0 on_n1 knet node remove n3
contains "nothing is known of a node 'n3'"

note "reservations"
expect 0 on_n1 knet subnet reserve 10.244.9.0/24 n9
contains "10.244.9.0/24 is reserved for n9"
expect 0 on_n1 knet subnet reserve 10.244.9.0/24 n9
contains "already"
expect 1 on_n1 knet subnet reserve 10.244.9.0/24 n8
contains "reserved for n9"
expect 1 on_n1 knet subnet reserve 10.244.2.0/24 n8
contains "n2"
expect 2 on_n1 knet subnet reserve 10.99.9.0/24 n8
contains "10.99.9.0/24"
expect 2 on_n1 knet subnet reserve 10.244.9.7/24 n8
contains "10.244.9.0/24"
expect 0 on_n1 knet subnet list
contains "10.244.9.0/24  n9"
contains "reserved"
expect 0 on_n1 knet subnet list -o json
[[ $(jq -r '.subnets[] | select(.subnet == "10.244.9.0/24") | .reserved_for' <<<"$OUT") == n9 ]] || die "JSON of subnet list"
expect 0 on_n1 knet subnet release 10.244.9.0/24
contains "no longer reserved for n9"
expect 0 on_n1 knet subnet release 10.244.9.0/24
contains "was not reserved"
expect 0 on_n1 knet subnet reserve 10.244.2.0/24 n2
expect 0 on_n1 knet subnet list
contains "for n2"
expect 0 "$KNET" lab down --name "$TAG"
