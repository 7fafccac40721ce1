#!/usr/bin/env bash
# Mode wireguard in dual stack over the kernel's driver: keys and peers as leases tell them, nothing in the clear on the
# wire, full-MTU packets, changes in place (the device keeps its index), repair, a restart of the agent under traffic, a key
# that is kept, a peer that leaves.
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

note "what is seen on the wire is wireguard's, and is moved in both devices' counters"
moved() { in_ns n1 wg show knet.wg transfer | awk '{ sum += $2 + $3 } END { print sum + 0 }'; }
before=$(moved)
can_ping n1-p1 "${POD_IP[n2-p1]}" -s 1000 || die "ping"
(($(moved) >= before + 2000)) || die "the packet did not go through knet.wg"

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

note "neither log nor plan tells a private or preshared key"
private=$(<"$WORK/n1/state/wg.key")
! grep -rF -e "$private" -e "$psk" "$WORK"/n*/agent.log || die "a secret is in a log"

note "a peer that leaves is a peer no more"
gone=$(in_ns n3 wg show knet.wg public-key)
stop_agent n3
knet_in n3 leave >/dev/null || die "leave"
eventually 3 in_ns n1 sh -c "! wg show knet.wg peers | grep -qF '$gone'"
NODES=(n1 n2)

assert_clean

# The unit tests of the driver, which can say nothing where it is missing.
unit=${KNET_BUILD:-$PWD/build}/unit_kernel
if [[ -x $unit ]]; then
  note "unit tests with the wireguard driver"
  "$unit" "a wireguard*" || die "unit tests"
fi
