#!/usr/bin/env bash
# BIRD as the fabric's router, and knet's word checked against birdc's and the kernel's: iBGP and eBGP, MD5, TTL security, dual stack,
# communities and rules, next hops, ECMP, advertised prefixes, a host outside that reaches a pod without NAT, graceful restart
# both ways without a lost packet, shutdown messages, wrong password and AS, BIRD set up as Calico's nodes do it.
# timeout: 180
source "$(dirname "$0")/../netns/lib.sh"
source "$(dirname "$0")/../netns/bgp-lib"
need_bird

#   n1 .1, n2 .2     nodes        tor .10, tor2 .11   BIRD        far 172.16.9.9   a host behind tor, by a wire of its own
switch sw
node n1 1; node n2 2
host tor 10; host tor2 11
new_ns far
ip -n "$TAG-far" link add eth0 type veth peer name far netns "$TAG-tor"
ip -n "$TAG-far" addr add 172.16.9.9/24 dev eth0
ip -n "$TAG-far" addr add fd00:9::9/64 dev eth0 nodad
ip -n "$TAG-far" link set eth0 up
ip -n "$TAG-tor" addr add 172.16.9.1/24 dev far
ip -n "$TAG-tor" addr add fd00:9::1/64 dev far nodad
ip -n "$TAG-tor" link set far up
ip -n "$TAG-far" route add default via 172.16.9.1
ip -n "$TAG-far" -6 route add default via fd00:9::1

init --network 10.244.0.0/16 --network6 fd00:244::/48 --mode bgp
start_agents n1 n2
eventually 10 sessions n1 1
pod n1 p1; pod n2 p1
sub1=$(subnet_of n1) sub2=$(subnet_of n2) six1=$(subnet6_of n1)
( umask 077; echo s3cret >"$WORK/tor.key"; echo wrong >"$WORK/wrong.key" )

# tor NODES-AS TEXT: what follows `neighbor`; all other BIRD configs here begin like this
bird_head() { # NUMBER
  cat <<BIRD
router id 192.168.77.$1;
protocol device { }
protocol direct { ipv4; ipv6; interface "eth0", "far"; }
protocol kernel { merge paths on; graceful restart on; ipv4 { import none; export where source = RTS_BGP; }; }
protocol kernel { merge paths on; graceful restart on; ipv6 { import none; export where source = RTS_BGP; }; }
BIRD
}

note "eBGP with MD5 and TTL security, both families over one session, rules and communities"
bird_up tor < <(
  bird_head 10
  cat <<'BIRD'
protocol static office { ipv4; route 172.16.0.0/16 blackhole; route 172.17.0.0/24 blackhole; route 0.0.0.0/0 blackhole; }
protocol static inside { ipv4; route 10.244.77.0/24 blackhole { bgp_community.add((65001, 7)); bgp_large_community.add((65001, 1, 2)); }; }
protocol static inside6 { ipv6; route fd00:244:0:77::/64 blackhole; }
template bgp nodes {
  local 192.168.77.10 as 65001; ttl security on; password "s3cret"; graceful restart on; connect delay time 1; error wait time 1, 2;
  ipv4 { import where net ~ [ 10.0.0.0/8+, 192.0.2.0/24 ]; export where source = RTS_STATIC || net = 172.16.9.0/24; };
  ipv6 { import where net ~ [ fd00:244::/48+ ]; export where source = RTS_STATIC || net = fd00:9::/64; };
}
protocol bgp n1 from nodes { neighbor 192.168.77.1 as 64512; }
protocol bgp n2 from nodes { neighbor 192.168.77.2 as 64512; }
BIRD
)
expect 0 knet_in n1 bgp config set --import 172.17.0.0/24 --advertise 192.0.2.0/24
expect 0 knet_in n1 bgp peer add 192.168.77.10 --as 65001 --name tor --password-file "$WORK/tor.key" --ttl-security \
  --import "accept 172.16.0.0/12 le 16 set-local-pref 200" --import "reject 10.244.77.0/24 community 65001:9" \
  --export "reject 10.244.0.0/16 ge 25 le 32" --export "accept $sub1 add-community 64512:100"
