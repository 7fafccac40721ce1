#!/usr/bin/env bash
# The plugin as a runtime calls it: ADD, CHECK, DEL, STATUS, GC, VERSION; codes of the spec; rollback, idempotence; fifty ADDs at
# once; by its own name with CNI_COMMAND, by a link with another plugin's name, and without the agent.
source "$(dirname "$0")/lib.sh"

switch sw
node n1 1
init --network 10.244.0.0/16
code() { jq -r .code <<<"$OUT"; }
call() { # COMMAND POD [CONFIG]: exit status in $STATUS, stdout in $OUT
  STATUS=0
  OUT=$(printf '%s' "${3-$(cni_config n1)}" | in_ns n1 env CNI_COMMAND="$1" CNI_CONTAINERID="c-$2" CNI_IFNAME=eth0 \
    CNI_NETNS="/run/netns/$TAG-$2" CNI_PATH=/nowhere "$KNET" cni 2>"$WORK/stderr") || STATUS=$?
}
for name in a b c; do new_ns $name; done

note "before the agent: 11 with the reason, STATUS 50"
call ADD a
[[ $STATUS != 0 && $(code) == 11 ]] || die "ADD before the agent: $STATUS $OUT"
found "subnet.env" <<<"$OUT" || die "no reason: $OUT"
call STATUS a
[[ $STATUS != 0 && $(code) == 50 ]] || die "STATUS before the agent: $STATUS $OUT"
call DEL a
[[ $STATUS == 0 ]] || die "DEL before the agent must succeed: $OUT"

start_agents n1
call STATUS a
[[ $STATUS == 0 && -z $OUT ]] || die "STATUS: $OUT"

note "VERSION"
for version in 0.3.1 0.4.0 1.0.0 1.1.0; do
  call VERSION a "{\"cniVersion\":\"$version\"}"
  jq -e --arg v "$version" '.supportedVersions | index($v)' >/dev/null <<<"$OUT" || die "VERSION: $OUT"
done
call ADD a '{"cniVersion":"9.9.9","name":"knet","type":"knet"}'
[[ $STATUS != 0 && $(code) == 1 ]] || die "an unknown version: $OUT"

note "ADD: result and kernel"
call ADD a
[[ $STATUS == 0 ]] || die "ADD: $OUT"
result=$OUT
address=$(jq -r '.ips[0].address' <<<"$result")
host_dev=$(jq -r '.interfaces[] | select(.sandbox == null or .sandbox == "") | .name' <<<"$result")
[[ $(jq -r '.ips[0].interface' <<<"$result") == "$(jq -r '.interfaces | map((.sandbox // "") != "") | index(true)' <<<"$result")" ]] ||
  die "the address points at the wrong interface: $result"
in_ns a ip -o addr show eth0 | found "inet ${address%/*}/32" || die "pod address"
in_ns a ip route show | found 'default via 169.254.1.1 dev eth0' || die "pod route"
in_ns n1 ip route show | found "^${address%/*} dev $host_dev" || die "host route"
[[ $(in_ns n1 cat "/sys/class/net/$host_dev/address") == ee:ee:ee:ee:ee:ee ]] || die "host MAC"
[[ $host_dev =~ ^knet[0-9a-f]{11}$ ]] || die "name of the host end: $host_dev"
eventually 1 can_ping n1 "${address%/*}"
note "ADD again: the same"
call ADD a
[[ $(jq -S . <<<"$OUT") == "$(jq -S . <<<"$result")" ]] || die "a second ADD differs"

note "CHECK"
with_result() { jq -c --argjson r "$result" '. + {prevResult: $r}' <<<"$(cni_config n1)"; }
call CHECK a "$(with_result)"
[[ $STATUS == 0 && -z $OUT ]] || die "CHECK: $OUT"
in_ns a ip route del default
call CHECK a "$(with_result)"
[[ $STATUS != 0 ]] || die "CHECK does not see the missing route"
in_ns a ip route add default via 169.254.1.1 dev eth0
call CHECK a "$(with_result)"
[[ $STATUS == 0 ]] || die "CHECK after mending: $OUT"

