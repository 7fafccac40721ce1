#!/usr/bin/env bash
# flannel's udp and knet's in one cluster over etcd, both ways, with Datapath bpf and user: pings, full-size packets, TCP
# streams compared by digest, the underlay's offloads on and off. The other node is the flanneld that FLANNELD or PATH names (one
# that is not knet); in any case also a peer of a few lines of Python that does on the wire what flannel's udp does: a
# lease without BackendType, one packet per read, MTU-sized buffers, a TUN device without a virtio header.
# timeout: 180
source "$(dirname "$0")/../netns/lib.sh"
command -v python3 >/dev/null || { echo "skip: needs python3"; exit 77; }
command -v ethtool >/dev/null || { echo "skip: needs ethtool"; exit 77; }
[[ -c /dev/net/tun ]] || { echo "skip: no /dev/net/tun"; exit 77; }
FLANNELD=${FLANNELD:-$(command -v flanneld || true)}
if [[ -n $FLANNELD && $(readlink -f "$FLANNELD") == "$(readlink -f "$KNET")" ]]; then FLANNELD=; fi

cat >"$WORK/peer.py" <<'PY'
# peer.py LOCAL INNER NETWORK-BITS PORT SUBNET=OUTER...: flannel's udp on the wire (facts: one datagram is one inner IPv4 packet; TTL
# falls on the way out and in). Says "ready" when the device is up.
import fcntl, ipaddress, os, select, socket, struct, subprocess, sys
local, inner, bits, port = sys.argv[1:5]
MTU = 1472
peers = [(ipaddress.ip_network(s), o) for s, o in (x.split("=") for x in sys.argv[5:])]
tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
fcntl.ioctl(tun, 0x400454ca, struct.pack("16sH22x", b"flannel0", 0x0001 | 0x1000))
for words in (f"addr add {inner}/32 dev flannel0", f"link set flannel0 mtu {MTU} up",
              f"route add {ipaddress.ip_interface(inner + '/' + bits).network} dev flannel0"):
    subprocess.run(["ip", *words.split()], check=True)
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind((local, int(port)))
sock.setblocking(False)
def hop(packet):
    packet = bytearray(packet)
    if packet[8] <= 1: return None
    packet[8] -= 1
    sum = packet[10] << 8 | packet[11]
    sum += 0x100
    sum = (sum & 0xffff) + (sum >> 16)
    packet[10], packet[11] = sum >> 8, sum & 0xff
    return packet
print("ready", flush=True)
while True:
    ready = select.select([tun, sock], [], [])[0]
    for _ in range(64):
        if tun in ready:
            try:
                packet = os.read(tun, MTU)
                to = packet[0] >> 4 == 4 and next((o for s, o in peers if ipaddress.ip_address(packet[16:20]) in s), None)
                packet = to and hop(packet)
                if packet: sock.sendto(packet, (to, int(port)))
            except BlockingIOError: ready = [x for x in ready if x != tun]
        if sock in ready:
            try:
                packet = sock.recv(MTU)  # what is longer is cut off, and nobody told
                if len(packet) < 20: continue
                packet = hop(packet)
                if packet: os.write(tun, packet)
            except BlockingIOError: ready = [x for x in ready if x != sock]
        if not ready: break
