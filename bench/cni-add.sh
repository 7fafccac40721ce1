#!/usr/bin/env bash
# CNI ADD and DEL of one pod: knet, and the reference Go plugins ptp with host-local, taken in turns in one run; then 200 ADDs, 16
# at a time. Needs the package containernetworking-plugins for the reference (CNI_REFERENCE: where they are).
source "$(dirname "$0")/../tests/netns/lib.sh"

RUNS=${RUNS:-60} REFERENCE=${CNI_REFERENCE:-/usr/lib/cni}
switch sw
node n1 1
init --network 10.244.0.0/16 >/dev/null
start_agents n1
for ((i = 0; i < 200; ++i)); do
  ip netns add "$TAG-c$i"
  NAMESPACES+=("$TAG-c$i")
done
cni_config n1 >"$WORK/knet.conf"
printf '{"cniVersion":"1.0.0","name":"ref","type":"ptp","mtu":1450,"ipam":{"type":"host-local","subnet":"10.199.0.0/16","dataDir":"%s"}}' "$WORK/ref-ipam" >"$WORK/ptp.conf"
reference=1
[[ -x $REFERENCE/ptp && -x $REFERENCE/host-local ]] || { reference=; echo "no $REFERENCE/ptp: without the reference (apt-get install containernetworking-plugins)"; }
# One shell inside the node's namespace takes the times, so that they hold one fork and exec of the plugin and no more.
cat >"$WORK/turns.sh" <<'SH'
call() { # PLUGIN COMMAND INDEX FILE
  local begin=${EPOCHREALTIME/./}
  CNI_COMMAND=$2 CNI_CONTAINERID=b-$3 CNI_IFNAME=eth0 CNI_NETNS=/run/netns/$TAG-c$3 CNI_PATH=$REFERENCE "$1" <"$WORK/$4.conf" >"$WORK/out" ||
    { cat "$WORK/out" >&2; exit 1; }
  echo $((${EPOCHREALTIME/./} - begin)) >>"$WORK/$4-$2"
}
mkdir -p "$WORK/bin"; ln -sf "$KNET" "$WORK/bin/knet"
for ((run = 0; run < RUNS; ++run)); do
  call "$WORK/bin/knet" ADD $((run % 200)) knet
  [[ -z $reference ]] || call "$REFERENCE/ptp" ADD $(((run + 100) % 200)) ptp
  call "$WORK/bin/knet" DEL $((run % 200)) knet
  [[ -z $reference ]] || call "$REFERENCE/ptp" DEL $(((run + 100) % 200)) ptp
done
SH
ip netns exec "$TAG-n1" env TAG="$TAG" WORK="$WORK" KNET="$KNET" RUNS="$RUNS" REFERENCE="$REFERENCE" reference="$reference" bash "$WORK/turns.sh"
quantile() { sort -n "$2" | awk -v q="$1" '{ v[NR] = $1 } END { i = int(NR * q + 0.5); if (i < 1) i = 1; if (i > NR) i = NR; printf "%.1f", v[i] / 1000 }'; }
for command in ADD DEL; do
  line="CNI $command: p50 $(quantile 0.5 "$WORK/knet-$command") ms, p99 $(quantile 0.99 "$WORK/knet-$command") ms"
  if [[ -n $reference ]]; then
    line+="; ptp with host-local: p50 $(quantile 0.5 "$WORK/ptp-$command") ms, p99 $(quantile 0.99 "$WORK/ptp-$command") ms"
    line+="; ratio $(awk -v a="$(quantile 0.5 "$WORK/knet-$command")" -v b="$(quantile 0.5 "$WORK/ptp-$command")" 'BEGIN { printf "%.2f", a / b }')"
  fi
  echo "$line"
done

cat >"$WORK/one.sh" <<'SH'
begin=${EPOCHREALTIME/./}
CNI_COMMAND=ADD CNI_CONTAINERID=m-$1 CNI_IFNAME=eth0 CNI_NETNS=/run/netns/$TAG-c$1 CNI_PATH=/ "$WORK/bin/knet" <"$WORK/knet.conf" >"$WORK/many-$1" || echo "$1" >>"$WORK/many-failed"
echo $((${EPOCHREALTIME/./} - begin)) >"$WORK/time-$1"
SH
begin=${EPOCHREALTIME/./}
seq 0 199 | ip netns exec "$TAG-n1" env TAG="$TAG" WORK="$WORK" xargs -P 16 -n 1 bash "$WORK/one.sh"
wall=$(((${EPOCHREALTIME/./} - begin) / 1000))
cat "$WORK"/time-* >"$WORK/times"
unique=$(cat "$WORK"/many-[0-9]* | jq -r '.ips[0].address' | sort -u | wc -l)
echo "200 ADDs, 16 at a time: $unique distinct addresses, $([[ -e $WORK/many-failed ]] && wc -l <"$WORK/many-failed" || echo 0) failed, p50 $(quantile 0.5 "$WORK/times") ms, p99 $(quantile 0.99 "$WORK/times") ms, all in $wall ms"
NODES=()
