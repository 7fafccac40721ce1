#!/usr/bin/env bash
# The node's address stands on one device, peers are reached over another (BGP to the host, several uplinks): the tunnel's
# packets go by the route, in every datapath, and come back.
#
#   n1 host0 10.9.9.1/32                n2 host0 10.9.9.2/32
#      eth0 192.168.77.1 ── sw ── eth0 192.168.77.2         10.9.9.2 via 192.168.77.2, and back
source "$(dirname "$0")/lib.sh"
[[ -c /dev/net/tun ]] || { echo "skip: no /dev/net/tun"; exit 77; }

switch sw
node n1 1; node n2 2
for n in 1 2; do
  o=$((3 - n))
  in_ns n$n ip link add host0 type veth peer name host1
  in_ns n$n ip link set host0 up
  in_ns n$n ip link set host1 up
  in_ns n$n ip addr add 10.9.9.$n/32 dev host0
  in_ns n$n ip addr add fd00:9::$n/128 dev host0 nodad
  in_ns n$n ip route add 10.9.9.$o/32 via 192.168.77.$o src 10.9.9.$n
  in_ns n$n ip -6 route add fd00:9::$o/128 via fd00:77::$o src fd00:9::$n
done
for mode in udp ipip; do
  for path in bpf user; do
    STORE=sqlite://$WORK/$mode-$path.db
    init --network 10.244.0.0/16 --network6 fd00:244::/48 --mode $mode --opt Datapath=$path >/dev/null
    expect 0 knet_in n1 mode list
    if [[ $path == bpf ]] && ! grep -Eq "^$mode.*yes, bpf" <<<"$OUT"; then note "no BPF tunnels here: user alone"; continue; fi
    for n in n1 n2; do start_agent $n --iface host0; done
    for n in n1 n2; do eventually 5 agent_ready $n; done
    pod n1 $mode-$path; pod n2 $mode-$path
    p=n1-$mode-$path q=n2-$mode-$path
    note "$mode by $path"
    eventually 5 can_ping $p "${POD_IP[$q]}"
    eventually 5 can_ping $p "${POD_IP6[$q]}"
    can_ping $q "${POD_IP[$p]}" || die "back"
    can_ping $p "${POD_IP[$q]}" -s 4000 || die "fragments"
    tcp_stream $p $q "${POD_IP[$q]}" 20
    tcp_stream $q $p "${POD_IP6[$p]}" 20
    note "$mode by $path: no way to the peer, and again one"
    in_ns n1 ip route del 10.9.9.2/32
    in_ns n1 ip route add unreachable 10.9.9.2/32
    can_ping $p "${POD_IP[$q]}" && die "a ping without a way"
    in_ns n1 ip route del unreachable 10.9.9.2/32
    in_ns n1 ip route add 10.9.9.2/32 via 192.168.77.2 src 10.9.9.1
    eventually 3 can_ping $p "${POD_IP[$q]}"
    assert_clean
  done
done
