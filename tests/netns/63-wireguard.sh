#!/usr/bin/env bash
# Mode wireguard in dual stack over the kernel's driver: keys and peers as leases tell them, nothing in the clear on the
# wire (a capture on the switch), full-MTU packets, changes in place (the device keeps its index), repair, a restart of the
# agent under traffic, a key that is kept, a peer whose address changes, a peer that leaves.
# guest: always
source "$(dirname "$0")/lib.sh"

probe=$TAG-probe
ip netns add "$probe"
NAMESPACES+=("$probe")
ip -n "$probe" link add probe0 type wireguard 2>/dev/null || { echo "skip: this kernel has no wireguard driver"; exit 77; }
command -v wg >/dev/null || { echo "skip: wg is not installed (wireguard-tools)"; exit 77; }

switch sw
node n1 1; node n2 2; node n3 3
psk=$(wg genpsk)
echo "$psk" >"$WORK/psk"
init --network 10.244.0.0/16 --network6 fd00:244::/48 --mode wireguard --opt PSK=@"$WORK/psk" --opt PersistentKeepaliveInterval=25
start_agents n1 n2 n3
pod n1 p1; pod n2 p1; pod n3 p1

note "devices, keys and peers"
for dev in knet.wg knet.wg6; do
  in_ns n1 ip link show $dev | found 'mtu 1420' || die "mtu of $dev"
  eventually 3 in_ns n1 sh -c "[ \$(wg show $dev peers | wc -l) = 2 ]"
done
[[ $(stat -c %a "$WORK/n1/state/wg.key") == 600 ]] || die "the key file can be read by others"
[[ $(wg pubkey <"$WORK/n1/state/wg.key") == "$(in_ns n1 wg show knet.wg public-key)" ]] || die "another key than the file's"
[[ $(in_ns n1 wg show knet.wg listen-port) == 51820 && $(in_ns n1 wg show knet.wg6 listen-port) == 51821 ]] || die "ports"
in_ns n1 wg show knet.wg dump | found "$psk.192.168.77.2:51820.$(subnet_of n2)" || die "peer n2 on knet.wg"
in_ns n1 wg show knet.wg6 endpoints | found '\[fd00:77::2\]:51821' || die "peer n2 on knet.wg6"

note "pods, and full-MTU packets that may not be fragmented"
for from in n1 n2 n3; do
  for to in n1 n2 n3; do
    [[ $from == "$to" ]] && continue
    eventually 5 can_ping "$from-p1" "${POD_IP[$to-p1]}"
    eventually 5 can_ping "$from-p1" "${POD_IP6[$to-p1]}"
  done
done
can_ping n1-p1 "${POD_IP[n2-p1]}" -M do -s $((1420 - 28)) || die "DF at the pod's MTU"
can_ping n1-p1 "${POD_IP6[n2-p1]}" -M do -s $((1420 - 48)) || die "IPv6 at the pod's MTU"

