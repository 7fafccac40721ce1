#!/usr/bin/env bash
# timeout: 180
# What people see of a tunnel through a TUN device, by each path that this kernel has: rows with their parts, traces that
# name what is missing, the dry run of leave; each held against iproute2, tc and ping.
#
#      n1-p1 -- n1 knet.udp == eth0 ~~ udp 8285 ~~ eth0 == knet.udp n3 -- n3-p2
source "$(dirname "$0")/lib.sh"

trap 'status=$?; "$KNET" lab down --name "$TAG" >/dev/null 2>&1; (exit $status); cleanup' EXIT
on_n1() { "$KNET" lab exec --name "$TAG" n1 -- "$@"; }
agent_pid() { jq ".nodes[$1].agent.pid" "/run/knet-lab/$TAG/lab.json"; }
row() { on_n1 knet route show -o json | jq -r --arg dst "$1" ".routes[] | select(.destination == \$dst) | $2"; } # DESTINATION JQ
row_is() { [[ $(row "$1" "$2") == "$3" ]]; }
pings() { ip netns exec "$TAG-n1-p1" ping -n -q -c 1 -W 1 -M do -s "$1" 10.244.3.3 >/dev/null; } # SIZE

# path MODE DATAPATH OVERHEAD WIRE DEVICE
path() {
  local mode=$1 datapath=$2 mtu=$((1500 - $3)) wire=$4 dev=$5 by=$2
  [[ $by != user ]] || by="user space"
  note "$mode by $datapath"
  expect 0 "$KNET" lab up --name "$TAG" --mode "$mode" --opt "Datapath=$datapath"
  eventually 5 on_n1 knet route show --check
  eventually 5 pings 56

  note "show"
  expect 0 on_n1 knet route show -o wide
  contains "$1 by $DATAPATH"
  contains "PATH"
  contains "FILTER"
  contains "PEER"
  row_is 10.244.3.0/24 .path "$datapath" || die "path of a peer's row: $(row 10.244.3.0/24 .path)"
  row_is 10.244.3.0/24 .node n3 || die "node of a peer's row"
  row_is 10.244.0.0/16 '.node + " " + .source + " " + .state' "- config ok" || die "the row of the whole network: $(row 10.244.0.0/16 .)"
  on_n1 ip -4 route show 10.244.0.0/16 | found "dev $dev" || die "no such route"

  note "get and trace of what nobody has"
  expect 3 on_n1 knet route trace n1-p1 10.244.99.9
  contains "no node holds a subnet with 10.244.99.9"

  note "trace, healthy, and its MTU is that of packets"
  expect 0 on_n1 knet route trace n1-p1 n3-p2
  contains "ok  10.244.1.2 -> 10.244.3.3  $mode  path MTU $mtu"
  contains "$by to 192.168.77.3, $wire"
  contains "192.168.77.3 on link"
  pings $((mtu - 28)) || die "path MTU is less than told"
  ! pings $((mtu - 27)) || die "path MTU is more than told"
}

broken_user() { # DEVICE: without its agent
  note "nobody reads the device: rows and trace say so"
  kill -9 "$(agent_pid 0)"
  eventually 3 on_n1 sh -c "ip link show $1 | grep -q NO-CARRIER"
  ! pings 56 || die "who carries the packets?"
  expect 3 on_n1 knet route show --check
  contains "nobody carries the packets of $1"
  expect 3 on_n1 knet route trace n1-p1 n3-p2
  contains "BROKEN at n1 $1"
  contains "nobody carries its packets: they need a running agent"
  contains "fix: knet agent is not running on n1"
}

broken_bpf() { # DEVICE: without its agent all goes on, until something is taken away
  note "without the agent: packets go, rows are ok"
  kill -9 "$(agent_pid 0)"
  eventually 3 on_n1 sh -c "ip link show $1 | grep -q NO-CARRIER"
  pings 56 || die "the path must outlive the agent"
  expect 0 on_n1 knet route show --check
  row_is 10.244.3.0/24 '.filter + " " + .peer' "ok ok" || die "parts: $(row 10.244.3.0/24 .)"
  note "the filter on the uplink taken away"
  on_n1 "$KNET_SOURCE/tests/netns/ingress-programs" detach eth0
  expect 3 on_n1 knet route show --check
  contains "decap filter of eth0 missing"
  expect 3 on_n1 knet route trace n1-p1 n3-p2
  contains "BROKEN at n1 eth0"
  contains "the BPF filter that takes answers into $1 is not there"
  note "the fix that it names mends it"
  contains "knet agent --once"
  expect 0 on_n1 knet agent --once
  expect 0 on_n1 knet route trace n1-p1 n3-p2
  pings 56 || die "not mended"
  note "the other filter, with clsact"
  on_n1 tc qdisc del dev "$1" clsact
  expect 3 on_n1 knet route trace n1-p1 n3-p2
  contains "BROKEN at n1 $1"
  contains "the BPF filter that sends is not there"
  expect 0 on_n1 knet agent --once
  expect 0 on_n1 knet route show --check
}

leaves() { # DEVICE
  note "leave names what it takes, and takes it"
  expect 0 on_n1 knet leave --dry-run
  contains "link $1 type tun"
  [[ $DATAPATH != bpf ]] || contains "filter dev eth0 ingress"
  expect 0 on_n1 knet leave
  left=$(on_n1 sh -c 'ip -o link | grep ": knet"; ip route show proto 107; nft list tables | grep knet; '"$KNET_SOURCE"'/tests/netns/ingress-programs list eth0; tc qdisc show dev eth0 clsact' || true)
  [[ -z $left ]] || die "left after leave: $left"
  expect 0 "$KNET" lab down --name "$TAG"
}

runs() { # MODE DATAPATH
  [[ $2 == user ]] || "$KNET" mode list -o json | jq -e ".modes[] | select(.name == \"$1\") | .datapath == \"$2\"" >/dev/null
}

for tunnel in "udp 28 udp 8285 knet.udp" "ipip 20 IP protocol 4 knet.ipip"; do
  read -r mode overhead rest <<<"$tunnel"
  wire=${rest% *} dev=${rest##* }
  for DATAPATH in user bpf; do
    runs "$mode" "$DATAPATH" || { note "$mode by $DATAPATH: not on this kernel"; continue; }
    path "$mode" "$DATAPATH" "$overhead" "$wire" "$dev"
    "broken_$DATAPATH" "$dev"
    leaves "$dev"
  done
done
