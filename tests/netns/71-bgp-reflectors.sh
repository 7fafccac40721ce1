#!/usr/bin/env bash
# Under floods of pings: from the mesh to two route reflectors (one of them runs no pods) and back; sessions that both have live on;
# reflectors are killed, stopped and restarted. Dynamic neighbours of a reflector. No packet is lost.
# timeout: 180
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/bgp-lib"

switch sw
for n in 1 2 3 4; do node n$n $n; done
init --network 10.244.0.0/16 --mode bgp
start_agents n1 n2 n3
start_agent n4 --no-pods
for n in 1 2 3 4; do eventually 10 sessions n$n 3; done
for n in 1 2 3; do pod n$n p1; done
pods=(n1-p1 n2-p1 n3-p1)
eventually 5 matrix "${pods[@]}"
sub2=$(subnet_of n2)

note "one that runs no pods: no subnet, no route of ours"
[[ -z $(in_ns n4 ip route show proto 107) ]] || die "$(in_ns n4 ip route)"
[[ ! -e $WORK/n4/run/subnet.env ]] || die "n4 has a subnet"
no_tunnels n4 || die "a device"

floods() {
  flood_to n1-p1 "${POD_IP[n2-p1]}"
  flood_to n2-p1 "${POD_IP[n3-p1]}"
  flood_to n3-p1 "${POD_IP[n1-p1]}"
}
floods
watch_routes n1

note "from the mesh to reflectors n3 and n4"
before=$(since n1 192.168.77.3 192.168.77.4)
[[ $(wc -l <<<"$before") == 2 ]] || die "sessions of n1: $before"
expect 1 knet_in n1 bgp config set --mesh off  # nobody would serve anybody
for n in n3 n4; do expect 0 knet_in n1 node set $n --reflector 1.0.0.1; done
# While the mesh is on they reflect already: the same route by three ways.
eventually 5 bgp_route n1 "$sub2" 'length == 3'
expect 0 knet_in n1 bgp config set --mesh off
for n in n1 n2; do eventually 5 sessions $n 2; done
for n in n3 n4; do eventually 5 sessions $n 3; done
[[ $(since n1) == "$before" ]] || { echo "$before"; since n1; die "the sessions with the reflectors did not live on"; }
eventually 3 bgp_route n1 "$sub2" 'length == 2 and all(.[]; .next_hop == "192.168.77.2" and .originator_id == "192.168.77.2" and
  .cluster_list == ["1.0.0.1"])' || die "$(knet_in n1 bgp routes "$sub2" -o json)"
via n1 "$sub2" "via 192.168.77.2 dev eth0" || die "the next hop must be kept: $(in_ns n1 ip route)"
unwatch n1
[[ -z $OUT ]] || { echo "$OUT"; die "routes of n1 were touched by the change"; }
expect 0 knet_in n3 bgp peers
contains "reflector of cluster 1.0.0.1"

note "each reflector killed, stopped, away for a while and back"
stop_agent n3 KILL
never 1 no_route n1 "$sub2"
start_agents n3
eventually 10 sessions n3 3
stop_agent n4
never 1 no_route n1 "$sub2"
start_agent n4 --no-pods
eventually 10 sessions n4 3
eventually 5 sessions n1 2
[[ -z $(in_ns n4 ip route show proto 107) ]] || die "n4 has routes: $(in_ns n4 ip route)"
none_lost "reflectors"

if command -v bird >/dev/null; then
  note "dynamic neighbours by prefix, as clients of a reflector"
  host b1 200; host b2 201
  expect 0 knet_in n1 bgp peer add 192.168.77.192/26 --as 64512 --client --node n4 --name racks
  for b in 200 201; do
    bird_up b$((b - 199)) <<BIRD
router id 192.168.77.$b;
protocol device { }
protocol direct { ipv4; }
protocol kernel { ipv4 { import none; export where source = RTS_BGP; }; }
protocol static { ipv4; route 10.244.$b.0/24 blackhole; }
protocol bgp n4 {
  local 192.168.77.$b as 64512; neighbor 192.168.77.4 as 64512; connect delay time 1;
  ipv4 { import all; export where source = RTS_STATIC; };
}
BIRD
  done
  eventually 10 sessions n4 5
  bgp_is n4 '[.peers[] | select(.dynamic)] | length == 2' || die "$(knet_in n4 bgp peers)"
  eventually 5 via n1 10.244.200.0/24 "via 192.168.77.200 dev eth0"
  eventually 5 via n2 10.244.201.0/24 "via 192.168.77.201 dev eth0"
  eventually 5 bird_sees b1 'BGP.cluster_list: 1.0.0.1' 10.244.201.0/24
  bird_sees b1 'BGP.originator_id: 192.168.77.2$' "$sub2" || die "$(bc b1 show route all)"
  bird_down b1
  eventually 5 no_route n1 10.244.200.0/24
  expect 0 knet_in n1 bgp peer remove racks
  eventually 5 no_route n1 10.244.201.0/24
  bird_down b2
else
  echo "NOT TESTED: dynamic neighbours, as bird is not installed"
fi

note "back to the mesh"
floods
before=$(since n1)
expect 0 knet_in n1 bgp config set --mesh on
for n in 1 2 3 4; do eventually 8 sessions n$n 3; done
for n in n3 n4; do expect 0 knet_in n1 node set $n --no-reflector; done
eventually 5 bgp_route n1 "$sub2" 'length == 1 and .[0].originator_id == null'
[[ $(since n1 192.168.77.3 192.168.77.4) == "$before" ]] || die "sessions were lost on the way back"
none_lost "back"
matrix "${pods[@]}" || die "the matrix afterwards"
for n in 1 2 3; do cni DEL n$n p1 >/dev/null; done
assert_clean
