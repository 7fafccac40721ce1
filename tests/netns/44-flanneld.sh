#!/usr/bin/env bash
# Called as flanneld, with flanneld's flags and environment, against etcd: the same subnet.env to the byte, the same lease, the
# same health checks; what means nothing is accepted with a warning, what can't be done is refused clearly.
source "$(dirname "$0")/lib.sh"

switch sw
node n1 1; node n2 2
etcd_up
mkdir "$WORK/bin"
ln -s "$KNET" "$WORK/bin/flanneld"
etcdctl put /flannel/net/config '{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}' >/dev/null
flanneld() { # NODE ARGUMENT...
  local name=$1
  shift
  in_ns "$name" env KNET_STATE_DIR="$WORK/$name/state" KNET_RUN_DIR="$WORK/$name/run" "$WORK/bin/flanneld" "$@"
}
start_flanneld() { # NODE ARGUMENT...: env by FLANNEL_ENV
  local name=$1
  shift
  ip netns exec "$TAG-$name" env "${FLANNEL_ENV[@]}" KNET_STATE_DIR="$WORK/$name/state" KNET_RUN_DIR="$WORK/$name/run" \
    "$WORK/bin/flanneld" "$@" >>"$WORK/$name/agent.log" 2>&1 &
  AGENT[$name]=$!
  PIDS+=($!)
}
FLANNEL_ENV=(KNET_NODE_NAME=n1)
start_flanneld n1 -etcd-endpoints="http://192.168.77.1:1,$ETCD_URL" -etcd-prefix=/flannel/net -iface=eth0 --ip-masq \
  -subnet-file="$WORK/n1/flannel/subnet.env" -healthz-ip=127.0.0.1 -healthz-port=8471 --iptables-resync=7 -v=3
FLANNEL_ENV=(KNET_NODE_NAME=n2 FLANNELD_ETCD_ENDPOINTS=$ETCD_URL FLANNELD_ETCD_PREFIX=/flannel/net FLANNELD_SUBNET_FILE=$WORK/n2/flannel/subnet.env
  FLANNELD_PUBLIC_IP=192.168.77.2)
start_flanneld n2
for name in n1 n2; do eventually 5 test -s "$WORK/$name/flannel/subnet.env"; done

note "subnet.env to the byte"
subnet=$(sed -n 's/^FLANNEL_SUBNET=\(.*\)\.1\/24$/\1/p' "$WORK/n1/flannel/subnet.env")
cmp "$WORK/n1/flannel/subnet.env" - <<END || { cat "$WORK/n1/flannel/subnet.env"; die "subnet.env of n1"; }
FLANNEL_NETWORK=10.5.0.0/16
FLANNEL_SUBNET=$subnet.1/24
FLANNEL_MTU=1450
FLANNEL_IPMASQ=true
END
found -x 'FLANNEL_IPMASQ=false' "$WORK/n2/flannel/subnet.env" || die "n2 was not asked to masquerade"
in_ns n1 nft list table inet knet | found masquerade || die "--ip-masq without a masquerade rule"
in_ns n2 nft list ruleset | found masquerade && die "masquerade without --ip-masq"

note "the lease to the byte"
mac=$(in_ns n1 cat /sys/class/net/knet.1/address)
value=$(etcdctl get --print-value-only "/flannel/net/subnets/$subnet.0-24")
want='{"PublicIP":"192.168.77.1","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"'$mac'"}}'
[[ $value == "$want" ]] || die "lease: $value, expected $want"
ttl=$(etcdctl lease timetolive "$(lease_id "/flannel/net/subnets/$subnet.0-24")" | grep -oP 'granted with TTL\(\K[0-9]+')
[[ $ttl == 86400 ]] || die "TTL $ttl"

note "health checks in flanneld's words"
http() { # NODE PORT PATH
  in_ns "$1" bash -c "exec 3<>/dev/tcp/127.0.0.1/$2; printf 'GET $3 HTTP/1.0\r\nHost: x\r\n\r\n' >&3; cat <&3"
}
healthy() { http n1 8471 "$1" | tr -d '\r' | tee "$WORK/http" | found ' 200 ' && found "$2" "$WORK/http"; }
eventually 2 healthy /healthz "flanneld is running"
eventually 2 healthy /readyz "flanneld is ready"

note "flags that mean nothing: one warning each, and on it goes"
[[ $(grep -c 'iptables-resync' "$WORK/n1/agent.log") == 1 ]] || die "iptables-resync: $(grep -c iptables-resync "$WORK/n1/agent.log") lines"

note "pods over it"
pod() {
  new_ns "$1-$2"
  mkdir -p "$WORK/$1/run"
  cp "$WORK/$1/flannel/subnet.env" "$WORK/$1/run/subnet.env" 2>/dev/null || true
  cni ADD "$1" "$2" >"$WORK/$1/$2.json"
  POD_IP[$1-$2]=$(jq -r '.ips[0].address | split("/")[0]' "$WORK/$1/$2.json")
}
pod n1 p1; pod n2 p1
eventually 2 can_ping n1-p1 "${POD_IP[n2-p1]}"

note "a second one in the same place is refused by name"
expect 1 flanneld n1 -etcd-endpoints="$ETCD_URL" -etcd-prefix=/flannel/net
contains "pid"

note "what can't be done here is refused"
for name in n1 n2; do stop_agent $name; done
OUT=$(timeout 5 ip netns exec "$TAG-n1" "$WORK/bin/flanneld" --kube-subnet-mgr 2>&1) && die "--kube-subnet-mgr accepted"
contains kube-subnet-mgr
etcdctl put /flannel/udp/config '{"Network":"10.6.0.0/16","Backend":{"Type":"ipsec"}}' >/dev/null
OUT=$(timeout 5 ip netns exec "$TAG-n1" env KNET_STATE_DIR="$WORK/x/state" KNET_RUN_DIR="$WORK/x/run" "$WORK/bin/flanneld" \
  -etcd-endpoints="$ETCD_URL" -etcd-prefix=/flannel/udp 2>&1) && die "a backend that knet has not was accepted"
contains ipsec
expect 2 flanneld n1 --no-such-flag
contains no-such-flag
expect 0 flanneld n1 --version
export KNET_PREFIX=/flannel/net
assert_clean
