#!/usr/bin/env bash
# flannel's udp and knet's in one cluster over etcd, both ways, with Datapath bpf and user: pings, full-size packets, TCP
# streams compared by digest, the underlay's offloads on and off. The other node is flannel's flanneld where there is one, and in any
# case a peer of a few lines of Python that does on the wire what flannel's udp does: a lease without BackendType, one
# packet per read, MTU-sized buffers, a TUN device without a virtio header.
# timeout: 180
source "$(dirname "$0")/../netns/lib.sh"
source "$(dirname "$0")/../netns/flannel-lib"
command -v python3 >/dev/null || { echo "skip: needs python3"; exit 77; }
command -v ethtool >/dev/null || { echo "skip: needs ethtool"; exit 77; }
[[ -c /dev/net/tun ]] || { echo "skip: no /dev/net/tun"; exit 77; }
find_flanneld

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
both_ways() { # POD OTHER-POD OTHER'S-ADDRESS
  local offload
  eventually 10 can_ping "$1" "$3"
  eventually 5 can_ping "$2" "${POD_IP[$1]}"
  for offload in on off; do
    offloads $offload
    full "$1" "$2" "$3" 1472
    stream "$1" "$2" "$3"
    stream "$2" "$1" "${POD_IP[$1]}"
  done
  offloads on
  stream "$2" n1 "${POD_IP[$1]%.*}.0"  # the node itself, from its tunnel's address
}
switch sw
node n1 1
other_node
etcd_up
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
  : >"$WORK/other/other.log"
  run_other python3 "$WORK/peer.py" 192.168.77.9 10.244.77.0 16 8285 "$(subnet_of n1)=192.168.77.1"
  eventually 5 grep -q ready "$WORK/other/other.log"
  other_pod ${subnet%/*} 1472
  both_ways $p1 other-pod "$OTHER_IP"
  other_off
  etcdctl del "$PREFIX/subnets/${subnet/\//-}" >/dev/null
  eventually 5 in_ns n1 sh -c "! ip route show | grep -q '^$subnet'"

  if [[ -n $FLANNELD ]]; then
    note "Datapath $datapath: flanneld $(flanneld_version)"
    # The config as knet init wrote it, but that flanneld wants br_netfilter of the kernel where it has iptables.
    etcdctl get --print-value-only "$PREFIX/config" | jq -c '.EnableNFTables = true' >"$WORK/config"
    etcdctl put "$PREFIX/config" <"$WORK/config" >/dev/null
    start_flanneld
    [[ $OTHER_MTU == 1472 ]] || die "flanneld's MTU is $OTHER_MTU"
    [[ $(other_lease) == '{"PublicIP":"192.168.77.9","PublicIPv6":null}' ]] || die "flanneld's lease: $(other_lease)"
    eventually 5 has n1 "$OTHER_NET/24" route show dev knet.udp
    listed udp >/dev/null || { knet_in n1 node list; die "node list"; }
    other_pod "$OTHER_NET" "$OTHER_MTU"
    both_ways $p1 other-pod "$OTHER_IP"
    other_off
    etcdctl del "$PREFIX/subnets/$OTHER_NET-24" >/dev/null
  fi
  assert_clean
done
[[ -n $FLANNELD ]] || echo "PART SKIPPED: only flannel's wire format was tried: $NO_FLANNELD"