lacks s3cret
eventually 15 bird_established tor 2
eventually 5 session n1 192.168.77.10 '.families == ["ipv4", "ipv6"]'
eventually 5 via n1 10.244.77.0/24 "via 192.168.77.10 dev eth0"
eventually 5 via6 n1 fd00:244:0:77::/64 "via fd00:77::10 dev eth0"
eventually 5 via n1 172.16.0.0/16 "via 192.168.77.10"  # by its rule
eventually 5 via n1 172.17.0.0/24 "via 192.168.77.10"  # by the cluster's import
via n1 172.16.9.0/24 && die "a route outside of the cluster was taken without a rule"
via n1 0.0.0.0/0 && die "a default route was taken without a rule"
bgp_route n1 10.244.77.0/24 '[.[] | select(.peer == "tor")][0] | .as_path == "65001" and .communities == ["65001:7"] and
  .large_communities == ["65001:1:2"] and .next_hop == "192.168.77.10"' || die "$(knet_in n1 bgp routes 10.244.77.0/24 -o json)"
bgp_route n1 172.16.0.0/16 'any(.[]; .local_pref == 200)' || die "$(knet_in n1 bgp routes 172.16.0.0/16 -o json)"
bird_sees tor 'BGP.community:.*\(64512,100\)' "$sub1" || die "$(bc tor show route all)"
bird_sees tor 'BGP.next_hop: 192.168.77.1$' "$sub1" || die "$(bc tor show route all)"
bird_sees tor 'BGP.as_path: 64512$' "$sub1" || die "$(bc tor show route all)"
bird_sees tor 'fd00:77::1' "$six1" || die "$(bc tor show route all)"
ip -n "$TAG-tor" route show 192.0.2.0/24 | tr '\n' ' ' | found 'nexthop via 192.168.77.1.*nexthop via 192.168.77.2' ||
  die "the advertised prefix has not both nodes as next hops: $(ip -n "$TAG-tor" route)"
expect 0 knet_in n1 bgp routes --advertised tor
contains "$sub1"
lacks "192.168.77.0/24"

note "a host outside reaches a pod, by the pod's own address, without NAT"
expect 0 knet_in n1 bgp peer set tor --import "accept 172.16.0.0/12 le 24" --import "accept fd00:9::/64"
eventually 5 via n1 172.16.9.0/24 "via 192.168.77.10"
eventually 5 can_ping far "${POD_IP[n1-p1]}"
eventually 5 can_ping far "${POD_IP[n2-p1]}"
eventually 5 can_ping far "${POD_IP6[n1-p1]}"
ip netns exec "$TAG-n1-p1" timeout 10 python3 -c '
import socket
l = socket.socket(); l.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); l.bind(("", 8080)); l.listen()
c, a = l.accept(); c.sendall(a[0].encode()); c.close()' &
PIDS+=($!)
eventually 3 in_ns n1-p1 sh -c 'ss -tln | grep -q :8080'
seen=$(ip netns exec "$TAG-far" timeout 5 bash -c "exec 3<>/dev/tcp/${POD_IP[n1-p1]}/8080; cat <&3")
[[ $seen == 172.16.9.9 ]] || die "the pod saw '$seen' as its client, not 172.16.9.9"

note "graceful restart: BIRD killed and back, the agent killed and back, stopped and back; floods from outside and inside"
flood_to far "${POD_IP[n1-p1]}"
flood_to n1-p1 172.16.9.9
flood_to n1-p1 "${POD_IP[n2-p1]}"
watch_routes n1
bird_down tor KILL
eventually 5 bgp_is n1 '.peers[] | select(.name == "tor") | .restarting and .stale > 0'
never 1 no_route n1 10.244.77.0/24
bird_up tor -R </dev/null
eventually 20 bird_established tor 2
eventually 10 session n1 192.168.77.10 '.restarting == false and .stale == 0'
unwatch n1
[[ -z $(grep '^Deleted' <<<"$OUT") ]] || { echo "$OUT"; die "routes were taken away while BIRD was restarted"; }
stop_agent n1 KILL
never 1 no_route n1 10.244.77.0/24
[[ -n $(ip -n "$TAG-tor" route show "$sub1") ]] || die "BIRD dropped the node's routes"
start_agents n1
# A second restart before the first is over would cost the routes that were not told again: RFC 4724 section 4.2.
told_again() { bird_established tor 2 && ! bird_says tor 'Neighbor graceful restart active' show protocols all && session n2 192.168.77.1 '.stale == 0'; }
eventually 20 told_again
stop_agent n1
never 1 no_route tor "$sub1"
start_agents n1
eventually 20 bird_established tor 2
none_lost "graceful restart both ways"

