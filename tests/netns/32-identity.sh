#!/usr/bin/env bash
# Two machines under one name or one address: the second is refused and told who holds it; a holder that is gone is taken over
# with a notice; a node keeps its subnet over restarts, also without its run dir.
source "$(dirname "$0")/lib.sh"

switch sw
node n1 1; node n2 2; node n3 3
for name in n1 n2 n3; do machine_id $name "00000000000000000000000000000${name#n}00"; done
etcd_up
init --network 10.244.0.0/16
start_agents n1
one=$(subnet_of n1)

note "same name (a cloned machine)"
expect 1 knet_in n2 agent --once --node-name n1
contains n1
contains 0000100
found 192.168.77.1 <<<"$(lease_of n1)" || die "the holder's lease was touched"

note "same name and machine id (a clone that kept its /etc/machine-id)"
machine_id n2 "$(cat "$WORK/n1/state/machine-id")"
expect 1 knet_in n2 agent --once --node-name n1
contains "192.168.77.1"
contains "same machine id"
echo n1 >"$WORK/n2/state/node-name"
expect 0 knet_in n2 leave
contains "stays in"
found 192.168.77.1 <<<"$(lease_of n1)" || die "the holder's lease was touched"
rm -rf "$WORK/n2/state"; machine_id n2 00000000000000000000000000000200

note "same address"
expect 1 knet_in n2 agent --once --node-name n2 --public-ip 192.168.77.1
contains "192.168.77.1 is held by n1"
[[ $(etcdctl get --prefix --keys-only "$PREFIX/subnets/" | grep -c .) == 1 ]] || die "the refused node took a subnet"

note "a long-running agent says the same and waits: it goes on when the holder is gone"
rm -rf "$WORK/n2/state"; machine_id n2 00000000000000000000000000000200
start_agent n2 --public-ip 192.168.77.1
eventually 3 logged n2 "192.168.77.1 is held by n1"
kill -0 "${AGENT[n1]}" || die "the holder's agent ended"
[[ $(subnet_of n1) == "$one" ]] || die "the holder lost its subnet"
if agent_runs n2; then stop_agent n2; fi

note "kept over restarts"
stop_agent n1 KILL; start_agents n1
[[ $(subnet_of n1) == "$one" ]] || die "another subnet after kill -9"
stop_agent n1; rm -rf "$WORK/n1/run"; start_agents n1
[[ $(subnet_of n1) == "$one" ]] || die "another subnet without the run dir"

note "the holder is dead: taken, with a notice"
stop_agent n1 KILL
etcdctl del "$PREFIX/knet/nodes/n1" >/dev/null
in_ns n1 ip addr flush dev eth0
in_ns n2 ip addr flush dev eth0
underlay n2 1
rm -rf "$WORK/n2/state" "$WORK/n2/run"; machine_id n2 00000000000000000000000000000200
start_agents n2
[[ $(subnet_of n2) == "$one" ]] || die "the dead holder's subnet was not taken over"
logged n2 "taken over from n1" || die "no notice of the takeover"

note "n1 comes back with another address: it gets another subnet, n2 keeps its own"
underlay n1 11
start_agents n1
[[ $(subnet_of n1) != "$one" && $(subnet_of n2) == "$one" ]] || die "n1 $(subnet_of n1), n2 $(subnet_of n2), was $one"
assert_clean
