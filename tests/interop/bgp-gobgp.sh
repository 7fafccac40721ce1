#!/usr/bin/env bash
# GoBGP as a fabric's router: eBGP with MD5 and both families over one session, communities, graceful restart of the agent, a wrong
# AS, and as a reflector's client. It has no kernel routes here: its RIB and the nodes' kernels are looked at.
# timeout: 120
source "$(dirname "$0")/../netns/lib.sh"
source "$(dirname "$0")/../netns/bgp-lib"
command -v gobgpd >/dev/null && command -v gobgp >/dev/null || { echo "skip: GoBGP is not installed (NOT TESTED: GoBGP as a peer)"; exit 77; }

switch sw
node n1 1; node n2 2
host tor 10
ip -n "$TAG-tor" link set lo up
gobgp_up() { # AS: its neighbours' lines on standard input
  { printf '[global.config]\nas = %s\nrouter-id = "192.168.77.10"\n' "$1"; cat; } >"$WORK/tor/gobgp.toml"
  ip netns exec "$TAG-tor" gobgpd -f "$WORK/tor/gobgp.toml" --api-hosts 127.0.0.1:50051 --pprof-disable >"$WORK/tor/gobgp.log" 2>&1 &
  GOBGP=$!
  PIDS+=($!)
  eventually 5 go global
}
go() { in_ns tor gobgp "$@"; }
go_established() { [[ $(go neighbor -j | jq '[.[] | select(.state.session_state == 6)] | length') == "$1" ]]; }
go_has() { go global rib -a "$1" "$2" | found -E "$3"; } # FAMILY PREFIX REGEX

init --network 10.244.0.0/16 --network6 fd00:244::/48 --mode bgp
start_agents n1 n2
eventually 10 sessions n1 1
sub1=$(subnet_of n1) sub2=$(subnet_of n2) six1=$(subnet6_of n1)
( umask 077; echo s3cret >"$WORK/tor.key" )

neighbor() { # ADDRESS AS [PASSWORD]
  local password=
  [[ -z ${3:-} ]] || printf -v password 'auth-password = "%s"' "$3"
  cat <<TOML
[[neighbors]]
[neighbors.config]
neighbor-address = "$1"
peer-as = $2
$password
[neighbors.timers.config]
connect-retry = 2
idle-hold-time-after-reset = 1
[neighbors.graceful-restart.config]
enabled = true
restart-time = 60
[[neighbors.afi-safis]]
[neighbors.afi-safis.config]
afi-safi-name = "ipv4-unicast"
[neighbors.afi-safis.mp-graceful-restart.config]
enabled = true
[[neighbors.afi-safis]]
[neighbors.afi-safis.config]
afi-safi-name = "ipv6-unicast"
[neighbors.afi-safis.mp-graceful-restart.config]
enabled = true
TOML
}

note "eBGP with MD5, both families over one session"
gobgp_up 65001 < <(neighbor 192.168.77.1 64512 s3cret; neighbor 192.168.77.2 64512 s3cret)
expect 0 knet_in n1 bgp peer add 192.168.77.10 --as 65001 --name tor --password-file "$WORK/tor.key"
eventually 20 go_established 2
go global rib add 10.244.77.0/24 nexthop 192.168.77.10 community 65001:7 large-community 65001:1:2
go global rib add -a ipv6 fd00:244:0:77::/64 nexthop fd00:77::10
eventually 5 session n1 192.168.77.10 '.families == ["ipv4", "ipv6"]'
eventually 5 via n1 10.244.77.0/24 "via 192.168.77.10 dev eth0"
eventually 5 via6 n1 fd00:244:0:77::/64 "via fd00:77::10 dev eth0"
bgp_route n1 10.244.77.0/24 'any(.[]; .peer == "tor" and .as_path == "65001" and .communities == ["65001:7"] and .large_communities == ["65001:1:2"])' ||
  die "$(knet_in n1 bgp routes 10.244.77.0/24 -o json)"
eventually 5 go_has ipv4 "$sub1" '192\.168\.77\.1 +64512 '
eventually 5 go_has ipv6 "$six1" 'fd00:77::1 +64512 '

note "the agent killed and back: GoBGP keeps its route, marked stale, and has it anew"
stop_agent n1 KILL
never 1 eval '! go_has ipv4 "$sub1" "192\.168\.77\.1 +64512 "'
start_agents n1
eventually 20 go_established 2
eventually 10 go_has ipv4 "$sub1" '^\*> .*192\.168\.77\.1 +64512 '
via n1 10.244.77.0/24 "via 192.168.77.10 dev eth0" || eventually 5 via n1 10.244.77.0/24 "via 192.168.77.10 dev eth0"

note "a withdrawn route goes; a wrong AS is told"
go global rib del 10.244.77.0/24
eventually 5 no_route n1 10.244.77.0/24
expect 0 knet_in n1 bgp peer set tor --as 65009
wrong_as() { OUT=$(knet_in n1 bgp peers 2>&1); [[ $? == 3 && $OUT == *"they say 65001, we expect 65009"* ]]; }
eventually 15 wrong_as
expect 0 knet_in n1 bgp peer remove tor
kill "$GOBGP"; wait "$GOBGP" 2>/dev/null || true

note "iBGP: a reflector's client"
gobgp_up 64512 < <(neighbor 192.168.77.1 64512)
expect 0 knet_in n1 node set n1 --reflector 1.0.0.1
expect 0 knet_in n1 bgp peer add 192.168.77.10 --as 64512 --name client --node n1 --client
eventually 20 go_established 1
go global rib add 10.244.78.0/24 nexthop 192.168.77.10
eventually 5 via n2 10.244.78.0/24 "via 192.168.77.10 dev eth0"
eventually 5 go_has ipv4 "$sub2" '192\.168\.77\.2 .*Originator: 192\.168\.77\.2.*ClusterList: \[1\.0\.0\.1\]'
assert_clean
