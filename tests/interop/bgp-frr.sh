#!/usr/bin/env bash
# FRR as the fabric's router: eBGP with MD5 and TTL security, IPv4 routes over an IPv6 session (RFC 8950), a reflector's clients, graceful
# restart both ways. Runs where FRR's daemons are installed.
# timeout: 180
source "$(dirname "$0")/../netns/lib.sh"
source "$(dirname "$0")/../netns/bgp-lib"
FRR=${FRR:-/usr/lib/frr}
[[ -x $FRR/bgpd && -x $FRR/zebra ]] && command -v vtysh >/dev/null || { echo "skip: FRR is not installed (NOT TESTED: FRR as a peer)"; exit 77; }

switch sw
node n1 1; node n2 2
host tor 10
chmod 755 "$WORK" "$WORK/tor"
declare -A FRR_PID
frr() { # DAEMON
  ip netns exec "$TAG-tor" "$FRR/$1" -u frr -g frr -z "$WORK/tor/run/zserv.api" --vty_socket "$WORK/tor/run" -f "$WORK/tor/frr.conf" \
    -i "$WORK/tor/run/$1.pid" -A 127.0.0.1 --log file:"$WORK/tor/run/$1.log" "${@:2}" >>"$WORK/tor/$1.err.log" 2>&1 &
  FRR_PID[$1]=$!
  PIDS+=($!)
}
vty() { in_ns tor vtysh --vty_socket "$WORK/tor/run" -c "$*"; }
vty_json() { vty "$2 json" | jq -e "$1" >/dev/null; }  # JQ COMMAND
frr_up() { # config on standard input
  cat >"$WORK/tor/frr.conf"
  rm -rf "$WORK/tor/run"
  install -d -o frr -g frr -m 755 "$WORK/tor/run"
  chown frr:frr "$WORK/tor/frr.conf"
  frr zebra -K 60
  eventually 5 test -S "$WORK/tor/run/zserv.api"
  frr bgpd
  eventually 5 vty show version
}
frr_down() {
  kill -9 "${FRR_PID[bgpd]}" "${FRR_PID[zebra]}" 2>/dev/null || true
  wait "${FRR_PID[bgpd]}" "${FRR_PID[zebra]}" 2>/dev/null || true
  ip -n "$TAG-tor" route flush proto bgp 2>/dev/null || true
}
frr_established() { # ADDRESS...
  local a
  for a in "$@"; do vty_json ".\"$a\".bgpState == \"Established\"" "show bgp neighbors $a" || return 1; done
}

init --network 10.244.0.0/16 --network6 fd00:244::/48 --mode bgp
start_agents n1 n2
eventually 10 sessions n1 1
pod n1 p1; pod n2 p1
sub1=$(subnet_of n1) six1=$(subnet6_of n1)
( umask 077; echo s3cret >"$WORK/tor.key" )

note "eBGP, MD5, TTL security, both families"
frr_up <<'FRR'
hostname tor
ip prefix-list in seq 5 permit 10.0.0.0/8 le 32
router bgp 65001
 bgp router-id 192.168.77.10
 bgp graceful-restart
 bgp graceful-restart preserve-fw-state
 no bgp ebgp-requires-policy
 no bgp network import-check
 no bgp default ipv4-unicast
 neighbor nodes peer-group
 neighbor nodes remote-as 64512
 neighbor nodes password s3cret
 neighbor nodes ttl-security hops 1
 neighbor nodes timers connect 2
 neighbor 192.168.77.1 peer-group nodes
 neighbor 192.168.77.2 peer-group nodes
 address-family ipv4 unicast
  network 10.244.77.0/24
  neighbor nodes activate
 exit-address-family
 address-family ipv6 unicast
  network fd00:244:0:77::/64
  neighbor nodes activate
 exit-address-family
FRR
expect 0 knet_in n1 bgp peer add 192.168.77.10 --as 65001 --name tor --password-file "$WORK/tor.key" --ttl-security
eventually 20 frr_established 192.168.77.1 192.168.77.2
eventually 5 session n1 192.168.77.10 '.families == ["ipv4", "ipv6"]'
eventually 5 via n1 10.244.77.0/24 "via 192.168.77.10 dev eth0"
eventually 5 via6 n1 fd00:244:0:77::/64 "dev eth0"
eventually 5 vty_json ".paths[0] | .aspath.string == \"64512\" and .nexthops[0].ip == \"192.168.77.1\"" "show bgp ipv4 unicast $sub1"
eventually 5 vty_json '.paths | length >= 1' "show bgp ipv6 unicast $six1"
eventually 5 can_ping tor "${POD_IP[n1-p1]}"

