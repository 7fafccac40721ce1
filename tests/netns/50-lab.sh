#!/usr/bin/env bash
# Labs in each mode, over one switch and over routed segments, on sqlite and etcd: up, a green matrix by our own echo and
# by ping, list, exec; a broken pair is found and named; nothing is left after down.
# timeout: 180
source "$(dirname "$0")/lib.sh"

lab() { "$KNET" lab "$@" --name "$TAG"; }
trap 'status=$?; lab down >/dev/null 2>&1; (exit $status); cleanup' EXIT

nothing_left() {
  ! ip netns list | found "^$TAG-" || die "namespaces left: $(ip netns list | grep "^$TAG-")"
  [[ ! -e /run/knet-lab/$TAG ]] || die "directory left"
  ! pgrep -f "knet-lab/$TAG/" >/dev/null || die "processes left"
}
round() { # ARGUMENT...: up, all pairs, down
  note "lab up $*"
  expect 0 lab up "$@"
  expect 0 lab ping
  contains "pairs pass."
  lacks FAIL
  expect 0 lab down
  nothing_left
}

note "vxlan on the embedded store, with a witness"
expect 0 lab up
contains "$TAG: 3 nodes x 2 pods, vxlan, store sqlite, one switch 192.168.77.0/24"
contains "n2  192.168.77.2  10.244.2.0/24  pods 10.244.2.2 10.244.2.3  ready"
expect 0 lab ping
contains "30 of 30 pairs pass."
ip netns exec "$TAG-n1-p1" ping -n -q -c 1 -W 1 10.244.3.3 >/dev/null || die "ping does not agree"
ip netns exec "$TAG-n1" ip -d link show knet.1 | found 'vxlan id 1' || die "no vxlan device"
expect 0 lab list
contains "$TAG"
contains "3 of 3"
expect 0 lab ping -o json
[[ $(jq '.pass, (.pairs | length)' <<<"$OUT" | tr '\n' ' ') == "true 30 " ]] || die "JSON of ping"

note "exec: namespace, exit status, environment, the program itself"
expect 7 "$KNET" lab exec --name "$TAG" n1-p1 -- sh -c 'exit 7'
expect 0 "$KNET" lab exec --name "$TAG" n2 -- ls /sys/class/net
contains knet.1
expect 0 "$KNET" lab exec --name "$TAG" n2 -- knet status
contains "n2, ready"
expect 2 "$KNET" lab exec --name "$TAG" n9 -- true
contains "there are: sw n1"
expect 0 lab route n2
contains "5 wanted: 5 ok"

note "a second lab of the same name is refused, one of another name stands beside it"
expect 1 lab up
contains "knet lab down --name $TAG"
expect 0 "$KNET" lab up --name "$TAG-b" --nodes 2 --pods 1
expect 0 "$KNET" lab ping --name "$TAG-b"
expect 0 "$KNET" lab down --name "$TAG-b"

note "a broken pair: FAIL, exit 3 and the command to paste"
ip netns exec "$TAG-n3-p1" ip link set eth0 down
expect 3 lab ping
contains FAIL
contains "20 of 30 pairs pass."
contains "knet lab exec --name $TAG n1 -- knet route trace n1-p1 n3-p1"
expect 0 lab down
nothing_left
expect 0 lab down

round --dual --pods 1
round --ipv6 --pods 1 --nodes 2
round --mode host-gw --dual --pods 1
round --mode vxlan --routers --nodes 4 --pods 1
round --mode vxlan --opt VNI=42 --opt DirectRouting=true --routers --dual --pods 1
round --nodes 1 --pods 2

note "alloc routes nothing: pods of one node only"
expect 0 lab up --mode alloc --nodes 2
expect 3 lab ping
contains "4 of 12 pairs pass."
expect 0 lab down

note "host-gw over routed segments: only nodes of one segment reach each other"
expect 0 lab up --mode host-gw --routers --pods 1
expect 3 lab ping
contains "2 of 6 pairs pass."
expect 3 "$KNET" lab exec --name "$TAG" n1 -- knet route trace n1-p1 n2-p1
contains "not on link"
expect 0 lab down
nothing_left

note "words that make no lab"
expect 2 lab up --mode vxlam
contains "did you mean vxlan?"
expect 2 lab up --opt VNI=banana
expect 2 lab up --nodes 0
nothing_left

if command -v etcd >/dev/null; then
  round --store etcd --nodes 2 --pods 1
else
  note "etcd is not installed: not tried"
fi
