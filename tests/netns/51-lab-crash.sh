#!/usr/bin/env bash
# What is left of a lab after kill -9 of its agents, of `lab up` itself, and of a directory alone, goes with `down`; only
# processes of the lab are touched.
source "$(dirname "$0")/lib.sh"

lab() { "$KNET" lab "$@"; }
trap 'status=$?; lab down --name "$TAG" >/dev/null 2>&1; (exit $status); cleanup' EXIT
state() { jq -r "$1" "/run/knet-lab/$TAG/lab.json"; }
nothing_left() {
  ! ip netns list | found "^$TAG-" || die "namespaces left"
  [[ ! -e /run/knet-lab/$TAG ]] || die "directory left"
  ! pgrep -f "knet-lab/$TAG/" >/dev/null || die "processes left"
}

note "agents killed"
expect 0 lab up --name "$TAG" --nodes 2 --pods 1
kill -9 "$(state '.nodes[0].agent.pid')"
one_left() { lab list | found "^$TAG .*1 of 2"; }
eventually 2 one_left
expect 0 lab ping --name "$TAG"   # the dataplane stays
expect 0 lab down --name "$TAG"
nothing_left

note "a pid that belongs to somebody else by now is left alone"
expect 0 lab up --name "$TAG" --nodes 1 --pods 0
agent=$(state '.nodes[0].agent.pid')
kill -9 "$agent"
sleep 300 &
stranger=$!
PIDS+=("$stranger")
jq ".nodes[0].agent.pid = $stranger" "/run/knet-lab/$TAG/lab.json" >"$WORK/lab.json"
cp "$WORK/lab.json" "/run/knet-lab/$TAG/lab.json"
expect 0 lab down --name "$TAG"
kill -0 "$stranger" || die "killed a stranger"
nothing_left

note "lab up killed half-way, again and again"
for ms in 20 50 90 140; do
  "$KNET" lab up --name "$TAG" --nodes 4 >"$WORK/up.out" 2>&1 &
  up=$!
  PIDS+=("$up")
  sleep "0.$(printf %03d "$ms")"
  kill -9 "$up" 2>/dev/null || true
  wait "$up" 2>/dev/null || true
  expect 0 lab down --name "$TAG"
  nothing_left
done

note "what fails on the way up is told, and nothing stays"
mkdir -p "$WORK/bin"
printf '#!/bin/sh\necho disk on fire >&2\nexit 9\n' >"$WORK/bin/etcd"
chmod +x "$WORK/bin/etcd"
expect 4 env PATH="$WORK/bin:$PATH" "$KNET" lab up --name "$TAG" --store etcd --nodes 1
contains "disk on fire"
nothing_left