note "wrong password, wrong AS: told here, and there"
bird_tcp() { bgp_is n1 '.peers[] | select(.name == "tor") | .state != "established" and (.last_error | length > 0)'; }
expect 0 knet_in n1 bgp peer set tor --password-file "$WORK/wrong.key"
eventually 15 bird_tcp
expect 0 knet_in n1 bgp peer set tor --password-file "$WORK/tor.key"
eventually 20 session n1 192.168.77.10
expect 0 knet_in n1 bgp peer set tor --as 65002
wrong_as() { OUT=$(knet_in n1 bgp peers 2>&1); [[ $? == 3 && $OUT == *"they say 65001, we expect 65002"* ]]; }
eventually 15 wrong_as
expect 0 knet_in n1 bgp peer set tor --as 65001
eventually 20 session n1 192.168.77.10

note "ECMP: two routers tell the same; one goes"
bird_up tor2 < <(
  bird_head 11
  cat <<'BIRD'
protocol static inside { ipv4; route 10.244.77.0/24 blackhole; }
protocol bgp n1 { local 192.168.77.11 as 65001; neighbor 192.168.77.1 as 64512; connect delay time 1; direct;
  ipv4 { import all; export where source = RTS_STATIC; }; }
BIRD
)
expect 0 knet_in n1 bgp peer add 192.168.77.11 --as 65001 --name tor2 --node n1
eventually 15 session n1 192.168.77.11
both() { via n1 10.244.77.0/24 "via 192.168.77.10" && via n1 10.244.77.0/24 "via 192.168.77.11"; }
eventually 5 both || die "$(in_ns n1 ip route)"
expect 0 knet_in n1 bgp routes 10.244.77.0/24
contains multipath
bird_down tor2
alone() { via n1 10.244.77.0/24 "via 192.168.77.10" && ! via n1 10.244.77.0/24 "via 192.168.77.11"; }
eventually 5 alone
expect 0 knet_in n1 bgp peer remove tor2

note "iBGP, next hop self and kept, multihop, as Calico's nodes are set up"
bird_down tor
expect 0 knet_in n1 bgp peer remove tor
eventually 5 no_route n1 10.244.77.0/24
expect 0 knet_in n1 bgp config set --local-pref calico
bird_up tor < <(
  bird_head 10
  cat <<'BIRD'
protocol static inside { ipv4; route 10.244.78.0/26 blackhole; }
filter told { if source = RTS_STATIC then { bgp_local_pref = 2147482623; accept; } reject; }
template bgp bgp_template {
  description "Connection to BGP peer"; local 192.168.77.10 as 64512; multihop; source address 192.168.77.10;
  graceful restart; connect delay time 2; connect retry time 5; error wait time 5, 30;
  ipv4 { import all; export filter told; gateway recursive; add paths on; next hop self ebgp; };
}
protocol bgp Node_1 from bgp_template { neighbor 192.168.77.1 as 64512; }
protocol bgp Node_2 from bgp_template { neighbor 192.168.77.2 as 64512; }
BIRD
)
expect 0 knet_in n1 bgp peer add 192.168.77.10 --as 64512 --name calico
eventually 20 bird_established tor 2
eventually 5 via n1 10.244.78.0/26 "via 192.168.77.10 dev eth0"
eventually 5 bird_sees tor 'BGP.local_pref: 2147482623' "$sub1"
bird_sees tor 'BGP.local_pref: 2147482623' "$sub2" || die "$(bc tor show route all)"
eventually 5 sh -c "ip -n $TAG-tor route show $sub1 | grep -q 'via 192.168.77.1 '"

note "a node leaves: BIRD reads why, and drops its routes at once"
cni DEL n2 p1 >/dev/null
cni DEL n1 p1 >/dev/null
expect 0 knet_in n2 leave --dry-run
contains "would remove  agent, pid ${AGENT[n2]}"
agent_runs n2 || die "a dry run has stopped the agent"
for name in n2 n1; do
  expect 0 knet_in "$name" leave
  contains "removed  agent, pid ${AGENT[$name]}"
  wait "${AGENT[$name]}" || die "the agent of $name was not ended in peace"
done
eventually 2 no_route tor "$sub2"
eventually 2 no_route tor "$sub1"
for name in n1 n2; do
  eventually 2 grep -qF "Node_${name#n}: Received: Administrative shutdown: \"node $name speaks BGP no more\"" "$WORK/tor/bird.log"
done
assert_clean
