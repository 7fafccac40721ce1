#!/usr/bin/env bash
# Reflectors in two levels, as knet-bgp(1) has it: t1, t2 at the top serve the racks' reflectors mid1, mid2, and those their racks'
# nodes a1, b1, all by selectors on labels. Every pod reaches every other one; cluster lists and originators as RFC 4456 has them;
# one of the top away.
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/bgp-lib"

switch sw
names=(t1 t2 mid1 mid2 a1 b1)
for i in "${!names[@]}"; do node "${names[i]}" $((i + 1)); done
init --network 10.244.0.0/16 --mode bgp
# All is said before a node is there.
for t in t1 t2; do expect 0 knet_in t1 node set $t --reflector 1.0.0.1 --no-pods --clients "role == 'rack-reflector'"; done
expect 0 knet_in t1 node set mid1 --reflector 1.0.1.1 --label role=rack-reflector --clients "rack == 'a' && !has(role)"
expect 0 knet_in t1 node set mid2 --reflector 1.0.1.2 --label role=rack-reflector --clients "rack == 'b' && !has(role)"
expect 0 knet_in t1 node set a1 --label rack=a
expect 0 knet_in t1 node set b1 --label rack=b
expect 0 knet_in t1 bgp config set --mesh off
for n in "${names[@]}"; do start_agent $n; done
for n in t1 t2 mid1 mid2; do eventually 10 sessions $n 3; done
for n in a1 b1; do eventually 10 sessions $n 1; done
pods=()
for n in mid1 mid2 a1 b1; do pod $n p; pods+=("$n-p"); done
eventually 5 matrix "${pods[@]}"

note "who heard what from whom"
bgp_is t1 '[.peers[].type] | sort == ["client", "client", "mesh"] or (sort | index("reflector") != null)' || die "$(knet_in t1 bgp peers)"
sub=$(subnet_of b1)
bgp_route a1 "$sub" 'length == 1 and (.[0] | .best and .peer == "mid1" and .next_hop == "192.168.77.6" and .originator_id == "192.168.77.6" and
  .cluster_list == ["1.0.1.1", "1.0.0.1", "1.0.1.2"])' || die "$(knet_in a1 bgp routes "$sub" -o json)"
bgp_route mid1 "$sub" 'length == 2 and all(.[]; .cluster_list == ["1.0.0.1", "1.0.1.2"])' || die "$(knet_in mid1 bgp routes "$sub" -o json)"
# t1 and t2 share a cluster id: what one reflects is a loop to the other.
bgp_route t1 "$sub" '[.[] | select(.best)] | length == 1 and .[0].peer == "mid2" and .[0].cluster_list == ["1.0.1.2"]' || die "$(knet_in t1 bgp routes "$sub" -o json)"
for n in mid1 mid2 a1 b1; do [[ $(in_ns $n ip route show proto 107 | grep -c via) == 3 ]] || die "$n: $(in_ns $n ip route)"; done
for t in t1 t2; do [[ -z $(in_ns $t ip route show proto 107) ]] || die "$t has routes"; done

note "one of the top is killed, a rack's reflector restarted"
flood_to a1-p "${POD_IP[b1-p]}"
flood_to mid1-p "${POD_IP[b1-p]}"
flood_to b1-p "${POD_IP[mid2-p]}"
stop_agent t1 KILL
eventually 5 bgp_is mid1 '[.peers[] | select(.state == "established")] | length == 2'
never 1 no_route a1 "$sub"
stop_agent mid1 KILL
start_agents mid1
eventually 10 session a1 192.168.77.3
never 1 no_route a1 "$sub"
start_agent t1
eventually 10 sessions t1 3
none_lost "hierarchy"
matrix "${pods[@]}" || die "the matrix afterwards"
for n in mid1 mid2 a1 b1; do cni DEL $n p >/dev/null; done
assert_clean
