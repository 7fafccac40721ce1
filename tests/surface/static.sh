#!/usr/bin/env bash
# The program is one file that needs nothing: no interpreter, no shared library, nothing around it on the disk.
set -euo pipefail

fail() { echo "FAIL: $*"; exit 1; }
[[ -x $KNET ]] || fail "no program at $KNET"
if readelf -Wld "$KNET" | grep -E 'INTERP|NEEDED'; then fail "it is not fully static"; fi
size=$(stat -c %s "$KNET")
echo "size $size"
[[ $size -le 9000000 ]] || fail "larger than 9 MB"

empty=$(mktemp -d)
trap 'rm -rf "$empty"' EXIT
cp "$KNET" "$empty/knet"
enter=(chroot "$empty")
if [[ $(id -u) -ne 0 ]]; then
  enter=(unshare --map-root-user "${enter[@]}")
  unshare --map-root-user true 2>/dev/null || { echo "skip: an empty chroot needs root or user namespaces"; exit 77; }
fi
"${enter[@]}" /knet version | grep -q '^knet [0-9]' || fail "does not run in an empty chroot"
for shell in bash zsh fish; do
  "${enter[@]}" /knet completion "$shell" | cmp - "$KNET_SOURCE/completions/knet.$shell" || fail "completion $shell"
done
