#!/usr/bin/env bash
# knet and flannel's flanneld in one cluster over etcd, both ways, in ipip (with each of knet's datapaths) and wireguard, for which
# flanneld needs the kernel's drivers. What is tried is what interop/flannel-modes.sh tries in vxlan and host-gw.
# guest: always
# timeout: 240
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/flannel-lib"
find_flanneld
[[ -n $FLANNELD ]] || { echo "skip: $NO_FLANNELD"; exit 77; }
for tool in python3 ethtool bridge; do command -v $tool >/dev/null || { echo "skip: needs $tool"; exit 77; }; done

switch sw
drivers=
for type in "ipip local 127.0.0.1" wireguard; do
  if in_ns sw ip link add probe0 type $type 2>/dev/null; then
    in_ns sw ip link del probe0
    drivers+=" $type"
  fi
done
[[ -n $drivers ]] || { echo "skip: this kernel has neither an ipip nor a wireguard driver"; exit 77; }
node n1 1
other_node
etcd_up

# On a slow machine both states of the offloads only for what is not the kernel's at both ends.
few=$OFFLOADS
[[ $KNET_SLOW -eq 1 ]] || few=on
if [[ $drivers == *ipip* ]]; then
  note "ipip, the kernel's at both ends, flanneld $(flanneld_version)"
  OFFLOADS=$few meet ipip "$(config4 '{"Type":"ipip"}')" 1480 0 ipip_met
  for datapath in bpf user; do
    config=$(config4 '{"Type":"ipip","Datapath":"'$datapath'"}')
    etcdctl put "$PREFIX/config" "$config" >/dev/null
    expect 0 knet_in n1 mode list
    if ! grep -Eq "^ipip .*yes, $datapath" <<<"$OUT"; then note "ipip with Datapath $datapath does not run here"; continue; fi
    note "ipip, knet's Datapath $datapath"
    meet ipip "$config" 1480 0 ipip_met
  done
  note "ipip with DirectRouting"
  OFFLOADS=$few meet ipip "$(config4 '{"Type":"ipip","DirectRouting":true}')" 1480 0 plain_met ipip
else
  echo "PART SKIPPED: this kernel has no ipip driver"
fi

if [[ $drivers != *wireguard* ]]; then
  echo "PART SKIPPED: this kernel has no wireguard driver"
elif ! command -v wg >/dev/null; then
  echo "PART SKIPPED: wg is not installed (wireguard-tools)"
else
  note "wireguard in dual stack, a device for each family"
  OFFLOADS=$few meet wireguard "$(config46 '{"Type":"wireguard","PersistentKeepaliveInterval":25}')" 1420 1420 wireguard_met separate
  note "wireguard in dual stack, one device, a preshared key"
  OFFLOADS=$few meet wireguard "$(config46 '{"Type":"wireguard","Mode":"auto","PSK":"'"$(wg genpsk)"'"}')" 1420 1420 wireguard_met auto
fi