note "ADD fails half way: nothing stays"
held() { ls "$WORK"/n1/state/ipam/*/ | grep -c 10.244 || true; }
links() { in_ns n1 ip -br link | grep -c '^knet[0-9a-f]\{11\}' || true; }
before="$(held) $(links)"
in_ns b ip link add eth0 type bridge
call ADD b
[[ $STATUS != 0 ]] || die "ADD over a foreign eth0"
found eth0 <<<"$OUT" || die "the message does not name the interface: $OUT"
[[ "$(held) $(links)" == "$before" ]] || die "left after a failed ADD: had $before, now $(held) $(links)"
in_ns b ip -d link show eth0 | found bridge || die "the foreign eth0 is gone"
in_ns b ip link del eth0

note "wrong input: one JSON error with the right code"
wrong() { # CODE CONFIG [COMMAND [POD]]
  call "${3:-ADD}" "${4:-a}" "$2"
  [[ $STATUS != 0 && $(code) == "$1" ]] || die "expected code $1: $STATUS $OUT (for $2)"
  [[ $(jq -r '.msg | length' <<<"$OUT") -gt 10 ]] || die "no message: $OUT"
}
wrong 6 'hello'
wrong 6 ''
wrong 6 '[1,2]'
wrong 7 '{"cniVersion":"1.0.0","name":"../../etc","type":"knet"}'
wrong 7 '{"cniVersion":"1.0.0","name":"knet","type":"knet","mtu":"big"}'
wrong 4 "$(cni_config n1)" FROB
head -c 2000000 /dev/zero | tr '\0' 'x' >"$WORK/big"
OUT=$(in_ns n1 env CNI_COMMAND=ADD CNI_CONTAINERID=x CNI_IFNAME=eth0 CNI_NETNS=/run/netns/$TAG-a "$KNET" cni <"$WORK/big") && die "two megabytes of nonsense taken"
[[ $(code) == 6 ]] || die "big input: $OUT"
call ADD nowhere
[[ $STATUS != 0 ]] && found "$TAG-nowhere" <<<"$OUT" || die "a namespace that is not there: $OUT"

note "DEL: idempotent, and with the namespace gone"
call DEL a; [[ $STATUS == 0 ]] || die "DEL: $OUT"
call DEL a; [[ $STATUS == 0 ]] || die "second DEL: $OUT"
[[ -z $(in_ns n1 ip route show "${address%/*}") && "$(held) $(links)" == "0 0" ]] || die "left after DEL"
call ADD c
ip netns del "$TAG-c"
call DEL c; [[ $STATUS == 0 ]] || die "DEL without the namespace: $OUT"
[[ "$(held) $(links)" == "0 0" ]] || die "left after DEL without the namespace"

note "a pod that was just added is no stranger to route show"
for i in 1 2 3; do
  call ADD a
  knet_in n1 route show -o json >"$WORK/rows" || die "drift: $(cat "$WORK/rows")"
  [[ $(jq '[.. | objects | select(.state? == "stale")] | length' "$WORK/rows") == 0 ]] || die "stale: $(cat "$WORK/rows")"
  found "$(jq -r '.ips[0].address' <<<"$OUT")" "$WORK/rows" || die "the pod has no row: $(cat "$WORK/rows")"
  call DEL a
done

note "a record whose link is gone holds no address against a newer pod"
call ADD a
address=$(jq -r '.ips[0].address' <<<"$OUT")
endpoints=$WORK/n1/run/endpoints
jq '.id = "00000000001" | .host_dev = "knet00000000001"' "$endpoints"/*.json >"$WORK/left-over"
cp "$WORK/left-over" "$endpoints/00000000001.json"
in_ns n1 ip route del "${address%/*}"
pod_route() { in_ns n1 ip route show "${address%/*}" | found "dev knet[0-9a-f]* proto 107"; }
eventually 3 pod_route || die "the live pod's route was not repaired"
rm "$endpoints/00000000001.json"
call DEL a

note "GC"
call ADD a; call ADD b
gc=$(jq -c '. + {"cniVersion":"1.1.0","cni.dev/valid-attachments":[{"containerID":"c-a","ifname":"eth0"}]}' <<<"$(cni_config n1)")
call GC a "$gc"; [[ $STATUS == 0 ]] || die "GC: $OUT"
[[ "$(held) $(links)" == "1 1" ]] || die "after GC: $(held) $(links)"
call DEL a; call DEL b

note "fifty ADDs at once: all different; then DELs at once"
for i in $(seq 50); do
  ip netns add "$TAG-m$i"
  NAMESPACES+=("$TAG-m$i")
done
many() { # COMMAND
  local i
  for i in $(seq 50); do
    cni_config n1 | in_ns n1 env CNI_COMMAND="$1" CNI_CONTAINERID="m-$i" CNI_IFNAME=eth0 CNI_NETNS="/run/netns/$TAG-m$i" \
      CNI_PATH=/nowhere "$KNET" cni >"$WORK/many-$i" 2>&1 || echo "$i" >>"$WORK/many-failed" &
    BATCH+=($!)
  done
  wait "${BATCH[@]}"
}
BATCH=()
many ADD
[[ ! -e $WORK/many-failed ]] || die "failed: $(cat "$WORK/many-failed") $(cat "$WORK/many-$(head -1 "$WORK/many-failed")")"
[[ $(cat "$WORK"/many-[0-9]* | jq -r '.ips[0].address' | sort -u | wc -l) == 50 ]] || die "addresses are not distinct"
eventually 3 sh -c "ip netns exec $TAG-m1 ping -n -q -c1 -W1 $(jq -r '.ips[0].address' "$WORK/many-50" | cut -d/ -f1)"
BATCH=()
many DEL
[[ "$(held) $(links)" == "0 0" ]] || die "left after fifty DELs: $(held) $(links)"

note "by its own name, and by a link with any name"
mkdir "$WORK/bin"
ln -s "$KNET" "$WORK/bin/knet"; ln -s "$KNET" "$WORK/bin/bridge"
for name in knet bridge; do
  for command in ADD DEL; do
    cni_config n1 | in_ns n1 env CNI_COMMAND=$command CNI_CONTAINERID=l CNI_IFNAME=eth0 CNI_NETNS="/run/netns/$TAG-a" \
      CNI_PATH=/nowhere "$WORK/bin/$name" >"$WORK/out" || die "$command as $name: $(cat "$WORK/out")"
  done
done
note "without CNI_COMMAND: help, not a wait on stdin"
OUT=$(sleep 5 | timeout 3 "$KNET" cni 2>&1) || [[ $? -ne 124 ]] || die "it waits on stdin"
found -i usage <<<"$OUT" || found -i cni <<<"$OUT" || die "no help: $OUT"

note "the agent is not needed for ADD and DEL"
stop_agent n1 KILL
call ADD a; [[ $STATUS == 0 ]] || die "ADD without an agent: $OUT"
eventually 1 can_ping n1 "$(jq -r '.ips[0].address' <<<"$OUT" | cut -d/ -f1)"
call DEL a; [[ $STATUS == 0 ]] || die "DEL without an agent: $OUT"
assert_clean
