#!/usr/bin/env bash
# join and leave on a machine of their own (mount namespace with its own /etc, /opt, /run, /var/lib): the files, twice the same,
# which conflist a runtime reads first, a real plugin in the way, and leave takes away exactly what join brought.
source "$(dirname "$0")/lib.sh"

switch sw
node n1 1; node n2 2
init --network 10.244.0.0/16

ip netns exec "$TAG-n1" unshare -m sh -ec "
  mount --make-rprivate /
  mkdir $WORK/over; mount -t tmpfs tmpfs $WORK/over; mkdir $WORK/over/up $WORK/over/work
  mount -t overlay overlay -o lowerdir=/etc,upperdir=$WORK/over/up,workdir=$WORK/over/work /etc
  mount -t tmpfs tmpfs /opt; mount -t tmpfs tmpfs /var/lib; mount -t tmpfs tmpfs /run
  rm -rf /etc/cni /etc/knet; mkdir -p /etc/cni/net.d /opt/cni/bin /etc/iproute2
  echo '{}' >/etc/cni/net.d/10-flannel.conflist
  exec sleep 1000" >/dev/null 2>&1 &
MACHINE=$!
PIDS+=("$MACHINE")
# Never on this machine itself.
apart() { [[ $(readlink "/proc/$MACHINE/ns/mnt") != "$(readlink /proc/self/ns/mnt)" && $(readlink "/proc/$MACHINE/ns/net") != "$(readlink /proc/self/ns/net)" ]]; }
eventually 3 apart
on() { nsenter -t "$MACHINE" -m -n env KNET_STORE="$STORE" "$@"; }
eventually 3 on test -e /etc/cni/net.d/10-flannel.conflist
tree() { on sh -c 'find /etc /opt /run /var/lib \( -type f -o -type l \) 2>/dev/null | sort | while read -r f; do
  printf "%s " "$f"; if [ -L "$f" ]; then readlink "$f"; else cksum <"$f" 2>/dev/null || echo; fi; done'; }
before=$(tree)

note "--no-start writes all and says the line"
expect 0 on "$KNET" join --node-name n1 --no-start
echo "$OUT"
contains "192.168.77.1 on eth0"; contains "default route"
contains "/etc/cni/net.d/05-knet.conflist"; contains "10-flannel.conflist would be read after it"
contains "knet agent"
on jq -e '.plugins[0].type == "knet"' /etc/cni/net.d/05-knet.conflist >/dev/null || die "the conflist"
[[ $(on readlink /opt/cni/bin/knet) == "$(readlink -f "$KNET")" ]] || die "the plugin link"
on test -s /run/knet/subnet.env || die "subnet.env"
on jq -e '.name' /var/lib/knet/node.json >/dev/null || die "node.json"
note "idempotent"
once=$(tree | grep -v node.json)
subnet=$(on sed -n 's/^FLANNEL_SUBNET=//p' /run/knet/subnet.env)
expect 0 on "$KNET" join --node-name n1 --no-start
[[ $(tree | grep -v node.json) == "$once" ]] || { diff <(echo "$once") <(tree | grep -v node.json); die "a second join changed files"; }
[[ $(on sed -n 's/^FLANNEL_SUBNET=//p' /run/knet/subnet.env) == "$subnet" ]] || die "another subnet"

note "another conflist that a runtime reads first is named"
on sh -c "echo '{}' >/etc/cni/net.d/00-other.conflist"
expect 0 on "$KNET" join --node-name n1 --no-start
contains 00-other.conflist
on rm /etc/cni/net.d/00-other.conflist

note "the choice is saved as it was made, not as the device's name"
expect 0 on "$KNET" join --node-name n1 --no-start --iface-regex '^192\.168\.77\.'
on grep -qF '192\\.168\\.77\\.' /var/lib/knet/node.json || die "the selector is not in node.json"
on grep -q eth0 /var/lib/knet/node.json && die "the name of the NIC is in node.json"

note "join --once applies and ends; then leave"
expect 0 on "$KNET" join --node-name n1 --once
in_ns n1 ip link show knet.1 >/dev/null || die "no device after --once"
expect 0 on "$KNET" leave --dry-run
contains knet.1; contains 05-knet.conflist
in_ns n1 ip link show knet.1 >/dev/null || die "--dry-run removed the device"
expect 0 on "$KNET" leave
after=$(tree)
diff <(echo "$before") <(echo "$after") || die "leave did not remove exactly what join brought"
[[ -z $(in_ns n1 ip route show proto 107)$(in_ns n1 ip -br link | grep knet || true) ]] || die "left in the kernel"
expect 0 on "$KNET" leave
contains "nothing of knet"

note "a real plugin in the way is not overwritten, with --force it is kept aside and comes back"
on sh -c 'echo "#!/bin/sh" >/opt/cni/bin/knet; chmod 755 /opt/cni/bin/knet'
before=$(tree)
expect 1 on "$KNET" join --node-name n1 --no-start
contains /opt/cni/bin/knet; contains --force
on grep -q '#!/bin/sh' /opt/cni/bin/knet || die "it was overwritten"
expect 0 on "$KNET" join --node-name n1 --no-start --force --cni-link copy
on cmp -s /opt/cni/bin/knet "$KNET" || die "not a copy of the program"
expect 0 on "$KNET" leave
diff <(echo "$before") <(tree) || die "leave did not put the plugin back"
on rm /opt/cni/bin/knet

note "other places, other names"
expect 0 on "$KNET" join --node-name n1 --no-start --cni-bin-dir /opt/plugins --cni-conf-dir /etc/cni/other --cni-conf-name 20-mine.conflist
on test -s /etc/cni/other/20-mine.conflist || die "--cni-conf-dir"
on test -L /opt/plugins/knet || die "--cni-bin-dir"
expect 0 on "$KNET" leave
expect 0 on "$KNET" join --node-name n1 --no-start --no-cni
on test -e /etc/cni/net.d/05-knet.conflist && die "--no-cni wrote a conflist"
note "what the user changed since is left and said"
expect 0 on "$KNET" join --node-name n1 --no-start
on sh -c 'echo "{}" >/etc/cni/net.d/05-knet.conflist'
expect 0 on "$KNET" leave
contains 05-knet.conflist
on test -s /etc/cni/net.d/05-knet.conflist || die "a file that the user changed was removed"
on rm /etc/cni/net.d/05-knet.conflist

note "leave gives the subnet back, --keep-lease does not"
expect 0 on "$KNET" join --node-name n1 --no-start
subnet=$(on sed -n 's/^FLANNEL_SUBNET=\(.*\)\.1\/24/\1.0/p' /run/knet/subnet.env)
expect 0 on "$KNET" leave --keep-lease
knet_in n2 subnet list | found "$subnet" || die "--keep-lease gave the subnet back"
expect 0 on "$KNET" join --node-name n1 --no-start
[[ $(on sed -n 's/^FLANNEL_SUBNET=\(.*\)\.1\/24/\1.0/p' /run/knet/subnet.env) == "$subnet" ]] || die "not the subnet that was kept"
expect 0 on "$KNET" leave
knet_in n2 subnet list | found "$subnet" && die "leave did not give the subnet back"

note "leave goes on past errors: the store is away"
expect 0 on "$KNET" join --node-name n1 --once
OUT=$(on env KNET_STORE=http://127.0.0.1:1 timeout 60 "$KNET" leave --timeout 1s 2>&1) && die "leave without the store must say so"
contains FAILED
[[ -z $(in_ns n1 ip -br link | grep knet || true) ]] || die "the device stayed because the store was away"
on "$KNET" leave >/dev/null || true
kill "$MACHINE"
NODES=()
assert_clean