PY
stream() { # FROM TO ADDRESS
  local from=$1 to=$2 address=$3 taker
  rm -f "$WORK/ready"
  in_ns "$to" timeout 40 "$KNET_SOURCE/tests/netns/tcp-stream" take "$address" "$WORK/ready" >"$WORK/taken" & taker=$!
  PIDS+=("$taker")
  eventually 10 test -e "$WORK/ready"
  in_ns "$from" timeout 40 "$KNET_SOURCE/tests/netns/tcp-stream" give "$address" 6 >"$WORK/given" || die "stream $from to $address"
  wait "$taker" || die "stream $from to $address was not taken"
  cmp "$WORK/given" "$WORK/taken" || die "stream $from to $address changed"
}
offloads() { local n; for n in n1 other; do in_ns "$n" ethtool -K eth0 tx "$1" tso "$1" gso "$1" gro "$1" >/dev/null 2>&1; done; }
both_ways() { # POD OTHER-POD OTHER'S-ADDRESS
  local offload
  eventually 10 can_ping "$1" "$3"
  eventually 5 can_ping "$2" "${POD_IP[$1]}"
  for offload in on off; do
    offloads $offload
    can_ping "$1" "$3" -M do -s $((1472 - 28)) || die "a full packet to the other, offloads $offload"
    can_ping "$2" "${POD_IP[$1]}" -M do -s $((1472 - 28)) || die "a full packet from the other, offloads $offload"
    can_ping "$1" "$3" -s 4000 || die "fragments"
    stream "$1" "$2" "$3"
    stream "$2" "$1" "${POD_IP[$1]}"
  done
  offloads on
  stream "$2" n1 "${POD_IP[$1]%.*}.0"  # the node itself, from its tunnel's address
}
# other_pod SUBNET: a pod on the other node, wired by hand
other_pod() {
  local base=${1%.0/*}
  new_ns other-pod
  in_ns other ip link add pod0 mtu 1472 type veth peer name eth0 netns "$TAG-other-pod"
  in_ns other sh -c "ip addr add $base.1/24 dev pod0 && ip link set pod0 up && sysctl -qw net.ipv4.ip_forward=1"
  in_ns other-pod ip addr add "$base.7/24" dev eth0
  in_ns other-pod ip link set eth0 mtu 1472 up
  in_ns other-pod ip route add default via "$base.1"
  OTHER_IP=$base.7
}
no_other() {
  kill "$OTHER" 2>/dev/null && wait "$OTHER" 2>/dev/null || true
  ip netns del "$TAG-other-pod"
  in_ns other ip link del flannel0 2>/dev/null || true
  eventually 3 in_ns other sh -c '! ip link show pod0'
}

switch sw
node n1 1
new_ns other
nic other eth0 other sw
underlay other 9
etcd_up
STORE=$ETCD_URL
for datapath in bpf user; do
  mkdir -p "$WORK/n1"
  init --force --network 10.244.0.0/16 --mode udp --opt Datapath=$datapath >/dev/null
  expect 0 knet_in n1 mode list
  if [[ $datapath == bpf ]] && ! grep -Eq '^udp.*yes, bpf' <<<"$OUT"; then note "no BPF tunnels here: user alone"; continue; fi
  start_agents n1
  pod n1 $datapath
  p1=n1-$datapath

  note "Datapath $datapath: a peer that speaks flannel's udp"
  subnet=10.244.77.0/24
  etcdctl put "$PREFIX/subnets/${subnet/\//-}" '{"PublicIP":"192.168.77.9","PublicIPv6":null}' >/dev/null
  in_ns other python3 "$WORK/peer.py" 192.168.77.9 10.244.77.0 16 8285 "$(subnet_of n1)=192.168.77.1" >"$WORK/peer.out" & OTHER=$!
  PIDS+=("$OTHER")
  eventually 5 grep -q ready "$WORK/peer.out"
  other_pod $subnet
  both_ways $p1 other-pod "$OTHER_IP"
  no_other
  etcdctl del "$PREFIX/subnets/${subnet/\//-}" >/dev/null
  eventually 5 in_ns n1 sh -c "! ip route show | grep -q '^$subnet'"

  if [[ -n $FLANNELD ]]; then
    note "Datapath $datapath: $("$FLANNELD" --version 2>&1 | head -n 1)"
    rm -f "$WORK/flannel.env"
    ip netns exec "$TAG-other" "$FLANNELD" -etcd-endpoints="$ETCD_URL" -iface=eth0 -ip-masq=false -subnet-file="$WORK/flannel.env" \
      >"$WORK/flanneld.log" 2>&1 & OTHER=$!
    PIDS+=("$OTHER")
    eventually 10 test -s "$WORK/flannel.env" || { tail -n 20 "$WORK/flanneld.log"; die "flanneld"; }
    other_pod "$(sed -n 's/^FLANNEL_SUBNET=\(.*\)\.1\/\([0-9]*\)$/\1.0\/\2/p' "$WORK/flannel.env")"
    both_ways $p1 other-pod "$OTHER_IP"
    no_other
    etcdctl del --prefix "$PREFIX/subnets/${OTHER_IP%.*}.0" >/dev/null
  fi
  assert_clean
done
[[ -n $FLANNELD ]] || echo "PART SKIPPED: no flanneld here (FLANNELD=/path/to/flanneld): only its wire format was tried"
