#!/usr/bin/env bash
# vxlan in dual stack and on IPv6 alone: a device for each family, each with its own MTU, held by packets that may not be
# fragmented; nodes without IPv4 get distinct subnets and keep them.
source "$(dirname "$0")/lib.sh"

switch sw
node n1 1; node n2 2
init --network 10.244.0.0/16 --network6 fd00:244::/48
start_agents n1 n2
pod n1 p1; pod n2 p1

note "two devices, each with what its family's headers leave"
[[ $(in_ns n1 cat /sys/class/net/knet.1/mtu) == 1450 ]] || die "MTU of knet.1"
[[ $(in_ns n1 cat /sys/class/net/knet6.1/mtu) == 1430 ]] || die "MTU of knet6.1"
in_ns n1 ip -d link show knet6.1 | found 'vxlan id 1 local fd00:77::1 dev eth0 .*dstport 8472 nolearning' || die "knet6.1"
found '^FLANNEL_IPV6_SUBNET=' "$WORK/n1/run/subnet.env" || die "subnet.env"
eventually 2 can_ping n1-p1 "${POD_IP[n2-p1]}"
eventually 2 can_ping n1-p1 "${POD_IP6[n2-p1]}"
can_ping n1-p1 "${POD_IP[n2-p1]}" -M do -s $((1450 - 28)) || die "IPv4, DF, 1450"
can_ping n1-p1 "${POD_IP6[n2-p1]}" -M do -s $((1430 - 48)) || die "IPv6, 1430"
can_ping n1-p1 "${POD_IP[n2-p1]}" -M do -s $((1451 - 28)) && die "1451 must not pass unfragmented"
can_ping n1-p1 "${POD_IP6[n2-p1]}" -M do -s $((1431 - 48)) && die "IPv6, 1431 must not pass unfragmented"
assert_clean

note "IPv6 alone: vxlan, then host-gw"
for mode in vxlan host-gw; do
  STORE=sqlite://$WORK/only6-$mode.db
  for name in n1 n2; do in_ns $name ip -4 addr flush dev eth0; done
  init --network6 fd00:245::/48 --mode $mode
  start_agents n1 n2
  pod n1 $mode; pod n2 $mode
  one=$(subnet6_of n1) two=$(subnet6_of n2)
  [[ -n $one && -n $two && $one != "$two" ]] || die "subnets '$one' and '$two'"
  [[ -z ${POD_IP[n1-$mode]} ]] || die "an IPv4 address where there is no IPv4"
  eventually 2 can_ping n1-$mode "${POD_IP6[n2-$mode]}"
  mtu=$([[ $mode == vxlan ]] && echo 1430 || echo 1500)
  [[ $(in_ns n1-$mode cat /sys/class/net/eth0/mtu) == "$mtu" ]] || die "pod MTU in $mode"
  can_ping n1-$mode "${POD_IP6[n2-$mode]}" -M do -s $((mtu - 48)) || die "$mode: $mtu bytes"
  stop_agent n1; start_agents n1
  [[ $(subnet6_of n1) == "$one" ]] || die "another subnet after a restart"
  assert_clean
done
