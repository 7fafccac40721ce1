#!/usr/bin/env bash
# Under a flood of pings between pods: kill -9 of the agent, restart, upgrade to another program file, etcd hanging, etcd gone.
# No packet is lost. The status says that the store is away. A node that reboots meanwhile comes up from its cached view, and all
# of it heals by itself.
# OUTAGE=SECONDS makes etcd stay away for longer.
# timeout: 900
source "$(dirname "$0")/lib.sh"

switch sw
node n1 1; node n2 2; node n3 3
etcd_up
init --network 10.244.0.0/16
start_agents n1 n2 n3
pod n1 p1; pod n2 p1
eventually 2 can_ping n1-p1 "${POD_IP[n2-p1]}"
want1=$(ours n1) subnet1=$(subnet_of n1)

flood n1-p1 "${POD_IP[n2-p1]}"
note "kill -9 and restart, both ends"
for name in n1 n2; do stop_agent $name KILL; start_agents $name; done
note "stop and restart"
stop_agent n1; start_agents n1
note "upgrade: another program file"
cp "$KNET" "$WORK/knet-next"
stop_agent n1
PROGRAM[n1]=$WORK/knet-next
start_agents n1
[[ $(readlink "/proc/${AGENT[n1]}/exe") == "$WORK/knet-next" ]] || die "not the new program"
note "etcd hangs for a while, then is gone"
kill -STOP "$ETCD"; sleep 1; kill -CONT "$ETCD"
etcd_down KILL
for name in n1 n2; do eventually 15 status_says $name '.store.connected == false'; done
expect 3 knet_in n1 status
found -i "store" <<<"$OUT" || die "the status does not say that the store is away"
note "kill -9 and restart while etcd is gone: from the cached view"
stop_agent n1 KILL; start_agent n1
eventually 5 status_says n1 '.store.from_cache and (.store.connected | not)'
sleep "${OUTAGE:-3}"
cpu() { awk '{ print $14 + $15 }' "/proc/${AGENT[n1]}/stat"; }
before=$(cpu); sleep 1; after=$(cpu)
((after - before <= 5)) || die "the agent is busy while etcd is gone: $((after - before)) ticks in a second"
note "etcd is back"
etcd_up
for name in n1 n2 n3; do eventually 15 status_says $name '.store.connected and (.store.from_cache | not)'; done
eventually 5 agent_ready n1
lost=$(flood_lost)
sent=$(awk '/packets transmitted/ { print $1 }' "$WORK/flood")
note "$sent pings sent, $lost lost"
[[ $lost == 0 ]] || die "$lost packets lost"
[[ $(ours n1) == "$want1" ]] || { diff <(echo "$want1") <(ours n1); die "not as before"; }

note "reboot of n1 while etcd is gone"
etcd_down KILL
power_off n1
boot n1 1
start_agent n1
eventually 5 can_ping n1 "${POD_IP[n2-p1]}"
eventually 2 status_says n1 '.store.from_cache and (.store.connected | not) and (.degraded | length > 0)'
[[ $(subnet_of n1) == "$subnet1" ]] || die "another subnet after the reboot"
pod n1 again
eventually 2 can_ping n1-again "${POD_IP[n2-p1]}"
note "a node leaves nothing behind when it heals: n3 went for good meanwhile"
stop_agent n3 KILL
etcd_up
etcdctl del "$PREFIX/subnets/$(subnet_of n3 | tr / -)" >/dev/null
eventually 15 status_says n1 '.store.connected and (.store.from_cache | not)'
eventually 5 sh -c "[ -z \"\$(ip -n $TAG-n1 route show $(subnet_of n3))\" ]"
eventually 2 can_ping n1-again "${POD_IP[n2-p1]}"
for name in n1 n2; do eventually 15 agent_ready $name; done
touch "$WORK/n1/state/.view.cache.Ab12Cd"  # of a write that kill -9 cut off; leave takes it along
assert_clean
