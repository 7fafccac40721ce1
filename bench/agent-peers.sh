#!/usr/bin/env bash
# One agent, 5,000 peers already in etcd: from its start until all are in the kernel, its CPU time and memory; vxlan and host-gw.
# Reference of the same run: `ip -batch` and `bridge -batch` with the same objects.   PEERS=N for another number.
source "$(dirname "$0")/../tests/netns/lib.sh"

PEERS=${PEERS:-5000} RUNS=${RUNS:-3}
switch sw
node n1 1
ip -n "$TAG-n1" addr add 172.20.0.1/16 dev eth0
ip -n "$TAG-n1" route replace default via 172.20.255.254
new_ns ref
nic ref eth0 ref sw
ip -n "$TAG-ref" addr add 172.20.0.3/16 dev eth0
etcd_up

peer() { # INDEX -> three, third, fourth numbers of its subnet and address
  printf -v SUBNET '10.%d.%d.0' $((200 + $1 / 250)) $(($1 % 250 + 1))
  printf -v ADDRESS '172.20.%d.%d' $(($1 / 250 + 1)) $(($1 % 250 + 1))
  printf -v MAC '02:00:00:00:%02x:%02x' $(($1 / 256)) $(($1 % 256))
}
fill() { # MODE: all leases, 100 to a transaction
  local i from data value
  for ((from = 0; from < PEERS; from += 100)); do
    {
      echo
      for ((i = from; i < from + 100 && i < PEERS; ++i)); do
        peer $i
        data=''
        [[ $1 == vxlan ]] && data=',"BackendData":{"VNI":1,"VtepMAC":"'$MAC'"}'
        value='{"PublicIP":"'$ADDRESS'","PublicIPv6":null,"BackendType":"'$1'"'$data'}'
        echo "put $KNET_PREFIX/subnets/$SUBNET-24 \"${value//\"/\\\"}\""
      done
      echo
      echo
    } | etcdctl txn >/dev/null
  done
}
median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
reference() { # MODE: seconds
  local i begin
  for ((i = 0; i < PEERS; ++i)); do
    peer $i
    if [[ $1 == vxlan ]]; then
      echo "neigh add $SUBNET lladdr $MAC dev vx nud permanent" >&3
      echo "fdb add $MAC dev vx dst $ADDRESS self permanent" >&4
      echo "route add $SUBNET/24 via $SUBNET dev vx onlink" >&5
    else
      echo "route add $SUBNET/24 via $ADDRESS dev eth0" >&5
    fi
  done 3>"$WORK/neigh" 4>"$WORK/fdb" 5>"$WORK/route"
  in_ns ref sh -c 'ip link del vx 2>/dev/null; ip link add vx type vxlan id 1 local 172.20.0.3 dev eth0 dstport 8472 nolearning
    ip link set vx up; ip route flush root 10.0.0.0/8' 2>/dev/null || true
  begin=${EPOCHREALTIME/./}
  if [[ $1 == vxlan ]]; then
    in_ns ref ip -batch "$WORK/neigh"
    in_ns ref bridge -batch "$WORK/fdb"
  fi
  in_ns ref ip -batch "$WORK/route"
  awk -v us=$((${EPOCHREALTIME/./} - begin)) 'BEGIN { printf "%.3f\n", us / 1e6 }'
}
for mode in vxlan host-gw; do
  export KNET_PREFIX=/bench/$mode
  init --network 10.0.0.0/8 --subnet-len 24 --subnet-min 10.100.0.0 --subnet-max 10.199.255.0 --mode $mode >/dev/null
  # The peers' subnets are outside of what is given out, inside of the network.
  fill $mode
  for ((run = 0; run < RUNS; ++run)); do
    reference $mode >>"$WORK/$mode.ref"
    begin=${EPOCHREALTIME/./}
    start_agent n1
    until [[ $(in_ns n1 ip -4 route show proto 107 | grep -c via) -ge $PEERS ]]; do
      ((${EPOCHREALTIME/./} - begin < 20000000)) || die "not in 20 s"
    done
    awk -v us=$((${EPOCHREALTIME/./} - begin)) 'BEGIN { printf "%.3f\n", us / 1e6 }' >>"$WORK/$mode.knet"
    if [[ $mode == vxlan ]]; then
      [[ $(in_ns n1 bridge fdb show dev knet.1 | grep -c dst) -ge $PEERS && $(in_ns n1 ip neigh show dev knet.1 nud permanent | wc -l) -ge $PEERS ]] ||
        die "neighbours or fdb entries are missing"
    fi
    sleep 1
    pid=${AGENT[n1]}
    awk '{ printf "%.2f\n", ($14 + $15) / 100 }' "/proc/$pid/stat" >>"$WORK/$mode.cpu"
    awk '/^VmRSS/ { printf "%.1f\n", $2 / 1024 }' "/proc/$pid/status" >>"$WORK/$mode.rss"
    awk '/^VmHWM/ { printf "%.1f\n", $2 / 1024 }' "/proc/$pid/status" >>"$WORK/$mode.peak"
    knet_in n1 status -o json 2>/dev/null | jq -r ".first_route_seconds * 1000 | round / 1000" >>"$WORK/$mode.own" || true
    stop_agent n1
    knet_in n1 leave >/dev/null || true
  done
  knet=$(median <"$WORK/$mode.knet") ref=$(median <"$WORK/$mode.ref")
  printf '%d peers, %-8s %s s until in the kernel (its own word: %s s), ip -batch %s s, ratio %s; CPU %s s, RSS %s MB, peak %s MB\n' \
    "$PEERS" "$mode:" "$knet" "$(median <"$WORK/$mode.own")" "$ref" "$(awk -v a="$knet" -v b="$ref" 'BEGIN { printf "%.2f", a / b }')" \
    "$(median <"$WORK/$mode.cpu")" "$(median <"$WORK/$mode.rss")" "$(median <"$WORK/$mode.peak")"
done
NODES=()
