# Sourced by each script here. Builds a cluster of network namespaces by hand and witnesses it with iproute2, nft and
# ping, never with knet alone.
#
#      n1 .1 ── veth ──┐                      names are kt<pid>-n1, kt<pid>-sw, kt<pid>-n1-p1
#      n2 .2 ── veth ──┼── bridge br0 in sw   underlay 192.168.77.0/24 and fd00:77::/64, device eth0
#      n3 .3 ── veth ──┘
#
# Every test ends with assert_clean. Whatever happens, cleanup() takes down what the test made, and kills only what
# it started. Waits are for a fact (`eventually`, `within`), never sleeps.
set -euo pipefail

KNET=${KNET:-$PWD/build/knet}
[[ $(id -u) -eq 0 ]] || { echo "skip: needs root (network namespaces)"; exit 77; }
[[ -x $KNET ]] || { echo "no program at $KNET: scripts/build"; exit 1; }

TAG=kt$$
WORK=$(mktemp -d "/tmp/knet-test-$$-XXXXXX")
PIDS=()
NAMESPACES=()
NODES=()
KEEP_LOGS=${KEEP_LOGS:-}

die() { echo "FAIL: $*" >&2; exit 1; }
note() { echo "--- $*"; }
# grep -q in a pipe ends early, and what writes to it fails; this one reads all.
found() { grep "$@" >/dev/null; }