note "graceful restart: the agent killed and back"
flood_to tor "${POD_IP[n1-p1]}"
flood_to n1-p1 "${POD_IP[n2-p1]}"
stop_agent n1 KILL
never 1 no_route tor "$sub1"
start_agents n1
eventually 20 frr_established 192.168.77.1
eventually 10 session n1 192.168.77.10 '.received > 0 and .stale == 0'  # FRR waits a while before it tells a restarted peer
none_lost "the agent's restart"

note "graceful restart: bgpd killed and back"
# Once it is back FRR itself takes its kernel routes away for 50 ms: tor has another way back, and the nodes' way to it is judged.
ip -n "$TAG-tor" link set lo up
ip -n "$TAG-tor" addr add 10.244.77.1/32 dev lo
ip -n "$TAG-tor" route add 10.244.0.0/16 via 192.168.77.1 metric 4000
flood_to n1-p1 10.244.77.1
kill -9 "${FRR_PID[bgpd]}"; wait "${FRR_PID[bgpd]}" 2>/dev/null || true
eventually 5 bgp_is n1 '.peers[] | select(.name == "tor") | .restarting and .stale > 0'
never 1 no_route n1 10.244.77.0/24
frr bgpd
eventually 20 frr_established 192.168.77.1 192.168.77.2
eventually 10 session n1 192.168.77.10 '.stale == 0'
via n1 10.244.77.0/24 "via 192.168.77.10 dev eth0" || die "the route"
none_lost "bgpd's restart"
ip -n "$TAG-tor" route del 10.244.0.0/16
expect 0 knet_in n1 bgp peer remove tor
frr_down

note "IPv4 over an IPv6 session (RFC 8950)"
frr_up <<'FRR'
hostname tor
router bgp 65001
 bgp router-id 192.168.77.10
 no bgp ebgp-requires-policy
 no bgp network import-check
 no bgp default ipv4-unicast
 neighbor fd00:77::1 remote-as 64512
 neighbor fd00:77::1 capability extended-nexthop
 neighbor fd00:77::1 timers connect 2
 address-family ipv4 unicast
  network 10.244.77.0/24
  neighbor fd00:77::1 activate
 exit-address-family
 address-family ipv6 unicast
  network fd00:244:0:77::/64
  neighbor fd00:77::1 activate
 exit-address-family
FRR
expect 0 knet_in n1 bgp peer add fd00:77::10 --as 65001 --name tor6 --node n1
eventually 20 frr_established fd00:77::1
eventually 5 via n1 10.244.77.0/24 "via inet6 fd00:77::10 dev eth0"
eventually 5 via6 n1 fd00:244:0:77::/64 "dev eth0"
# The node has an IPv4 address on that link and tells it, which is as good; RFC 8950 demands no more.
eventually 5 sh -c "ip -n $TAG-tor route show $sub1 | grep -q 'via 192.168.77.1 '"
expect 0 knet_in n1 bgp peer remove tor6
frr_down

note "iBGP: FRR as a reflector's client"
frr_up <<'FRR'
hostname tor
router bgp 64512
 bgp router-id 192.168.77.10
 no bgp network import-check
 neighbor 192.168.77.1 remote-as 64512
 neighbor 192.168.77.1 timers connect 2
 address-family ipv4 unicast
  network 10.244.77.0/24
 exit-address-family
FRR
expect 0 knet_in n1 node set n1 --reflector 1.0.0.1
expect 0 knet_in n1 bgp peer add 192.168.77.10 --as 64512 --name client --node n1 --client
eventually 20 frr_established 192.168.77.1
eventually 5 via n2 10.244.77.0/24 "via 192.168.77.10 dev eth0"
eventually 5 vty_json '.paths[0] | .originatorId == "192.168.77.2" and .clusterList.list[0] == "1.0.0.1" and .nexthops[0].ip == "192.168.77.2"' \
  "show bgp ipv4 unicast $(subnet_of n2)"
frr_down
cni DEL n1 p1 >/dev/null; cni DEL n2 p1 >/dev/null
assert_clean
