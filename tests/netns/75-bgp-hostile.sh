#!/usr/bin/env bash
# A neighbour that misbehaves in every way (bgp-peer, of its own code): malformed messages, floods of routes past the limit, sessions
# that come and go, silence, a wrong AS, connections by the hundred. The RFC's answer each time, a line in the log that names
# it; the node's other sessions and its pods notice nothing, and its memory stays bounded.
# timeout: 180
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/bgp-lib"
command -v python3 >/dev/null || { echo "skip: needs python3"; exit 77; }
PEER=$(dirname "$0")/bgp-peer

switch sw
node n1 1; node n2 2
host evil 100
for i in {101..253}; do echo "addr add 192.168.77.$i/24 dev eth0"; done | ip -n "$TAG-evil" -batch -
init --network 10.244.0.0/16 --mode bgp
expect 0 knet_in n1 bgp peer add 192.168.77.128/25 --as 65001 --node n1 --name strangers
expect 0 knet_in n1 bgp peer add 192.168.77.101 --as 65001 --node n1 --name liar --passive --prefix-limit 500
expect 0 knet_in n1 bgp peer add 192.168.77.102 --as 65001 --node n1 --name mute --passive --hold-time 3
expect 0 knet_in n1 bgp peer add 192.168.77.103 --as 65001 --node n1 --name flapper --passive
expect 0 knet_in n1 bgp peer add 192.168.77.104 --as 65001 --node n1 --name honest --passive
start_agents n1 n2
eventually 10 session n1 192.168.77.2
pod n1 p1; pod n2 p1
eventually 5 can_ping n1-p1 "${POD_IP[n2-p1]}"
evil() { in_ns evil timeout 40 "$PEER" "$1" 192.168.77.1 "${@:2}"; }
rss() { awk '/^VmRSS/ { print $2 }' "/proc/${AGENT[n1]}/status"; }
agent=${AGENT[n1]}

ip netns exec "$TAG-evil" "$PEER" hold 192.168.77.1 192.168.77.104 120 >"$WORK/evil/hold" 2>&1 &
PIDS+=($!)
eventually 5 via n1 10.244.250.0/24 "via 192.168.77.104"
before=$(since n1 192.168.77.2 192.168.77.104)
[[ $(wc -l <<<"$before") == 2 ]] || die "sessions: $before"
first=$(rss)
flood_to n1-p1 "${POD_IP[n2-p1]}"

note "malformed messages, each on a session of its own"
evil cases 192.168.77.129 >"$WORK/evil/cases.txt" || { cat "$WORK/evil/cases.txt"; die "not the RFC's answers"; }
grep -c '^ok' "$WORK/evil/cases.txt" | sed 's/$/ kinds answered as they should be/'
# Each that ended a session has its line.
while read -r _ address rest; do
  [[ $rest == *open || $rest == *closed ]] || logged n1 "$address" || die "no line in the log names $address: $rest"
done <"$WORK/evil/cases.txt"
eventually 5 no_route n1 10.244.240.0/24

note "noise"
evil noise 192.168.77.200 7 >"$WORK/evil/noise.txt" || { cat "$WORK/evil/noise.txt"; die "noise"; }

note "more routes than its limit"
expect 0 evil routes 192.168.77.101 30000
contains "6/1"
eventually 3 logged n1 'liar|192\.168\.77\.101'
bgp_is n1 '.peers[] | select(.name == "liar") | .state != "established" and (.last_error | test("prefix|limit"))' || die "$(knet_in n1 bgp peers)"
eventually 3 no_route n1 10.244.128.0/32
[[ $(in_ns n1 ip route show proto 107 | wc -l) -lt 20 ]] || die "routes of the flood are left"

note "established and gone, 100 times"
expect 0 evil flap 192.168.77.103 100
echo "$OUT"
eventually 3 logged n1 'flapper|192\.168\.77\.103'

note "connections by the hundred, of a neighbour and of strangers"
evil storm 192.168.77.102 300 || die "too many connections stand"
evil storm 192.168.77.100 300 || die "connections of who is no neighbour stand"

note "silence: the hold time ends it"
ip netns exec "$TAG-evil" "$PEER" hold 192.168.77.1 192.168.77.102 20 >"$WORK/evil/mute" 2>&1 &
PIDS+=($!)
eventually 12 grep -q '^4/0' "$WORK/evil/mute"
eventually 3 bgp_is n1 '.peers[] | select(.name == "mute") | .last_error | test("hold")'

note "the others noticed nothing"
[[ $(since n1 192.168.77.2 192.168.77.104) == "$before" ]] || { echo "$before"; since n1; die "other sessions were lost"; }
via n1 10.244.250.0/24 "via 192.168.77.104" || die "the honest one's route"
kill -0 "$agent" || die "the agent ended"
none_lost "meanwhile"
last=$(rss)
echo "RSS $first kB before, $last kB afterwards"
[[ $last -lt $((first + 8192)) ]] || die "RSS grew from $first to $last kB"
cpu() { awk '{ print $14 + $15 }' "/proc/$agent/stat"; }
busy=$(cpu); sleep 1; busy=$(($(cpu) - busy))
[[ $busy -le 10 ]] || die "the agent is still busy: $busy ticks in a second"
cni DEL n1 p1 >/dev/null; cni DEL n2 p1 >/dev/null
assert_clean
