#!/usr/bin/env bash
# The real containerd runs containers with knet's conflist (ctr run --cni), on two nodes: each gets an address of its node's subnet
# and they reach each other; when it is removed, nothing stays. containerd has fixed paths, so each node is a mount namespace too.
# timeout: 120
source "$(dirname "$0")/../netns/lib.sh"
for program in containerd ctr runc busybox; do
  command -v $program >/dev/null || { echo "skip: $program is not installed (apt-get install containerd runc busybox-static)"; exit 77; }
done
libraries=$(ldd "$(command -v busybox)" 2>&1 || true)
[[ $libraries == *"not a dynamic"* ]] || { echo "skip: busybox is not static"; exit 77; }

switch sw
node n1 1; node n2 2
init --network 10.244.0.0/16
start_agents n1 n2

note "an image with nothing but busybox"
image=$WORK/image
mkdir -p "$image/root/bin" "$image/oci/blobs/sha256"
cp "$(command -v busybox)" "$image/root/bin/busybox"
for name in sh ping sleep ip; do ln -s busybox "$image/root/bin/$name"; done
tar -C "$image/root" -cf "$image/layer.tar" .
blob() { # FILE: into the image; prints its digest
  local digest
  digest=$(sha256sum <"$1" | cut -d' ' -f1)
  cp "$1" "$image/oci/blobs/sha256/$digest"
  echo "$digest"
}
layer=$(blob "$image/layer.tar")
printf '{"architecture":"amd64","os":"linux","config":{"Cmd":["/bin/sh"],"Env":["PATH=/bin"]},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' "$layer" >"$image/config.json"
config=$(blob "$image/config.json")
printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:%s","size":%d},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"sha256:%s","size":%d}]}' \
  "$config" "$(stat -c %s "$image/config.json")" "$layer" "$(stat -c %s "$image/layer.tar")" >"$image/manifest.json"
manifest=$(blob "$image/manifest.json")
printf '{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:%s","size":%d,"annotations":{"org.opencontainers.image.ref.name":"busybox","io.containerd.image.name":"busybox"}}]}' \
  "$manifest" "$(stat -c %s "$image/manifest.json")" >"$image/oci/index.json"
printf '{"imageLayoutVersion":"1.0.0"}' >"$image/oci/oci-layout"
tar -C "$image/oci" -cf "$image/image.tar" .

declare -A MACHINE
machine() { # NODE: its own /etc/cni, /opt/cni, /run and containerd
  local own=$WORK/$1/own
  mkdir -p "$own/cni" "$own/opt/bin" "$own/root" "$own/state"
  printf '{"cniVersion":"0.4.0","name":"knet","plugins":[{"type":"knet","stateDir":"%s","runDir":"%s"}]}' \
    "$WORK/$1/state" "$WORK/$1/run" >"$own/cni/05-knet.conflist"
  ln -s "$(readlink -f "$KNET")" "$own/opt/bin/knet"
  printf 'version = 2\nroot = "%s/root"\nstate = "%s/state"\ndisabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.restart"]\n[grpc]\n  address = "%s/c.sock"\n' \
    "$own" "$own" "$own" >"$own/config.toml"
  # Not by ip netns exec, which puts a new /sys over the one with the cgroups.
  nsenter --net="/run/netns/$TAG-$1" unshare -m sh -ec "mount --make-rprivate /
    mkdir $own/over; mount -t tmpfs tmpfs $own/over; mkdir $own/over/up $own/over/work
    mount -t overlay overlay -o lowerdir=/etc,upperdir=$own/over/up,workdir=$own/over/work /etc
    rm -rf /etc/cni; mkdir -p /etc/cni/net.d; mount --bind $own/cni /etc/cni/net.d
    mount -t tmpfs tmpfs /opt; mkdir -p /opt/cni/bin; mount --bind $own/opt/bin /opt/cni/bin
    exec containerd --config $own/config.toml" >"$own/containerd.log" 2>&1 &
  MACHINE[$1]=$!
  PIDS+=($!)
}
ctr_on() { # NODE ARGUMENT...
  local name=$1
  shift
  nsenter -t "${MACHINE[$name]}" -m -n ctr --address "$WORK/$name/own/c.sock" "$@"
}
for name in n1 n2; do machine $name; done
for name in n1 n2; do
  eventually 15 ctr_on $name version
  ctr_on $name image import --snapshotter native "$image/image.tar" >/dev/null
done
records() { ls "$WORK/$1/run/endpoints"; }
ctr_on n2 run -d --cni --snapshotter native --runc-binary runc busybox two /bin/sleep 1000 || { tail -5 "$WORK/n2/own/containerd.log"; die "ctr run --cni"; }
PIDS+=($(pgrep -f "address $WORK/n2/own/c.sock" || true))  # the shim outlives its containerd
two=$(jq -r '.addresses[0]' "$WORK"/n2/run/endpoints/*.json)
[[ $two == "$(subnet_of n2 | sed 's/\.0\/24//')".* ]] || die "address of the container: $two"
eventually 3 can_ping n2 "$two"

note "a container on n1 that pings the one on n2 and ends: ADD and DEL by containerd"
ctr_on n1 run --rm --cni --snapshotter native --runc-binary runc busybox one /bin/sh -c "ip addr show eth0; ping -c 3 -W 2 $two" | tee "$WORK/ping"
found '3 packets received' "$WORK/ping" || die "container to container"
found "inet $(subnet_of n1 | sed 's/\.0\/24//')" "$WORK/ping" || die "the container has no address of its node's subnet"
[[ -z $(records n1) ]] || die "a record stayed on n1: $(records n1)"
[[ -z $(in_ns n1 ip -br link | grep -E '^knet[0-9a-f]{11}' || true) ]] || die "a veth stayed on n1"

note "the other one is killed; ctr forgets to call DEL for what it left in the background, so that is done here"
container=$(jq -r .container "$WORK"/n2/run/endpoints/*.json)
ctr_on n2 task kill -s KILL two
jq -c '{cniVersion, name} + .plugins[0]' "$WORK/n2/own/cni/05-knet.conflist" |
  in_ns n2 env CNI_COMMAND=DEL CNI_CONTAINERID="$container" CNI_IFNAME=eth0 CNI_NETNS= CNI_PATH=/nowhere "$KNET" cni
[[ -z $(records n2) ]] || die "a record stayed on n2: $(records n2)"
eventually 5 ctr_on n2 task rm two
ctr_on n2 container rm two
assert_clean
