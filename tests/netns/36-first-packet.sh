#!/usr/bin/env bash
# The first packet of a new pod, IPv6 and IPv4, to another new pod: answered within 50 ms, on one node and across; no wait for
# duplicate address detection or for a neighbour.
source "$(dirname "$0")/lib.sh"

switch sw
node n1 1; node n2 2
init --network 10.244.0.0/16 --network6 fd00:244::/48
start_agents n1 n2
pod n1 warm; pod n2 warm
eventually 2 can_ping n1-warm "${POD_IP6[n2-warm]}"
first() { # FROM ADDRESS: ms of the first ping
  in_ns "$1" ping -n -c 1 -W 3 "$2" | sed -n 's/.* time=\([0-9.]*\) ms/\1/p'
}
for i in 1 2 3; do
  for to in n2 n1; do
    from=n1-a$i$to target=$to-b$i$to
    pod n1 a$i$to; pod $to b$i$to
    in_ns "$from" ip -6 addr show dev eth0 | found tentative && die "an address is tentative"
    ms6=$(first "$from" "${POD_IP6[$target]}")
    ms4=$(first "$from" "${POD_IP[$target]}")
    note "n1 to $to: IPv6 ${ms6:-no answer} ms, IPv4 ${ms4:-no answer} ms"
    for ms in "$ms6" "$ms4"; do
      awk -v ms="${ms:-9999}" 'BEGIN { exit !(ms <= 50) }' || die "the first packet took ${ms:-for ever}"
    done
  done
done
assert_clean