note "on the wire there is only wireguard's"
moved() { in_ns n1 wg show knet.wg transfer | awk '{ sum += $2 + $3 } END { print sum + 0 }'; }
count() { awk -v what="$1" '$1 == what { n = $2 } END { print n + 0 }' "$WORK/wire"; }  # WHAT
# wire COMMAND...: what the switch carries while the command runs: the pattern that is in each ping, and IP headers
# from n1's pod to n2's, both families
pattern=6b6e65742d696e2d7468652d636c6561
hex() { python3 -c 'import ipaddress, sys; print("".join(ipaddress.ip_address(a).packed.hex() for a in sys.argv[1:]))' "$@"; }
wire() {
  local watch
  rm -f "$WORK/watching"
  ip netns exec "$TAG-sw" "$KNET_SOURCE/tests/netns/wire-watch" "$WORK/watching" pattern=$pattern "inner=$(hex "${POD_IP[n1-p1]}" "${POD_IP[n2-p1]}")" \
    "inner6=$(hex "${POD_IP6[n1-p1]}" "${POD_IP6[n2-p1]}")" >"$WORK/wire" & watch=$!
  PIDS+=("$watch")
  eventually 10 test -e "$WORK/watching"
  "$@" || die "no answer: $*"
  kill "$watch"
  wait "$watch" || die "the capture failed"
  [[ $(count missed) -eq 0 ]] || die "the capture missed frames: $(cat "$WORK/wire")"
}
pods_talk() {
  local n
  for n in 1 2 3; do
    can_ping n1-p1 "${POD_IP[n2-p1]}" -s 1000 -p $pattern && can_ping n1-p1 "${POD_IP6[n2-p1]}" -s 1000 -p $pattern || return 1
  done
}
if command -v python3 >/dev/null; then
  # That the pattern would be seen: nodes send it to each other as it is.
  wire can_ping n1 192.168.77.2 -s 1000 -p $pattern
  [[ $(count pattern) -ge 2 ]] || die "the capture does not see what is in the clear: $(cat "$WORK/wire")"
  before=$(moved)
  wire pods_talk
  [[ $(count pattern) -eq 0 && $(count inner) -eq 0 && $(count inner6) -eq 0 ]] || die "in the clear: $(cat "$WORK/wire")"
  # Each packet is seen on both ports of the bridge, and there are answers.
  [[ $(count udp/51820) -ge 6 && $(count udp/51821) -ge 6 ]] || die "wireguard's packets are not there: $(cat "$WORK/wire")"
  echo "$(count udp/51820) frames of knet.wg and $(count udp/51821) of knet.wg6, none in the clear"
else
  echo "NOT TESTED: what is on the wire, for want of python3"
  before=$(moved)
  pods_talk || die "ping"
fi
(($(moved) >= before + 6000)) || die "the packets did not go through knet.wg"

note "repair"
want=$(ours n1)
peers() { in_ns n1 sh -c 'wg show knet.wg dump | tail -n +2 | cut -f1-4,8 | sort'; }
want_peers=$(peers)
index=$(in_ns n1 ip -o link show knet.wg | cut -d: -f1)
reach='can_ping n1-p1 "${POD_IP[n2-p1]}"'
repaired "device set down" n1 "$want" 'ip link set knet.wg down' "$reach"
repaired "mtu" n1 "$want" 'ip link set knet.wg mtu 1300' "$reach"
[[ $(in_ns n1 ip -o link show knet.wg | cut -d: -f1) == "$index" ]] || die "the device was made anew"
in_ns n1 ip link del knet.wg
as_before() { diff <(sort <<<"$want") <(ours n1 | sort); }  # it comes after knet.wg6 now
eventually 2 as_before
eventually 2 eval "$reach"
[[ $(peers) == "$want_peers" ]] || { diff <(echo "$want_peers") <(peers); die "peers after the repair"; }

note "a peer whose address changes"
endpoints_are() { in_ns n1 wg show knet.wg endpoints | found "192.168.77.$1:51820" && in_ns n1 wg show knet.wg6 endpoints | found "\[fd00:77::$1\]:51821"; }
endpoints_are 2 || die "endpoints of n2"
in_ns n2 ip addr del 192.168.77.2/24 dev eth0
in_ns n2 ip addr del fd00:77::2/64 dev eth0
underlay n2 22
now_ms
start=$NOW
followed() { now_ms; echo "$1 after $((NOW - start)) ms"; }
eventually 3 endpoints_are 22
followed "n2's new endpoints are known"
eventually 5 can_ping n1-p1 "${POD_IP[n2-p1]}"
followed "IPv4 goes there"
eventually 5 can_ping n1-p1 "${POD_IP6[n2-p1]}"
followed "IPv6 goes there"
eventually 5 can_ping n3-p1 "${POD_IP[n2-p1]}"
! endpoints_are 2 || die "the old address is still an endpoint"
[[ $(in_ns n1 wg show knet.wg peers | wc -l) == 2 ]] || die "peers"

