#!/usr/bin/env bash
# Malformed config, foreign and corrupt keys in the store, damaged local files: one clear message that names key and value, never
# a crash, and one bad peer never stops the others.
source "$(dirname "$0")/lib.sh"

switch sw
node n1 1; node n2 2
etcd_up

note "init refuses what makes no sense, naming flag and value"
expect 2 knet_in n1 init --network 10.244.0.0/33;                  contains 10.244.0.0/33
expect 2 knet_in n1 init --network 10.244.0.0/16 --subnet-len 33;  contains "--subnet-len"; contains 33
expect 2 knet_in n1 init --network 10.244.0.0/16 --mode vxlam;     contains vxlam; contains vxlan
expect 2 knet_in n1 init --network 10.244.0.0/16 --opt VNI=0;      contains VNI
expect 2 knet_in n1 init --network 10.244.0.0/16 --opt Vnl=5;      contains Vnl; contains VNI
for text in '{' '[]' '{"Network":5}' '{"Network":"10.244.0.0/16","SubnetLen":"x"}' '{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan","VNI":"a"}}'; do
  printf '%s' "$text" >"$WORK/config.json"
  OUT=$(knet_in n1 init --config "$WORK/config.json" 2>&1) && die "accepted: $text"
  [[ $OUT == *"internal error"* || $(wc -l <<<"$OUT") -gt 3 ]] && die "not one clear message for $text: $OUT"
done
[[ -z $(etcdctl get --prefix --keys-only "$PREFIX") ]] || die "something was written in spite of it"
ip -n "$TAG-n1" addr add 10.250.3.1/24 dev eth0
expect 1 knet_in n1 init --network 10.250.0.0/16;                  contains 10.250.3.1
ip -n "$TAG-n1" addr del 10.250.3.1/24 dev eth0

note "a malformed config in the store"
etcdctl put "$PREFIX/config" '{"Network":"10.244.0.0/99","Backend":{"Type":"vxlan"}}' >/dev/null
expect 1 knet_in n1 agent --once --node-name n1
contains "10.244.0.0/99"; contains config; lacks "internal error"
start_agent n1
eventually 3 logged n1 '10\.244\.0\.0/99'
init --force --network 10.244.0.0/16 --subnet-max 10.244.63.0  # the subnets put here by hand lie above
if agent_runs n1; then eventually 15 test -s "$WORK/n1/run/subnet.env"; stop_agent n1; fi

note "foreign and corrupt keys among the peers"
put() { etcdctl put "$PREFIX/subnets/$1" "$2" >/dev/null; }
put foo-bar 'hello'
put 10.244.300.0-24 '{}'
put 10.244.90.0-24 'not json at all'
put 10.244.91.0-24 '{"PublicIP":5}'
put 10.244.92.0-24 '{"PublicIP":"192.168.77.92","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"zz"}}'
put 10.244.93.0-24 '{"PublicIP":"192.168.77.93","PublicIPv6":null,"BackendType":"teleport"}'
put 172.16.5.0-24 '{"PublicIP":"192.168.77.94","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:94"}}'
put 10.244.95.0-24 '{"PublicIP":"192.168.77.95","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"ff:ff:ff:ff:ff:ff"}}'
etcdctl put "$PREFIX/knet/nodes/bad" 'garbage' >/dev/null
etcdctl put "$PREFIX/knet/reservations/x" '{' >/dev/null
start_agents_degraded() { for name in "$@"; do start_agent $name; done; for name in "$@"; do eventually 5 status_says $name .ready; done; }
start_agents_degraded n1 n2
pod n1 p1; pod n2 p1
eventually 2 can_ping n1-p1 "${POD_IP[n2-p1]}"
status=$(knet_in n1 status -o json || true)
for key in foo-bar 10.244.300.0-24 10.244.90.0-24 10.244.91.0-24; do
  jq -e --arg key "$key" '.problems | map(contains($key)) | any' >/dev/null <<<"$status" || die "the status does not name $key"
done
for word in 10.244.92.0 teleport 172.16.5.0 10.244.95.0; do
  jq -e --arg word "$word" '.problems + .notices | map(contains($word)) | any' >/dev/null <<<"$status" || die "the status does not name $word"
done
for subnet in 10.244.90.0/24 10.244.91.0/24 10.244.92.0/24 172.16.5.0/24 10.244.95.0/24; do
  [[ -z $(in_ns n1 ip route show "$subnet") ]] || die "$subnet is routed"
done

note "a good peer turns bad and good again while agents run"
good='{"PublicIP":"192.168.77.80","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:80"}}'
routed() { [[ -n $(in_ns n1 ip route show 10.244.80.0/24) ]]; }
unrouted() { ! routed; }
put 10.244.80.0-24 "$good"; eventually 2 routed
put 10.244.80.0-24 '{"PublicIP":"192.168.77.80"'; eventually 2 unrouted
put 10.244.80.0-24 "$good"; eventually 2 routed
can_ping n1-p1 "${POD_IP[n2-p1]}" || die "the others stopped"
for name in n1 n2; do agent_runs $name || die "the agent of $name ended"; done
expect 0 knet_in n1 node list
expect 0 knet_in n1 subnet list
knet_in n1 route show >/dev/null || die "route show"

note "damaged local files"
stop_agent n1
echo 'rubbish' >"$WORK/n1/state/view.cache"
start_agents_degraded n1
can_ping n1-p1 "${POD_IP[n2-p1]}" || die "a damaged cache stopped traffic"
echo '{' >"$WORK/n1/run/endpoints/00000000000.json"
eventually 2 status_says n1 '[.problems[], .notices[], .degraded[]] | map(contains("00000000000.json")) | any'
rm "$WORK/n1/run/endpoints/00000000000.json"
stop_agent n1
cp "$WORK/n1/state/node.json" "$WORK/node.json"
echo '{' >"$WORK/n1/state/node.json"
expect 1 knet_in n1 agent --once --node-name n1
contains node.json
cp "$WORK/node.json" "$WORK/n1/state/node.json"
assert_clean
