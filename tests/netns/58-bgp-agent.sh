#!/usr/bin/env bash
# timeout: 120
# The agent in bgp mode: a reflector without pods, restarts with the store and without it, the questions over its
# sockets and who may change something there, gauges, a node that stops to run pods.
source "$(dirname "$0")/lib.sh"

switch sw
for i in 1 2 3; do node "n$i" "$i"; done
init --network 10.244.0.0/16 --mode bgp
expect 0 knet_in n1 node set n3 --reflector 1.0.0.1
expect 0 knet_in n1 bgp config set --mesh off
start_agent n3 --no-pods
start_agents n1 n2
eventually 5 status_says n3 '.no_pods != "" and .ready'
for i in 1 2; do pod "n$i" a; done
eventually 10 can_ping n1-a "${POD_IP[n2-a]}"
established() { [[ $(knet_in "$1" bgp peers -o json | jq '[.peers[] | select(.state == "established")] | length') == "$2" ]]; }

note "by the reflector, which has neither routes nor devices itself"
eventually 5 established n1 1
eventually 5 established n3 2
[[ -z $(in_ns n3 ip route show proto 107) ]] || die "$(in_ns n3 ip route)"
in_ns n1 ip route show "$(subnet_of n2)" | found 'via 192.168.77.2' || die "$(in_ns n1 ip route)"
[[ -e $WORK/n1/run/bgp-ran ]] || die "no word for the next agent that this one spoke BGP"

note "questions over the sockets"
ask() { in_ns n1 curl -s -o "$WORK/answer" -w '%{http_code}' --unix-socket "$WORK/n1/run/$1" -X "$2" "http://knet$3"; }
[[ $(ask status.sock GET /v1/bgp/peers) == 200 ]] || die "peers"
[[ $(jq -r '.peers[0].address' "$WORK/answer") == 192.168.77.3 ]] || die "$(cat "$WORK/answer")"
[[ $(ask status.sock GET "/v1/bgp/routes?received=192.168.77.3") == 200 ]] || die "routes"
[[ $(jq -r '.routes[0].prefix' "$WORK/answer") == "$(subnet_of n2)" ]] || die "$(cat "$WORK/answer")"
[[ $(ask status.sock GET "/v1/bgp/routes?received=7") == 400 ]] || die "a peer that is no address: $(cat "$WORK/answer")"
[[ $(ask status.sock POST "/v1/bgp/reset?all=1") == 404 ]] || die "who may look must not change anything"
[[ $(ask status.sock POST /v1/leave) == 404 ]] || die "who may look must not make it leave"
[[ $(ask agent.sock POST "/v1/bgp/reset?all=1&kind=in") == 200 ]] || die "reset: $(cat "$WORK/answer")"
in_ns n1 curl -s --unix-socket "$WORK/n1/run/status.sock" http://knet/metrics >"$WORK/metrics"
found '^knet_bgp_peers{state="established"} 1$' "$WORK/metrics" || die "$(grep bgp "$WORK/metrics")"

note "a restart loses nothing, with the store away neither"
eventually 8 grep -aq '^spec n3 ' "$WORK/n1/state/view.cache"
[[ $(stat -c %a "$WORK/n1/state/view.cache") == 600 ]] || die "view.cache may hold passwords: $(stat -c %a "$WORK/n1/state/view.cache")"
flood n2-a "${POD_IP[n1-a]}"
stop_agent n1
start_agents n1
eventually 10 established n1 1
stop_agent n1
saved=$STORE
STORE=http://192.168.77.250:2379
start_agent n1
eventually 10 status_says n1 '.store.from_cache'
eventually 10 established n1 1
in_ns n1 ip route show "$(subnet_of n2)" | found 'via 192.168.77.2' || die "$(in_ns n1 ip route)"
stop_agent n1
STORE=$saved
start_agents n1
eventually 10 established n1 1
lost=$(flood_lost)
[[ $lost -eq 0 ]] || die "$lost packets lost over three restarts"

note "who leaves for good says so: its route is not kept for a restart"
[[ $(ask agent.sock POST /v1/leave) == 200 ]] || die "leave"
forgotten() { [[ -z $(in_ns n2 ip route show "$(subnet_of n1)") ]]; }
eventually 3 forgotten
stop_agent n1
start_agents n1
eventually 10 can_ping n1-a "${POD_IP[n2-a]}"

note "a node stops to run pods, live"
before=$(subnet_of n2)
cni DEL n2 a >/dev/null
expect 0 knet_in n1 node set n2 --no-pods --force
eventually 8 status_says n2 '.subnet == "" and .ready'
gone() { [[ -z $(in_ns n1 ip route show "$before") ]]; }
eventually 5 gone
expect 0 knet_in n1 node set n2 --pods
eventually 8 status_says n2 '.subnet != "" and .ready'
pod n2 b
eventually 10 can_ping n1-a "${POD_IP[n2-b]}"

note "another mode: the word for the next agent goes"
expect 0 knet_in n1 mode set host-gw
over() { status_says n1 '.announced == "host-gw" and (.receives | length) == 0'; }
eventually 20 over
eventually 5 test ! -e "$WORK/n1/run/bgp-ran"
expect 1 knet_in n1 bgp peers
contains "n1 is not in bgp mode; its mode is host-gw"
eventually 2 can_ping n1-a "${POD_IP[n2-b]}"
cni DEL n1 a >/dev/null
cni DEL n2 b >/dev/null
assert_clean
