#!/usr/bin/env bash
# What knet writes into etcd, byte for byte as etcdctl reads it: config and leases as flannel v0.28 has them, for each mode and family;
# and all keys that appear and are gone after leave.
source "$(dirname "$0")/../netns/lib.sh"

switch sw
node n1 1
etcd_up
value() { etcdctl get --print-value-only "$1"; }
same() { # WHAT HAVE WANT
  [[ $2 == "$3" ]] || { printf 'have %s\nwant %s\n' "$2" "$3"; die "$1"; }
}
keys() { etcdctl get --prefix --keys-only "$PREFIX" | grep . | sort; }
case_of() { # PREFIX-SUFFIX INIT-FLAGS...: one node under its own prefix; sets SUBNET, SUBNET6, MAC, MAC6
  PREFIX=/golden/$1
  export KNET_PREFIX=$PREFIX
  shift
  init "$@" >/dev/null
  start_agents n1
  SUBNET=$(subnet_of n1); SUBNET6=$(subnet6_of n1)
  MAC=$(in_ns n1 cat /sys/class/net/knet.1/address 2>/dev/null || true)
  MAC6=$(in_ns n1 cat /sys/class/net/knet6.1/address 2>/dev/null || true)
}

case_of vxlan --network 10.5.0.0/16
same "config" "$(value $PREFIX/config)" '{"Network":"10.5.0.0/16","SubnetLen":24,"Backend":{"Type":"vxlan"}}'
same "vxlan" "$(value "$PREFIX/subnets/${SUBNET/\//-}")" \
  '{"PublicIP":"192.168.77.1","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"'$MAC'"}}'
same "keys" "$(keys)" "$(printf '%s\n' "$PREFIX/config" "$PREFIX/knet/holders/${SUBNET/\//-}" "$PREFIX/knet/nodes/n1" \
  "$PREFIX/knet/schema" "$PREFIX/subnets/${SUBNET/\//-}" | sort)"
same "schema" "$(value $PREFIX/knet/schema)" 1
jq -e '.schema == 1 and .name == "n1" and .public_ip == "192.168.77.1"' >/dev/null <<<"$(value $PREFIX/knet/nodes/n1)" || die "the node's record"
assert_clean
same "keys after leave" "$(keys)" "$(printf '%s\n' "$PREFIX/config" "$PREFIX/knet/schema")"

case_of dual --network 10.6.0.0/16 --network6 2001:cafe:42::/56
same "dual stack" "$(value "$PREFIX/subnets/${SUBNET/\//-}&${SUBNET6/\//-}")" \
  '{"PublicIP":"192.168.77.1","PublicIPv6":"fd00:77::1","BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"'$MAC'"},"BackendV6Data":{"VNI":1,"VtepMAC":"'$MAC6'"}}'
same "dual stack config" "$(value $PREFIX/config | jq -c '[.EnableIPv6,.IPv6Network,.IPv6SubnetLen,.Network]')" \
  '[true,"2001:cafe:42::/56",64,"10.6.0.0/16"]'
assert_clean

case_of only6 --network6 2001:cafe:43::/56
same "IPv6 alone" "$(value "$PREFIX/subnets/0.0.0.0-0&${SUBNET6/\//-}")" \
  '{"PublicIP":"0.0.0.0","PublicIPv6":"fd00:77::1","BackendType":"vxlan","BackendV6Data":{"VNI":1,"VtepMAC":"'$MAC6'"}}'
assert_clean

case_of host-gw --network 10.7.0.0/16 --mode host-gw
same "host-gw" "$(value "$PREFIX/subnets/${SUBNET/\//-}")" '{"PublicIP":"192.168.77.1","PublicIPv6":null,"BackendType":"host-gw"}'
assert_clean

case_of alloc --network 10.8.0.0/16 --mode alloc
same "alloc" "$(value "$PREFIX/subnets/${SUBNET/\//-}")" '{"PublicIP":"192.168.77.1","PublicIPv6":null,"BackendType":"alloc"}'
assert_clean
