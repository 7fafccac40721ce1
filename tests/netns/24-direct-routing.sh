#!/usr/bin/env bash
# vxlan with DirectRouting over two segments: plain routes inside a segment, vxlan across the router; and host-gw there names
# the peers it can't reach and serves the others.
#
#   n1 .1, n2 .2 ── sw 192.168.77.0/24 ── r ── sw2 192.168.78.0/24 ── n3 .3
source "$(dirname "$0")/lib.sh"

switch sw; switch sw2
router r sw 77 sw2 78
node n1 1 sw; node n2 2 sw; node n3 3 sw2
init --network 10.244.0.0/16 --network6 fd00:244::/48 --opt DirectRouting=true
start_agents n1 n2 n3
pod n1 p1; pod n2 p1; pod n3 p1

eventually 2 in_ns n1 sh -c "ip route show $(subnet_of n2) | grep -q 'via 192.168.77.2 dev eth0 proto 107'"
eventually 2 in_ns n1 sh -c "ip -6 route show $(subnet6_of n2) | grep -q 'via fd00:77::2 dev eth0 proto 107'"
eventually 2 in_ns n1 sh -c "ip route show $(subnet_of n3) | grep -q 'dev knet.1 proto 107 onlink'"
eventually 2 in_ns n1 sh -c "ip -6 route show $(subnet6_of n3) | grep -q 'dev knet6.1 proto 107'"
for to in n2-p1 n3-p1; do
  eventually 2 can_ping n1-p1 "${POD_IP[$to]}"
  eventually 2 can_ping n1-p1 "${POD_IP6[$to]}"
  can_ping n1-p1 "${POD_IP[$to]}" -M do -s $((1450 - 28)) || die "DF at the pods' MTU to $to"
done
note "on the wire: no vxlan between neighbours"
in_ns sw nft -f - <<'NFT'
table bridge count {
  chain forward { type filter hook forward priority 0;
    iifname "n1" oifname "n2" udp dport 8472 counter comment "vxlan-near"
    iifname "n1" oifname "reth0" udp dport 8472 counter comment "vxlan-far"
  }
}
NFT
can_ping n1-p1 "${POD_IP[n2-p1]}"; can_ping n1-p1 "${POD_IP[n3-p1]}"
counted() { in_ns sw nft list table bridge count | grep "$1" | grep -oP 'packets \K[0-9]+'; }
[[ $(counted vxlan-near) == 0 ]] || die "vxlan between neighbours"
[[ $(counted vxlan-far) -ge 1 ]] || die "no vxlan across the router"
assert_clean

note "host-gw over the same segments"
STORE=sqlite://$WORK/host-gw.db
init --network 10.244.0.0/16 --mode host-gw
start_agent n1; start_agent n2; start_agent n3
for name in n1 n2 n3; do eventually 5 test -s "$WORK/$name/run/subnet.env"; done
pod n1 q1; pod n2 q1
eventually 3 can_ping n1-q1 "${POD_IP[n2-q1]}"
eventually 3 status_says n1 '.notices | map(test("n3")) | any'
knet_in n1 status || true
assert_clean
