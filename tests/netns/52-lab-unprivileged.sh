#!/usr/bin/env bash
# Without root the whole lab lives in a user namespace that a holder process keeps.
source "$(dirname "$0")/lib.sh"

su nobody -s /bin/sh -c 'unshare -Urn true' 2>/dev/null || { echo "skip: no unprivileged user namespaces here"; exit 77; }
# As nobody the tree itself may not be readable: the program is copied.
install -m 755 "$KNET" "$WORK/knet"
chmod 755 "$WORK"
install -d -o nobody "$WORK/run"
as_nobody() { su nobody -s /bin/sh -c "cd /; XDG_RUNTIME_DIR=$WORK/run exec $WORK/knet $*"; }
trap 'status=$?; as_nobody lab down --all >/dev/null 2>&1; (exit $status); cleanup' EXIT

for words in "--dual" "--mode host-gw --nodes 2" "--mode vxlan --routers --pods 1"; do
  note "lab up $words"
  expect 0 as_nobody "lab up --name $TAG $words"
  contains ready
  expect 0 as_nobody "lab ping --name $TAG"
  lacks FAIL
  expect 0 as_nobody "lab exec --name $TAG n1-p1 -- ip -br addr"
  contains "10.244.1.2/32"
  expect 0 as_nobody "lab exec --name $TAG n1 -- knet route show --check"
  expect 0 as_nobody "lab exec --name $TAG n1 -- knet route trace n1-p1 n2-p1"
  contains "ok  10.244.1.2 -> 10.244.2.2"
  ! ip netns list | found "$TAG" || die "namespaces outside"
  expect 0 as_nobody "lab down --name $TAG"
  [[ -z $(ls -A "$WORK/run") ]] || die "left: $(ls -AR "$WORK/run")"
done

note "the holder is killed: told, and cleared up"
expect 0 as_nobody "lab up --name $TAG --nodes 1 --pods 1"
kill -9 "$(jq .holder.pid "$WORK/run/knet-lab/$TAG/lab.json")"
expect 1 as_nobody "lab ping --name $TAG"
contains "knet lab down --name $TAG"
expect 0 as_nobody "lab down --all"
[[ -z $(ls -A "$WORK/run") ]] || die "left: $(ls -AR "$WORK/run")"