cleanup() {
  local status=$?
  set +e
  trap - EXIT INT TERM
  trap '' PIPE  # who read our output may be gone
  if [[ $status -ne 0 && $status -ne 77 ]]; then
    for log in "$WORK"/*/*.log; do [[ -f $log ]] && { echo "=== ${log#"$WORK"/}"; tail -n 40 "$log"; } done
  fi >&2
  local pid ns
  for pid in "${PIDS[@]:-}"; do [[ -n $pid ]] && kill -9 "$pid" 2>/dev/null; done
  wait 2>/dev/null
  for ns in "${NAMESPACES[@]:-}"; do [[ -n $ns ]] && ip netns del "$ns" 2>/dev/null; done
  [[ -n $KEEP_LOGS ]] || rm -rf "$WORK"
  exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# On a slow machine (an emulated one) KNET_SLOW is how many times longer than elsewhere things may take.
KNET_SLOW=${KNET_SLOW:-1}
now_ms() { NOW=${EPOCHREALTIME/[.,]/}; NOW=$((NOW / 1000)); }  # into NOW: starts no program
# slow_ms SECONDS: so many milliseconds, on a slow machine times more, into LIMIT.
slow_ms() {
  local whole=${1%%.*} part=000
  [[ $1 != *.* ]] || part=${1#*.}000
  LIMIT=$(((10#${whole:-0} * 1000 + 10#${part:0:3}) * KNET_SLOW))
}
slow() { echo $(($1 * KNET_SLOW)); }  # SECONDS, a whole number

# eventually SECONDS COMMAND...: polls each 20 ms until the command succeeds.
eventually() {
  local limit=$1 deadline
  shift
  slow_ms "$limit"
  now_ms
  deadline=$((NOW + LIMIT))
  until "$@" >/dev/null 2>&1; do
    now_ms
    ((NOW < deadline)) || { echo "not within $limit s (x $KNET_SLOW): $*" >&2; "$@" >&2 || true; return 1; }
    sleep 0.02
  done
}
# never SECONDS COMMAND...: the command must not succeed once in that time.
never() {
  local limit=$1 deadline
  shift
  slow_ms "$limit"
  now_ms
  deadline=$((NOW + LIMIT))
  while now_ms && ((NOW < deadline)); do
    if "$@" >/dev/null 2>&1; then echo "happened, but must not: $*" >&2; return 1; fi
    sleep 0.02
  done
}
# expect STATUS COMMAND...: the exit status must be this one; output in $OUT.
expect() {
  local want=$1 got=0
  shift
  if [[ $(type -t "$1") == function ]]; then OUT=$("$@" 2>&1) || got=$?; else OUT=$(timeout "$(slow 30)" "$@" 2>&1) || got=$?; fi
  [[ $got -eq $want ]] || { echo "$OUT"; die "exit $got, expected $want: $*"; }
}
contains() { [[ $OUT == *"$1"* ]] || { echo "$OUT"; die "output lacks: $1"; }; }
lacks() { [[ $OUT != *"$1"* ]] || { echo "$OUT"; die "output must not have: $1"; }; }

new_ns() { # NAME -> namespace $TAG-NAME
  ip netns add "$TAG-$1"
  NAMESPACES+=("$TAG-$1")
  ip -n "$TAG-$1" link set lo up
  ip netns exec "$TAG-$1" sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0
}
in_ns() { # NAME COMMAND...
  local name=$1
  shift
  ip netns exec "$TAG-$name" "$@"
}

switch() { # NAME: a namespace with a bridge
  new_ns "$1"
  in_ns "$1" ip link add br0 type bridge
  in_ns "$1" ip link set br0 up
}
node() { # NAME NUMBER [SWITCH [MTU]]: a node 192.168.77.NUMBER, fd00:77::NUMBER on the switch
  NODES+=("$1")
  mkdir -p "$WORK/$1"
  boot "$@"
}
# boot NAME NUMBER [SWITCH [MTU]]: the node's namespace, empty but for its NIC; what it keeps on disk is as it was.
boot() {
  local name=$1 number=$2 sw=${3:-sw} mtu=${4:-1500}
  new_ns "$name"
  nic "$name" eth0 "$name" "$sw" "$mtu"
  underlay "$name" "$number" eth0 "${NET[$sw]:-77}"
}
# What is there when the power fails: the namespace goes, the run dir (tmpfs) is emptied, the state dir stays.
power_off() { # NAME
  kill -9 "${AGENT[$1]}" 2>/dev/null || true
  wait "${AGENT[$1]}" 2>/dev/null || true
  ip netns del "$TAG-$1"
  rm -rf "${WORK:?}/$1/run"
}
nic() { # NAME DEVICE PORT SWITCH [MTU]: a NIC whose other end is PORT on the switch's bridge
  ip -n "$TAG-$4" link del "$3" 2>/dev/null || true  # of a node that is gone, but its namespace not quite
  ip -n "$TAG-$1" link add "$2" mtu "${5:-1500}" type veth peer name "$3" mtu "${5:-1500}" netns "$TAG-$4"
  ip -n "$TAG-$4" link set "$3" master br0 up
  ip -n "$TAG-$1" link set "$2" up
}
# The third number of 192.168.N.0/24 and fd00:N::/64 on each switch; 77 if it is not set.
declare -A NET
# underlay NAME NUMBER [DEVICE [NET]]: the node's addresses and default routes, as an administrator or DHCP gives them. What is
# there already is left so.
underlay() {
  local name=$1 number=$2 dev=${3:-eth0} net=${4:-77}
  ip -n "$TAG-$name" addr replace "192.168.$net.$number/24" dev "$dev"
  ip -n "$TAG-$name" addr replace "fd00:$net::$number/64" dev "$dev" nodad
  ip -n "$TAG-$name" route replace default via "192.168.$net.254"
  ip -n "$TAG-$name" -6 route replace default via "fd00:$net::fe"
}
router() { # NAME SWITCH NET SWITCH NET: joins two switches, each with a network of its own
  new_ns "$1"
  in_ns "$1" sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
  local at dev sw net
  for at in "eth0 $2 $3" "eth1 $4 $5"; do
    read -r dev sw net <<<"$at"
    NET[$sw]=$net
    nic "$1" "$dev" "$1$dev" "$sw"
    ip -n "$TAG-$1" addr add "192.168.$net.254/24" dev "$dev"
    ip -n "$TAG-$1" addr add "fd00:$net::fe/64" dev "$dev" nodad
  done
}
# Two nodes are two machines: give them ids of their own where a test is about that.
machine_id() { # NAME ID
  mkdir -p "$WORK/$1/state"
  echo "$2" >"$WORK/$1/state/machine-id"
}

STORE=${STORE:-sqlite://$WORK/knet.db}
knet_in() { # NODE ARGUMENT...
  local name=$1
  shift
  ip netns exec "$TAG-$name" env KNET_STORE="$STORE" KNET_STATE_DIR="$WORK/$name/state" KNET_RUN_DIR="$WORK/$name/run" \
    "${PROGRAM[$name]:-$KNET}" "$@"
}
declare -A PROGRAM  # of a node, where it is not $KNET
declare -A NAMED    # a node's name, where it is not its namespace's
# knet init ... in the first node's namespace
init() { knet_in "${NODES[0]}" init "$@"; }

declare -A AGENT
start_agent() { # NODE ARGUMENT...: in the background, does not wait
  local name=$1
  shift
  ip netns exec "$TAG-$name" env KNET_STORE="$STORE" KNET_STATE_DIR="$WORK/$name/state" KNET_RUN_DIR="$WORK/$name/run" \
    "${PROGRAM[$name]:-$KNET}" agent --node-name "${NAMED[$name]:-$name}" "$@" >>"$WORK/$name/agent.log" 2>&1 &
  AGENT[$name]=$!
  PIDS+=($!)
}
stop_agent() { # NODE [SIGNAL]
  kill "-${2:-TERM}" "${AGENT[$1]}"
  wait "${AGENT[$1]}" 2>/dev/null || true
}
agent_runs() { kill -0 "${AGENT[$1]}" 2>/dev/null; }
agent_ready() { knet_in "$1" status >/dev/null 2>&1; }
status_says() { # NODE JQ-EXPRESSION: of its status; true if the expression is
  local json
  json=$(knet_in "$1" status -o json 2>/dev/null) || true
  [[ -n $json ]] && jq -e "$2" >/dev/null <<<"$json"  # some jq take nothing for true
}
logged() { found -E "$2" "$WORK/$1/agent.log"; }  # NODE REGEX
start_agents() { # NODE...: and wait until each is ready
  local name
  for name in "$@"; do start_agent "$name"; done
  for name in "$@"; do eventually 5 agent_ready "$name"; done
}
subnet_of() { sed -n 's/^FLANNEL_SUBNET=\(.*\)\.1\/\([0-9]*\)$/\1.0\/\2/p' "$WORK/$1/run/subnet.env"; }
subnet6_of() { sed -n 's/^FLANNEL_IPV6_SUBNET=\(.*\)::1\/\([0-9]*\)$/\1::\/\2/p' "$WORK/$1/run/subnet.env"; }

cni_config() { # NODE
  printf '{"cniVersion":"1.0.0","name":"knet","type":"knet","stateDir":"%s","runDir":"%s"}' \
    "$WORK/$1/state" "$WORK/$1/run"
}
cni() { # COMMAND NODE POD: runs the plugin as a runtime would; its result on stdout
  cni_config "$2" | ip netns exec "$TAG-$2" env CNI_COMMAND="$1" CNI_CONTAINERID="$TAG-$2-$3" CNI_IFNAME=eth0 \
    CNI_NETNS="/run/netns/$TAG-$2-$3" CNI_PATH=/nowhere "$KNET" cni
}
declare -A POD_IP POD_IP6
pod() { # NODE POD: makes the pod's namespace and attaches it; its addresses are in POD_IP[NODE-POD], POD_IP6
  new_ns "$1-$2"
  cni ADD "$1" "$2" >"$WORK/$1/$2.json"
  POD_IP[$1-$2]=$(jq -r '[.ips[].address | select(contains(":") | not)][0] // "" | split("/")[0] // ""' "$WORK/$1/$2.json")
  POD_IP6[$1-$2]=$(jq -r '[.ips[].address | select(contains(":"))][0] // "" | split("/")[0] // ""' "$WORK/$1/$2.json")
}
can_ping() { # FROM TO-ADDRESS [PING ARGUMENT...]: from a pod or node, one packet, one second
  local from=$1 to=$2
  shift 2
  in_ns "$from" ping -n -q -c 1 -W 1 "$@" "$to" >/dev/null
}

# A flood in the background while something happens; `flood_lost` tells how many packets were lost.
flood() { # FROM TO-ADDRESS [PING ARGUMENT...]
  local from=$1 to=$2
  shift 2
  ip netns exec "$TAG-$from" ping -n -q -i 0.01 "$@" "$to" >"$WORK/flood" 2>&1 &
  FLOOD=$!
  PIDS+=("$FLOOD")
}
flood_lost() { # often called as $(flood_lost), where FLOOD is no child: what it writes is waited for
  kill -INT "$FLOOD"
  eventually 3 grep -q 'packets transmitted' "$WORK/flood"
  awk '/packets transmitted/ { print $1 - $4 }' "$WORK/flood"
}

# tcp_stream FROM TO ADDRESS MEGABYTES [SECONDS]: random bytes through TCP, each end's digest of them compared
tcp_stream() {
  local from=$1 to=$2 address=$3 limit taker
  limit=$(slow "${5:-40}")
  rm -f "$WORK/ready"
  in_ns "$to" timeout "$limit" "$KNET_SOURCE/tests/netns/tcp-stream" take "$address" "$WORK/ready" >"$WORK/taken" & taker=$!
  PIDS+=("$taker")
  eventually 10 test -e "$WORK/ready"
  in_ns "$from" timeout "$limit" "$KNET_SOURCE/tests/netns/tcp-stream" give "$address" "$4" >"$WORK/given" || die "stream $from to $address"
  wait "$taker" || die "stream $from to $address was not taken"
  cmp "$WORK/given" "$WORK/taken" || die "stream $from to $address changed: $(cat "$WORK/given" "$WORK/taken")"
}

# Several floods at once, each in a file of its own.
FLOODS=()
flood_to() { # FROM TO-ADDRESS [PING ARGUMENT...]: 200 packets a second
  local from=$1 to=$2 file
  shift 2
  file=$WORK/flood-$from-${#FLOODS[@]}
  ip netns exec "$TAG-$from" ping -n -q -i 0.005 -W 2 "$@" "$to" >"$file" 2>&1 &
  FLOODS+=("$! $file")
  PIDS+=($!)
}
floods_end() { # sets LOST, SENT over all of them
  local item pid file
  LOST=0 SENT=0
  sleep 0.2  # what is under way comes back
  for item in "${FLOODS[@]}"; do kill -INT "${item% *}"; done
  for item in "${FLOODS[@]}"; do
    pid=${item% *} file=${item#* }
    wait "$pid" 2>/dev/null || true
    LOST=$((LOST + $(awk '/packets transmitted/ { print $1 - $4 }' "$file")))
    SENT=$((SENT + $(awk '/packets transmitted/ { print $1 }' "$file")))
  done
  FLOODS=()
}

# etcd at 192.168.77.100 in the switch's namespace; STORE is set to it. Arguments go to etcd.
ETCD_URL=http://192.168.77.100:2379
etcd_up() {
  command -v etcd >/dev/null || { echo "skip: etcd is not installed"; exit 77; }
  if ! in_ns sw ip -o addr show br0 | found 192.168.77.100; then
    in_ns sw ip addr add 192.168.77.100/24 dev br0
    in_ns sw ip addr add fd00:77::100/64 dev br0 nodad
  fi
  mkdir -p "$WORK/etcd"
  ip netns exec "$TAG-sw" etcd --name t --data-dir "$WORK/etcd/data" --listen-client-urls "$ETCD_URL" --advertise-client-urls "$ETCD_URL" \
    --listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 \
    --initial-cluster t=http://127.0.0.1:2380 "$@" >>"$WORK/etcd/etcd.log" 2>&1 &
  ETCD=$!
  PIDS+=("$ETCD")
  STORE=$ETCD_URL
  eventually 10 etcdctl endpoint health
}
etcd_down() { # [SIGNAL]
  kill "-${1:-KILL}" "$ETCD"
  wait "$ETCD" 2>/dev/null || true
}
ETCDCTL_FLAGS=()
etcdctl() { # as the program, from the switch's namespace
  in_ns sw env ETCDCTL_API=3 etcdctl --endpoints "${ETCDCTL_ENDPOINTS:-$ETCD_URL}" "${ETCDCTL_FLAGS[@]}" "$@"
}
PREFIX=/coreos.com/network
# etcdctl's -w json loses digits of a lease's id in jq.
lease_id() { printf '%x' "$(etcdctl get -w fields "$1" | awk '$1 == "\"Lease\"" { print $3 }')"; }  # KEY: in hex, as etcdctl lease wants it
lease_of() { # NODE: the value of its lease in etcd
  etcdctl get --print-value-only "$PREFIX/subnets/$(subnet_of "$1" | tr / -)"
}

# All in a node's kernel that is ours, as iproute2 and nft tell it, comparable.
ours() { # NODE
  in_ns "$1" sh -c '
    for dev in $(ip -br link | sed -n "s/^\(knet6\?\.[a-z0-9]*\)[@ ].*/\1/p"); do
      ip -d link show $dev | sed "s/^[0-9]*: //; s/ numtxqueues.*//; s/state [A-Z]*//"
      ip -o addr show $dev scope global | sed "s/^[0-9]*: //"
      ip neigh show dev $dev nud permanent | sort
      bridge fdb show dev $dev | sort
    done
    ip -4 route show proto 107 | sed "s/nhid [0-9]* //"; ip -6 route show proto 107 | sed "s/nhid [0-9]* //"
    nft list table inet knet 2>/dev/null'
}
# All that is not ours: what must be the same before and after.
theirs() { # NODE
  in_ns "$1" sh -c '
    ip -o link | grep -v ": knet" | sed "s/^[0-9]*: //; s/state [A-Z]*//"
    ip -o addr | grep -v "^[0-9]*: knet" | sed "s/^[0-9]*: //; s/valid_lft.*//"
    ip -4 route show table all | grep -v "dev knet" | grep -v "proto 107" | sort
    ip -6 route show table all | grep -v "dev knet" | grep -v "proto 107" | sort
    ip neigh show nud permanent | grep -v "dev knet"
    ip rule
    nft list tables | grep -v knet'
}
# repaired WHAT NODE WANTED BREAK [TRAFFIC]: runs BREAK (shell words) in the node, then polls until `ours` is WANTED again and
# the shell words TRAFFIC succeed; both within a second (times KNET_SLOW), told in ms.
repaired() {
  local what=$1 node=$2 want=$3 break=$4 traffic=${5:-true} start
  in_ns "$node" sh -ec "$break" || die "$what: could not break it"
  slow_ms 1
  now_ms
  start=$NOW
  until [[ $(ours "$node") == "$want" ]] && eval "$traffic"; do
    now_ms
    if ((NOW - start > LIMIT)); then
      diff <(echo "$want") <(ours "$node") >&2 || true
      die "$what: not repaired in $LIMIT ms"
    fi
  done
  now_ms
  printf '%-40s repaired in %4d ms\n' "$what" $((NOW - start))
}

# After `knet leave` on each node nothing of ours may be left in its namespace.
assert_clean() {
  local name left
  for name in "${NODES[@]}"; do
    [[ -n ${AGENT[$name]:-} ]] && kill -0 "${AGENT[$name]}" 2>/dev/null && stop_agent "$name"
    knet_in "$name" leave >"$WORK/$name/leave.log" 2>&1 || { cat "$WORK/$name/leave.log"; die "leave on $name"; }
    left=$(in_ns "$name" ip -o link | grep -E ': knet' || true)
    left+=$(in_ns "$name" ip -4 route show table all proto 107 || true)
    left+=$(in_ns "$name" ip -6 route show table all proto 107 || true)
    left+=$(in_ns "$name" ip nexthop show proto 107 || true)
    left+=$(in_ns "$name" nft list ruleset | grep -E 'knet' || true)
    [[ -z $left ]] || { echo "$left"; die "left on $name after leave"; }
    [[ ! -e $WORK/$name/state && ! -e $WORK/$name/run ]] || die "files left: $(find "$WORK/$name/state" "$WORK/$name/run" 2>/dev/null)"
  done
  note "clean"
}
