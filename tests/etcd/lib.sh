# Sourced by the scripts here: runs one tag of contract_etcd, which starts its own etcd, in a network namespace of its
# own, so that its ports are nobody else's. Nothing of it is left: the servers die with the program.
set -euo pipefail

KNET_BUILD=${KNET_BUILD:-$PWD/build}

run_etcd_tests() {
  local tag=$1
  for program in etcd etcdctl openssl ip unshare; do
    command -v "$program" >/dev/null || { echo "skip: $program is not installed"; exit 77; }
  done
  [[ -x $KNET_BUILD/contract_etcd ]] || { echo "no program at $KNET_BUILD/contract_etcd: build the tests"; exit 1; }
  local own=(unshare --net)
  [[ $(id -u) -eq 0 ]] || own=(unshare --net --user --map-root-user)
  "${own[@]}" true 2>/dev/null || { echo "skip: no network namespaces for this user"; exit 77; }
  "${own[@]}" bash -c 'ip link set lo up && exec "$@"' - timeout 170 "$KNET_BUILD/contract_etcd" "$tag" --durations yes
}
