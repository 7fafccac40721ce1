#!/usr/bin/env bash
# Three nodes over an etcd that demands client certificates and a user with a password, vxlan: pods talk; no secret is in a log, a
# command line or what commands print; a wrong password and a wrong certificate are refused with the reason.
source "$(dirname "$0")/../netns/lib.sh"
command -v openssl >/dev/null || { echo "skip: openssl is not installed"; exit 77; }

switch sw
node n1 1; node n2 2; node n3 3
T=$WORK/tls
mkdir "$T"
ca() { openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=$2" -keyout "$T/$1.key" -out "$T/$1.crt" 2>/dev/null; }
# The gateway of etcd refuses client certificates with a CommonName, which it could not use for its users: none has one here.
signed() { # NAME EXTENSIONS
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/O=$1" -keyout "$T/$1.key" -out "$T/$1.csr" 2>/dev/null
  openssl x509 -req -in "$T/$1.csr" -CA "$T/ca.crt" -CAkey "$T/ca.key" -CAcreateserial -days 2 -out "$T/$1.crt" \
    -extfile <(printf '%s\n' "$2") 2>/dev/null
}
ca ca knet-test; ca other somebody-else
signed server 'subjectAltName=IP:192.168.77.100
extendedKeyUsage=serverAuth,clientAuth'
signed client 'extendedKeyUsage=clientAuth'

ETCD_URL=https://192.168.77.100:2379
ETCDCTL_FLAGS=(--cacert "$T/ca.crt" --cert "$T/client.crt" --key "$T/client.key")
etcd_up --cert-file "$T/server.crt" --key-file "$T/server.key" --trusted-ca-file "$T/ca.crt" --client-cert-auth
SECRET=hush-$RANDOM$RANDOM
etcdctl user add root:root-$SECRET >/dev/null
etcdctl user add "knet:$SECRET" >/dev/null
etcdctl role add knet >/dev/null
etcdctl role grant-permission knet --prefix=true readwrite "$PREFIX/" >/dev/null
etcdctl user grant-role knet knet >/dev/null
etcdctl user grant-role root root >/dev/null 2>&1 || { etcdctl role add root >/dev/null; etcdctl user grant-role root root >/dev/null; }
etcdctl auth enable >/dev/null
ETCDCTL_FLAGS+=(--user "root:root-$SECRET")

echo "$SECRET" >"$T/password"
chmod 600 "$T/password"
tls=(--cert "$T/client.crt" --key "$T/client.key" --cacert "$T/ca.crt" --user knet --password-file "$T/password")
init --network 10.244.0.0/16 --subnet-max 10.244.63.0 "${tls[@]}" | tee "$WORK/init.out"
for name in n1 n2 n3; do start_agent $name "${tls[@]}"; done
for name in n1 n2 n3; do eventually 10 agent_ready $name; done
pod n1 p1; pod n2 p1; pod n3 p1
for to in n2 n3; do eventually 2 can_ping n1-p1 "${POD_IP[$to-p1]}"; done

note "a later command takes what the node joined with"
joined() { # ARGUMENT...: on n1, without a store given
  in_ns n1 env KNET_STATE_DIR="$WORK/n1/state" KNET_RUN_DIR="$WORK/n1/run" "$KNET" "$@"
}
expect 0 joined node list; contains n3
note "no secret anywhere it should not be"
for file in "$WORK"/n*/agent.log "$WORK/init.out" "$WORK"/n*/state/node.json "$WORK"/n*/run/subnet.env; do
  found -F "$SECRET" "$file" && die "the password is in $file"
done
for name in n1 n2 n3; do
  tr '\0' ' ' <"/proc/${AGENT[$name]}/cmdline" | found -F "$SECRET" && die "the password is in the command line"
done
joined status -o json | found -F "$SECRET" && die "the password is in the status"

note "wrong password, no certificate, another authority's server"
echo wrong >"$T/wrong"
OUT=$(joined node list --user knet --password-file "$T/wrong" 2>&1) && die "a wrong password was taken"
found -i "password\|authentication" <<<"$OUT" || die "no reason: $OUT"
OUT=$(in_ns n1 env KNET_STORE="$STORE" KNET_STATE_DIR="$WORK/none" KNET_RUN_DIR="$WORK/none" "$KNET" node list --timeout 2s --cacert "$T/ca.crt" 2>&1) &&
  die "no client certificate, and yet an answer"
found -i "certificate" <<<"$OUT" || die "no reason: $OUT"
OUT=$(joined node list --timeout 2s --cacert "$T/other.crt" 2>&1) && die "a server of another authority was believed"
found -i "certificate\|vouch\|verif" <<<"$OUT" || die "no reason: $OUT"

note "the token ends: etcd forgets all of them when it restarts"
etcd_down KILL
etcd_up --cert-file "$T/server.crt" --key-file "$T/server.key" --trusted-ca-file "$T/ca.crt" --client-cert-auth
for name in n1 n2 n3; do eventually 20 status_says $name '.store.connected and .ready'; done
etcdctl put "$PREFIX/subnets/10.244.80.0-24" \
  '{"PublicIP":"192.168.77.80","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:80"}}' >/dev/null
eventually 20 sh -c "ip -n $TAG-n2 route show 10.244.80.0/24 | grep -q knet.1"
knet_in() { # leave too takes what the node joined with
  local name=$1
  shift
  in_ns "$name" env KNET_STATE_DIR="$WORK/$name/state" KNET_RUN_DIR="$WORK/$name/run" "$KNET" "$@"
}
assert_clean
