#!/usr/bin/env bash
# An agent at rest: memory, and how often it wakes in a minute (all its threads' context switches), with etcd and with the embedded
# store. Reference of the same run: etcd itself and a shell that only waits.   IDLE=SECONDS
source "$(dirname "$0")/../tests/netns/lib.sh"

IDLE=${IDLE:-60}
switch sw
node n1 1; node n2 2; node n3 3
etcd_up
export KNET_PREFIX=/bench/idle
init --network 10.244.0.0/16 >/dev/null
for name in n1 n2; do start_agent $name; done
for name in n1 n2; do eventually 5 agent_ready $name; done
pod n1 p1; pod n2 p1
STORE=sqlite://$WORK/idle.db
NODES=(n3)
init --network 10.245.0.0/16 >/dev/null
start_agents n3
sleep 3
wakes() { cat /proc/"$1"/task/*/status | awk '/ctxt_switches/ { n += $2 } END { print n }'; }
cpu() { awk '{ print ($14 + $15) * 10 }' "/proc/$1/stat"; }
declare -A before used
for pid in "${AGENT[n1]}" "${AGENT[n3]}" "$ETCD"; do before[$pid]=$(wakes "$pid"); used[$pid]=$(cpu "$pid"); done
sleep "$IDLE"
tell() { # WHAT PID
  printf '%-28s RSS %5.1f MB, %4d wake-ups a minute, CPU %4d ms a minute\n' "$1" \
    "$(awk '/^VmRSS/ { print $2 / 1024 }' "/proc/$2/status")" $((($(wakes "$2") - before[$2]) * 60 / IDLE)) $((($(cpu "$2") - used[$2]) * 60 / IDLE))
}
tell "agent on etcd" "${AGENT[n1]}"
tell "agent on the embedded store" "${AGENT[n3]}"
tell "(etcd, which serves two)" "$ETCD"
NODES=()
