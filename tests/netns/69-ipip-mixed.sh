#!/usr/bin/env bash
# One ipip cluster, all that speaks it: n1 through the kernel's driver, n2 through BPF, n3 through userspace, and n4, which has no
# knet but a device of the kernel's made by hand and a lease as flannel's ipip writes it. Both ways between the kernel's and
# the others: full-size packets that may not be fragmented, fragments, TCP streams that arrive as they were sent; no
# node complains of packets that another way carries.
# guest: always
source "$(dirname "$0")/lib.sh"
command -v python3 >/dev/null || { echo "skip: needs python3"; exit 77; }

probe=$TAG-probe
ip netns add "$probe"
NAMESPACES+=("$probe")
ip -n "$probe" link add probe0 type ipip local 127.0.0.1 2>/dev/null || { echo "skip: this kernel has no ipip driver"; exit 77; }

# FROM TO
stream() { tcp_stream "$1" "$2" "${POD_IP[$2]}" $((KNET_SLOW > 1 ? 2 : 32)) 30; }
complaints() { # NODE: the ICMP errors that it sent, and the packets of protocols that it does not know
  in_ns "$1" awk '
    !($1 in name) { name[$1] = $0; next }
    { n = split(name[$1], word); for (i = 2; i <= n; i++) if (word[i] ~ /^(OutDestUnreachs|InUnknownProtos)$/) sum += $i }
    END { print sum + 0 }' /proc/net/snmp
}
port_unreachables() { in_ns n3 nft list chain ip witness out | sed -n 's/.*counter packets \([0-9]*\) .*/\1/p'; }
path_of() { knet_in "$1" status -o json | jq -r '[.datapaths[] | select(.mode == "ipip") | .datapath][0]'; }

switch sw
node n1 1; node n2 2; node n3 3
etcd_up
# All nodes of a cluster follow its Datapath. So each has a cluster of its own, under a prefix of its own, with the others in it as
# nodes of flannel's: what is on the wire is the same.
lease() { etcdctl put "/$1/subnets/10.244.${2#n}.0-24" "{\"PublicIP\":\"192.168.77.${2#n}\",\"PublicIPv6\":null,\"BackendType\":\"ipip\"}" >/dev/null; }  # WHERE WHOSE
for at in "n1 kernel" "n2 bpf" "n3 user"; do
  read -r n path <<<"$at"
  printf '#!/bin/sh\nKNET_PREFIX=/%s exec "%s" "$@"\n' "$n" "$KNET" >"$WORK/knet-$n"
  chmod +x "$WORK/knet-$n"
  PROGRAM[$n]=$WORK/knet-$n
  knet_in $n init --network 10.244.0.0/16 --subnet-min "10.244.${n#n}.0" --subnet-max "10.244.${n#n}.0" --mode ipip --opt Datapath="$path" >/dev/null
  start_agents $n
  for other in n1 n2 n3 n4; do [[ $n == "$other" ]] || lease $n $other; done
  [[ $(path_of $n) == "$path" ]] || die "$n takes $(path_of $n), not $path"
  pod $n p1
done

note "a node by hand"
new_ns n4
nic n4 eth0 n4 sw
underlay n4 4
in_ns n4 sysctl -qw net.ipv4.ip_forward=1
in_ns n4 ip link add t0 type ipip local 192.168.77.4 dev eth0 nopmtudisc
in_ns n4 ip link set t0 mtu 1480 up
for n in 1 2 3; do in_ns n4 ip route add "$(subnet_of n$n)" via 192.168.77.$n dev t0 onlink; done
new_ns n4-p1
in_ns n4 ip link add pod mtu 1480 type veth peer name eth0 mtu 1480 netns "$TAG-n4-p1"
in_ns n4 ip addr add 10.244.4.1/24 dev pod
in_ns n4 ip link set pod up
in_ns n4-p1 ip addr add 10.244.4.2/24 dev eth0
in_ns n4-p1 ip link set eth0 up
in_ns n4-p1 ip route add default via 10.244.4.1
POD_IP[n4-p1]=10.244.4.2

note "all reach each other"
for from in n1 n2 n3 n4; do
  for to in n1 n2 n3 n4; do [[ $from == "$to" ]] || eventually 5 can_ping $from-p1 "${POD_IP[$to-p1]}"; done
done
in_ns n3 nft 'table ip witness { chain out { type filter hook output priority 0; icmp type destination-unreachable icmp code 3 counter; }; }'
declare -A HAD
for n in n1 n2 n3 n4; do HAD[$n]=$(complaints $n); done
for pair in "n1 n2" "n1 n3" "n4 n2" "n4 n3"; do
  read -r a b <<<"$pair"
  note "$a and $b"
  for way in "$a-p1 $b-p1" "$b-p1 $a-p1"; do
    read -r from to <<<"$way"
    can_ping "$from" "${POD_IP[$to]}" -M do -s $((1480 - 28)) || die "$from to $to: a full packet"
    can_ping "$from" "${POD_IP[$to]}" -M do -s $((1480 - 27)) && die "$from to $to: a packet that is too large"
    can_ping "$from" "${POD_IP[$to]}" -s 4000 || die "$from to $to: fragments"
    stream "$from" "$to"
  done
done
# n3's kernel has the driver as well, sees each packet beside the socket, and has no device for it: what it answers is told, not
# judged. Nobody may lose by it: the streams above came whole.
echo "n3's kernel: $(($(complaints n3) - HAD[n3])) ICMP errors, $(port_unreachables) of them port unreachable"
for n in n1 n2 n4; do
  [[ $(complaints $n) -eq ${HAD[$n]} ]] || die "$n complains of packets: $(in_ns $n cat /proc/net/snmp)"
done
assert_clean
