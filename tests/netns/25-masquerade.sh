#!/usr/bin/env bash
# What a listener outside sees as the source: the node's address with masquerade on, the pod's with it off; inside the cluster
# always the pod's own; and what another tool marked for its own masquerade is left to it.
source "$(dirname "$0")/lib.sh"

switch sw
node n1 1; node n2 2
new_ns out
nic out eth0 out sw
ip -n "$TAG-out" addr add 192.168.77.200/24 dev eth0
ip -n "$TAG-out" addr add fd00:77::200/64 dev eth0 nodad
ip -n "$TAG-out" route add default via 192.168.77.1
ip -n "$TAG-out" -6 route add default via fd00:77::1

# The source of the next ping that NAME gets, as its own kernel counts it.
sees() { # NAME FAMILY SOURCE: did it get an echo request from this source?
  in_ns "$1" nft list table inet witness | found "$2 saddr $3 .*packets [1-9]"
}
watch_for() { # NAME FAMILY SOURCE...
  local name=$1 family=$2 source
  shift 2
  in_ns "$name" nft "add table inet witness; delete table inet witness; add table inet witness
    add chain inet witness input { type filter hook input priority 0; }"
  for source in "$@"; do in_ns "$name" nft add rule inet witness input "$family" saddr "$source" counter; done
}
for masquerade in on off; do
  STORE=sqlite://$WORK/$masquerade.db
  flags=()
  [[ $masquerade == on ]] || flags=(--no-masquerade)
  init --network 10.244.0.0/16 --network6 fd00:244::/48 "${flags[@]}"
  start_agents n1 n2
  pod n1 $masquerade; pod n2 $masquerade
  eventually 2 can_ping n1-$masquerade "${POD_IP[n2-$masquerade]}"
  eventually 2 can_ping n1-$masquerade "${POD_IP6[n2-$masquerade]}"
  pod4=${POD_IP[n1-$masquerade]} pod6=${POD_IP6[n1-$masquerade]}

  watch_for out ip 192.168.77.1 "$pod4"
  can_ping n1-$masquerade 192.168.77.200 || die "no answer from outside"
  [[ $masquerade == on ]] && want=192.168.77.1 other=$pod4 || { want=$pod4; other=192.168.77.1; }
  sees out ip "$want" || die "masquerade $masquerade: outside did not see $want"
  sees out ip "$other" && die "masquerade $masquerade: outside saw $other"

  watch_for out ip6 fd00:77::1 "$pod6"
  can_ping n1-$masquerade fd00:77::200 || die "no answer from outside over IPv6"
  [[ $masquerade == on ]] && want=fd00:77::1 other=$pod6 || { want=$pod6; other=fd00:77::1; }
  sees out ip6 "$want" || die "masquerade $masquerade: outside did not see $want"
  sees out ip6 "$other" && die "masquerade $masquerade: outside saw $other"

  note "inside the cluster the pod's own address"
  watch_for n2-$masquerade ip "$pod4" 192.168.77.1
  can_ping n1-$masquerade "${POD_IP[n2-$masquerade]}"
  sees n2-$masquerade ip "$pod4" || die "the peer pod did not see the pod's address"
  watch_for n2-$masquerade ip6 "$pod6" fd00:77::1
  can_ping n1-$masquerade "${POD_IP6[n2-$masquerade]}"
  sees n2-$masquerade ip6 "$pod6" || die "the peer pod did not see the pod's IPv6 address"
  assert_clean
done
