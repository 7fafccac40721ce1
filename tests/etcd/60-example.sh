# The by-hand bootstrap that the README shows, as it stands in examples/: two nodes, an etcd, a pod on either, a ping.
# It has to end well and to leave no namespace and no process behind.
set -euo pipefail
: "${KNET:?}" "${KNET_SOURCE:?}"
before=$(ip netns list | grep -c '^two' || true)
status=0
TMPDIR=$(mktemp -d)
export TMPDIR
out=$TMPDIR/out
trap 'rm -rf "$TMPDIR"' EXIT
KNET=$KNET timeout 100 bash "$KNET_SOURCE/examples/two-nodes.sh" >"$out" 2>&1 || status=$?
if [[ $status -eq 77 ]]; then
  grep '^skip' "$out"
  exit 77
fi
[[ $status -eq 0 ]] || { cat "$out"; echo "FAIL: status $status"; exit 1; }
grep -q ' 0% packet loss' "$out" || { cat "$out"; echo "FAIL: no ping went through"; exit 1; }
if pgrep -f "etcd --data-dir $TMPDIR" >/dev/null; then echo "FAIL: the etcd was left running"; exit 1; fi
[[ $(ip netns list | grep -c '^two' || true) -eq $before ]] || { echo "FAIL: namespaces were left behind"; exit 1; }
