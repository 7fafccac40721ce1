#!/usr/bin/env bash
# knet route show, get and trace on a node: with the agent and without, healthy and broken by hand; each answer is held
# against iproute2.
source "$(dirname "$0")/lib.sh"

trap 'status=$?; "$KNET" lab down --name "$TAG" >/dev/null 2>&1; (exit $status); cleanup' EXIT
expect 0 "$KNET" lab up --name "$TAG"
on_n1() { "$KNET" lab exec --name "$TAG" n1 -- "$@"; }

note "show, from the agent"
eventually 2 on_n1 knet route show --check
expect 0 on_n1 knet route show
contains "n1  10.244.1.0/24  vxlan  agent "
contains "store live at revision"
contains "DESTINATION    VIA         DEV              MODE   NODE  SOURCE  STATE  SINCE  WHY"
contains "5 wanted: 5 ok"
expect 0 on_n1 knet route show --check
expect 0 on_n1 knet route show --node n3
contains "10.244.3.0/24"
lacks "10.244.2.0/24"
expect 0 on_n1 knet route show --dev blackhole -o wide
contains "NEIGHBOR"
lacks "knet.1 "
expect 0 on_n1 knet route show -o json
[[ $(jq -r '.schema, .node, (.routes | length), .drift' <<<"$OUT" | tr '\n' ' ') == "1 n1 5 false " ]] || die "JSON of show"
note "-o ip is taken by ip -batch"
on_n1 knet route show -o ip >"$WORK/batch"
on_n1 ip -batch - <"$WORK/batch" || die "ip -batch refuses: $(cat "$WORK/batch")"
eventually 3 on_n1 knet route show --check

note "get"
expect 0 on_n1 knet route get 10.244.3.7
contains "held by   n3 (10.244.3.0/24), vxlan"
contains "via 10.244.3.0 dev knet.1"
on_n1 ip route get 10.244.3.7 | found "via 10.244.3.0 dev knet.1" || die "ip route get does not agree"
expect 0 on_n1 knet route get n1-p2
contains "pod n1-p2"
expect 2 on_n1 knet route get nowhere

note "trace, healthy"
expect 0 on_n1 knet route trace n1-p1 n3-p2
contains "ok  10.244.1.2 -> 10.244.3.3  vxlan  path MTU 1450"
contains "default via 169.254.1.1"
contains "vxlan 1 to 192.168.77.3, udp 8472"
contains "192.168.77.3 on link"
contains "10.244.3.3 -> n3-p2 eth0"
ip netns exec "$TAG-n1-p1" ping -n -q -c 1 -W 1 -M do -s $((1450 - 28)) 10.244.3.3 >/dev/null || die "path MTU is less than told"
expect 0 on_n1 knet route trace n1-p1 n1-p2
contains "local"
expect 2 on_n1 knet route trace n2-p1 n1-p1
contains "run it on n2"

note "watch sees what happens"
# Not through the function: that would be a subshell, and its pid not the program's.
"$KNET" lab exec --name "$TAG" n1 -- knet route show --watch >"$WORK/watch" 2>&1 &
watch=$!
PIDS+=("$watch")
sleep 0.6
on_n1 ip route add 10.244.7.0/24 via 192.168.77.254 dev eth0
eventually 3 grep -qE '^20[0-9-]+T[0-9:]+Z  10\.244\.7\.0/24 .*new, foreign' "$WORK/watch"
on_n1 ip route del 10.244.7.0/24
eventually 3 grep -q '10\.244\.7\.0/24 .*gone' "$WORK/watch"

note "without an agent: straight from store and kernel"
kill -9 "$(jq '.nodes[0].agent.pid' "/run/knet-lab/$TAG/lab.json")"
expect 0 on_n1 knet route show --check
contains "no agent, store live"
contains "10.244.2.0/24  10.244.2.0  knet.1           vxlan  n2    lease   ok"

note "broken by hand: show, --check and trace name it"
mac=$(ip netns exec "$TAG-n3" cat /sys/class/net/knet.1/address)
on_n1 bridge fdb del "$mac" dev knet.1 dst 192.168.77.3
expect 3 on_n1 knet route show --check
contains BROKEN
contains "fdb missing"
expect 0 on_n1 knet route show --check --node n2
expect 3 on_n1 knet route trace n1-p1 n3-p2
contains "BROKEN at n1 knet.1  10.244.1.2 -> 10.244.3.3  vxlan"
contains "no fdb entry for $mac (n3)"
contains "fix: knet agent is not running on n1 (systemctl start knet), or: knet agent --once"

note "the fix that it names mends it"
expect 0 on_n1 knet agent --once
expect 0 on_n1 knet route trace n1-p1 n3-p2
expect 0 on_n1 knet route show --check

note "route gone, neighbour gone, forwarding off, pod's link down"
on_n1 ip route del 10.244.2.0/24
expect 3 on_n1 knet route trace n1-p1 n2-p1
contains "not over knet.1: route missing"
expect 0 on_n1 knet agent --once
on_n1 ip neigh del 10.244.2.0 dev knet.1
expect 3 on_n1 knet route trace n1-p1 n2-p1
contains "no neighbour entry for 10.244.2.0 (n2)"
expect 0 on_n1 knet agent --once
on_n1 sysctl -qw net.ipv4.ip_forward=0
expect 3 on_n1 knet route trace n1-p1 n2-p1
contains "ip_forward is 0"
expect 0 on_n1 knet agent --once
ip netns exec "$TAG-n1-p1" ip link set eth0 down
expect 3 on_n1 knet route trace n1-p1 n2-p1
contains "BROKEN at n1-p1 eth0"

note "the underlay is down: trace says so, and is not at a loss itself"
on_n1 ip link set eth0 down
expect 3 on_n1 knet route trace n1-p2 n2-p1
contains "BROKEN at n1"
on_n1 ip link set eth0 up

note "not root: what can't be read is said, and never shown as missing"
on_n1 setpriv --reuid 65534 --clear-groups /bin/true 2>/dev/null && {
  chmod -R a+rX "/run/knet-lab/$TAG" /run/knet-lab
  OUT=$(on_n1 setpriv --reuid 65534 --regid 65534 --clear-groups "$KNET" route show 2>&1 || true)
  lacks BROKEN
}
expect 0 "$KNET" lab down --name "$TAG"
