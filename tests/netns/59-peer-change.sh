#!/usr/bin/env bash
# A peer whose address changes, and a peer that leaves, for udp and ipip through BPF and through userspace, in both families: the
# others follow within seconds, and what comes from the old address, or from the node that left, is dropped and counted from
# then on, though it is packed as before. The address that was left belongs to a stranger meanwhile.
# wireguard's are in 63-wireguard, those of the kernel's ipip in 62-ipip-kernel.
# timeout: 180
source "$(dirname "$0")/lib.sh"
command -v python3 >/dev/null || { echo "skip: needs python3"; exit 77; }

metric() { # NODE: packets that its tunnel dropped, for whatever reason; told anew every 5 s
  in_ns "$1" python3 -c 'import urllib.request
lines = urllib.request.urlopen("http://127.0.0.1:9099/metrics").read().decode().splitlines()
print(sum(int(x.split()[-1]) for x in lines if "tunnel_dropped_packets" in x and x[0] != "#"))'
}
dropped_more_than() { [[ $(metric "$1") -gt $2 ]]; }  # NODE COUNT
# The echo requests that a pod took, of both families.
echoes() {
  in_ns "$1" awk '
    FILENAME ~ /snmp6$/ { if ($1 == "Icmp6InEchos") n += $2; next }
    $1 == "Icmp:" && !at { for (i = 2; i <= NF; i++) if ($i == "InEchos") at = i; next }
    $1 == "Icmp:" { n += $at }
    END { print n + 0 }' /proc/net/snmp /proc/net/snmp6
}
heard() { [[ $(echoes "$1") -eq $2 ]]; }  # POD COUNT
# throw FROM 4|6 OUTER-SOURCE POD-THAT-IT-SAYS-IT-IS: an echo request for n1's pod, packed as the tunnel does, to n1
throw() {
  local from=$1 family=$2 source=$3 as=$4
  if [[ $family == 4 ]]; then
    in_ns "$from" "$KNET_SOURCE/tests/netns/inner-packet" "$WIRE" "$source" 192.168.77.1 "${POD_IP[$as]}" "${POD_IP[n1-$POD]}"
  else
    in_ns "$from" "$KNET_SOURCE/tests/netns/inner-packet" "$WIRE" "$source" fd00:77::1 "${POD_IP6[$as]}" "${POD_IP6[n1-$POD]}"
  fi
}
# taken FROM ADDRESS4 ADDRESS6 POD: it reaches n1's pod, in either family
taken() {
  local had
  had=$(echoes "n1-$POD")
  throw "$1" 4 "$2" "$4"
  eventually 2 heard "n1-$POD" $((had + 1))
  throw "$1" 6 "$3" "$4"
  eventually 2 heard "n1-$POD" $((had + 2))
}
# refused FROM ADDRESS4 ADDRESS6 POD: none of it reaches n1's pod, all of it is counted as dropped
refused() {
  local had dropped
  had=$(echoes "n1-$POD") dropped=$(metric n1)
  local n
  for n in 1 2 3; do throw "$1" 4 "$2" "$4"; throw "$1" 6 "$3" "$4"; done
  eventually 8 dropped_more_than n1 $((dropped + 5))  || die "$WIRE $DATAPATH: dropped $dropped before, $(metric n1) now"
  [[ $(echoes "n1-$POD") -eq $had ]] || die "$WIRE $DATAPATH: a packet from $2 or $3 reached the pod"
}
ping_ways() { # A B: pods, both ways, both families
  can_ping "$1" "${POD_IP[$2]}" && can_ping "$2" "${POD_IP[$1]}" && can_ping "$1" "${POD_IP6[$2]}" && can_ping "$2" "${POD_IP6[$1]}"
}
unreachable() { ! can_ping "$1" "${POD_IP[$2]}" && ! can_ping "$1" "${POD_IP6[$2]}"; }  # POD POD
move() { # NAMESPACE FROM-NUMBER TO-NUMBER
  local n
  ip -n "$TAG-$1" addr del "192.168.77.$2/24" dev eth0
  ip -n "$TAG-$1" addr del "fd00:77::$2/64" dev eth0
  underlay "$1" "$3"
  # Who takes an address announces it on the link; here the others forget who had it.
  for n in n1 n2 n3; do ip -n "$TAG-$n" neigh flush dev eth0; done
}

trial() { # udp|ipip bpf|user
  WIRE=$1 DATAPATH=$2 POD=$1$2
  local n start
  STORE=sqlite://$WORK/$POD.db
  init --network 10.244.0.0/16 --network6 fd00:244::/56 --mode "$WIRE" --opt Datapath="$DATAPATH" >/dev/null
  expect 0 knet_in n1 mode list
  if ! grep -Eq "^$WIRE.*yes, $DATAPATH" <<<"$OUT"; then echo "NOT TESTED: $WIRE through $DATAPATH does not run here"; return; fi
  note "$WIRE, $DATAPATH"
  for n in n1 n2 n3; do
    mkdir -p "$WORK/$n"
    start_agent $n --listen 127.0.0.1:9099
  done
  for n in n1 n2 n3; do eventually 5 agent_ready $n; pod $n "$POD"; done
  eventually 5 ping_ways "n1-$POD" "n2-$POD"
  eventually 5 ping_ways "n1-$POD" "n3-$POD"
  # What the test packs itself is taken as long as it comes from where it may.
  taken n2 192.168.77.2 fd00:77::2 "n2-$POD"
  taken n3 192.168.77.3 fd00:77::3 "n3-$POD"

  move n2 2 22
  now_ms
  start=$NOW
  eventually 5 ping_ways "n1-$POD" "n2-$POD"
  now_ms
  echo "another address: followed in $((NOW - start)) ms"
  eventually 5 ping_ways "n3-$POD" "n2-$POD"
  taken n2 192.168.77.22 fd00:77::22 "n2-$POD"
  move stranger 66 2
  refused stranger 192.168.77.2 fd00:77::2 "n2-$POD"
  can_ping "n1-$POD" "${POD_IP[n2-$POD]}" || die "the old address's packets led n1 astray"
  move stranger 2 66
  move n2 22 2
  eventually 5 ping_ways "n1-$POD" "n2-$POD"
  taken n2 192.168.77.2 fd00:77::2 "n2-$POD"

  stop_agent n3
  knet_in n3 leave >/dev/null
  now_ms
  start=$NOW
  left() { knet_in n1 node list -o json | jq -e '[.nodes[].name] | index("n3") | not' >/dev/null && unreachable "n1-$POD" "n3-$POD"; }
  eventually 5 left
  now_ms
  echo "a node that leaves: gone in $((NOW - start)) ms"
  refused n3 192.168.77.3 fd00:77::3 "n3-$POD"
  ping_ways "n1-$POD" "n2-$POD" || die "the others"
  assert_clean
}

switch sw
node n1 1; node n2 2; node n3 3
new_ns stranger
nic stranger eth0 stranger sw
underlay stranger 66
for wire in udp ipip; do
  for datapath in bpf user; do trial $wire $datapath; done
done
