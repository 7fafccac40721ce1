#!/usr/bin/env bash
# knet and flannel's flanneld in one cluster over etcd, both ways, in vxlan and host-gw (udp-flannel.sh is about udp,
# netns/69-flannel-tunnels.sh about ipip and wireguard): each reads the other's lease, as it comes and as it changes; pings, packets
# at the MTU, TCP streams compared by digest, the underlay's offloads on and off; who leaves is forgotten.
# timeout: 180
source "$(dirname "$0")/../netns/lib.sh"
source "$(dirname "$0")/../netns/flannel-lib"
find_flanneld
[[ -n $FLANNELD ]] || { echo "skip: $NO_FLANNELD"; exit 77; }
for tool in python3 ethtool bridge; do command -v $tool >/dev/null || { echo "skip: needs $tool"; exit 77; }; done

switch sw
node n1 1
other_node
etcd_up
note "vxlan, flanneld $(flanneld_version)"
meet vxlan "$(config4 '{"Type":"vxlan"}')" 1450 0 vxlan_met 1
note "vxlan in dual stack, another VNI and port"
meet vxlan "$(config46 '{"Type":"vxlan","VNI":7,"Port":4789}')" 1450 1430 vxlan_met 7
note "vxlan with DirectRouting"
meet vxlan "$(config46 '{"Type":"vxlan","DirectRouting":true}')" 1450 1430 plain_met vxlan
note "host-gw in dual stack"
meet host-gw "$(config46 '{"Type":"host-gw"}')" 1500 1500 plain_met host-gw
