#!/usr/bin/env bash
# Mode bgp, three nodes in a mesh, dual stack over etcd: routes as the kernel has them, repair, agents killed and restarted under
# floods without a lost packet or a route that goes and comes, the store away, a node that leaves.
# timeout: 180
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/bgp-lib"

switch sw
for n in 1 2 3; do node n$n $n; done
etcd_up
init --network 10.244.0.0/16 --network6 fd00:244::/48 --mode bgp
start_agents n1 n2 n3
for n in 1 2 3; do eventually 10 sessions n$n 2; done
for n in 1 2 3; do pod n$n p1; done
pods=(n1-p1 n2-p1 n3-p1)
sub2=$(subnet_of n2) sub3=$(subnet_of n3) six2=$(subnet6_of n2)

note "the matrix, routes of ours, no tunnel"
eventually 5 matrix "${pods[@]}"
via n1 "$sub2" "via 192.168.77.2 dev eth0" || die "$(in_ns n1 ip route)"
via n1 "$sub3" "via 192.168.77.3 dev eth0" || die "$(in_ns n1 ip route)"
via6 n1 "$six2" "via fd00:77::2 dev eth0" || die "$(in_ns n1 ip -6 route)"
for n in 1 2 3; do
  in_ns n$n ip route show proto 107 | found "^blackhole $(subnet_of n$n)" || die "n$n has no blackhole for its own subnet"
  [[ $(in_ns n$n ip route show proto 107 | grep -c via) == 2 ]] || die "n$n's routes: $(in_ns n$n ip route)"
  no_tunnels n$n || die "n$n has a tunnel device: $(in_ns n$n ip -br link)"
done
[[ $(in_ns n1-p1 cat /sys/class/net/eth0/mtu) == 1500 ]] || die "a pod's MTU is not the underlay's"
can_ping n1-p1 "${POD_IP[n2-p1]}" -M do -s 1472 || die "1500 bytes, DF"
expect 0 knet_in n1 bgp peers
contains "2 peers: 2 established"
bgp_route n1 "$sub2" '.[0] | .best and .next_hop == "192.168.77.2" and .as_path == "" and .origin == "igp" and .local_pref == 100' ||
  die "$(knet_in n1 bgp routes "$sub2" -o json)"
expect 0 knet_in n1 route show
contains "$sub2"

note "repair"
want=$(ours n1)
repaired "a deleted route" n1 "$want" "ip route del $sub2"
repaired "a changed route" n1 "$want" "ip route replace $sub2 via 192.168.77.3 proto 107"
repaired "the blackhole" n1 "$want" "ip route del blackhole $(subnet_of n1)"
repaired "an IPv6 route" n1 "$want" "ip -6 route del $six2"

flood_to n1-p1 "${POD_IP[n2-p1]}"
flood_to n2-p1 "${POD_IP[n3-p1]}"
flood_to n3-p1 "${POD_IP6[n1-p1]}"
back() { eventually 10 sessions n1 2; eventually 10 sessions n2 2; eventually 10 sessions n3 2; }

note "kill -9, restart, stop and restart: no route goes or comes at a peer, nor at the node itself"
watch_routes n1
stop_agent n2 KILL
never 1 no_route n1 "$sub2"
start_agents n2
back
stop_agent n2
never 1 no_route n1 "$sub2"
start_agents n2
back
unwatch n1
[[ -z $OUT ]] || { echo "$OUT"; die "routes of n1 were touched while n2 was restarted"; }
watch_routes n1
stop_agent n1 KILL; start_agents n1
back
stop_agent n1; start_agents n1
back
unwatch n1
[[ -z $OUT ]] || { echo "$OUT"; die "routes of n1 were touched by its own restarts"; }
[[ $(ours n1) == "$want" ]] || { diff <(echo "$want") <(ours n1); die "not as before"; }

note "the store away: sessions stand, and an agent comes back from its cached view"
before=$(since n1)
etcd_down KILL
for n in 1 2 3; do eventually 15 status_says n$n '.store.connected == false'; done
[[ $(since n1) == "$before" ]] || die "sessions did not live on without the store"
stop_agent n2 KILL
start_agent n2
eventually 10 session n1 192.168.77.2
eventually 10 session n2 192.168.77.3
etcd_up
for n in 1 2 3; do eventually 15 status_says n$n '.store.connected and .ready'; done
back
none_lost "all that"
matrix "${pods[@]}" || die "the matrix afterwards"
[[ $(ours n1) == "$want" ]] || { diff <(echo "$want") <(ours n1); die "not as before"; }

note "a node leaves"
cni DEL n3 p1 >/dev/null
stop_agent n3
expect 0 knet_in n3 leave
for n in 1 2; do
  eventually 3 no_route n$n "$sub3"
  eventually 3 sessions n$n 1
done
matrix n1-p1 n2-p1 || die "the others"
expect 0 knet_in n1 bgp peers
lacks 192.168.77.3
cni DEL n1 p1 >/dev/null; cni DEL n2 p1 >/dev/null
assert_clean