# Its old address now belongs to somebody whose key is nobody's.
by_hand() { # NAMESPACE KEY-FILE ADDRESS: a wireguard device that knows n1, made without knet
  in_ns "$1" ip link add hand type wireguard
  in_ns "$1" wg set hand private-key "$2" listen-port 51999 peer "$(in_ns n1 wg show knet.wg public-key)" preshared-key "$WORK/psk" \
    endpoint 192.168.77.1:51820 allowed-ips "${POD_IP[n1-p1]}/32"
  in_ns "$1" ip addr add "$3/32" dev hand
  in_ns "$1" ip link set hand up
  in_ns "$1" ip route add "${POD_IP[n1-p1]}/32" dev hand src "$3"
}
note "what comes from the old address with another key gets no answer"
new_ns stranger
nic stranger eth0 stranger sw
underlay stranger 2
in_ns n1 ip neigh flush dev eth0
(umask 077; wg genkey >"$WORK/other.key")
subnet=$(subnet_of n2)
by_hand stranger "$WORK/other.key" "${subnet%.*}.200"
can_ping stranger 192.168.77.1 || die "the stranger has no underlay"
can_ping stranger "${POD_IP[n1-p1]}" && die "a stranger reaches a pod"
[[ $(in_ns stranger wg show hand latest-handshakes | cut -f2) == 0 ]] || die "n1 shook hands with a stranger"
endpoints_are 22 || die "a stranger's packets changed n2's endpoint"

note "a restart of the agent under traffic loses nothing, and the key stays"
key=$(in_ns n1 wg show knet.wg public-key)
index=$(in_ns n1 ip -o link show knet.wg | cut -d: -f1)
flood n1-p1 "${POD_IP[n2-p1]}"
stop_agent n1
start_agents n1
[[ $(in_ns n1 ip -o link show knet.wg | cut -d: -f1) == "$index" ]] || die "the device was made anew"
[[ $(in_ns n1 wg show knet.wg public-key) == "$key" ]] || die "another key after a restart"
lost=$(flood_lost)
[[ $lost == 0 ]] || die "$lost packets lost"

note "and after it a peer is followed as before"
in_ns n2 ip addr del 192.168.77.22/24 dev eth0
in_ns n2 ip addr del fd00:77::22/64 dev eth0
underlay n2 23
now_ms
start=$NOW
eventually 3 endpoints_are 23
followed "n2's new endpoints are known"
eventually 5 can_ping n1-p1 "${POD_IP[n2-p1]}"

note "neither log nor plan tells a private or preshared key"
private=$(<"$WORK/n1/state/wg.key")
! grep -rF -e "$private" -e "$psk" "$WORK"/n*/agent.log || die "a secret is in a log"

note "a peer that leaves is a peer no more"
gone=$(in_ns n3 wg show knet.wg public-key)
stop_agent n3
# Until it leaves, its key is good by another device as well, made by hand.
install -m 600 "$WORK/n3/state/wg.key" "$WORK/n3.key"
subnet=$(subnet_of n3)
in_ns n3 ip link del knet.wg  # its place in n1 is taken by the one made by hand
by_hand n3 "$WORK/n3.key" "${subnet%.*}.200"
eventually 5 can_ping n3 "${POD_IP[n1-p1]}"
knet_in n3 leave >/dev/null || die "leave"
eventually 3 in_ns n1 sh -c "! wg show knet.wg peers | grep -qF '$gone'"
eventually 3 in_ns n1 sh -c '[ $(wg show knet.wg6 peers | wc -l) = 1 ]'
can_ping n3 "${POD_IP[n1-p1]}" && die "who left reaches a pod"
can_ping n1-p1 "${POD_IP[n2-p1]}" || die "the others"
NODES=(n1 n2)

assert_clean

# The unit tests of the driver, which can say nothing where it is missing.
unit=${KNET_BUILD:-$PWD/build}/unit_kernel
if [[ -x $unit ]]; then
  note "unit tests with the wireguard driver"
  "$unit" "a wireguard*" || die "unit tests"
fi
