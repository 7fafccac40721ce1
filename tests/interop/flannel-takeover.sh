#!/usr/bin/env bash
# A node goes from a real flanneld to knet and back, in vxlan, host-gw and udp, while its pod on flannel's side talks with a pod of
# another node: the subnet stays, what flanneld left in the kernel is taken over, knet's leave lets flanneld start again.
# (netns/45-takeover.sh does the first half from a state made by hand, more closely.)
# timeout: 180
source "$(dirname "$0")/../netns/lib.sh"
source "$(dirname "$0")/../netns/flannel-lib"
find_flanneld
[[ -n $FLANNELD ]] || { echo "skip: $NO_FLANNELD"; exit 77; }

switch sw
node n1 1
other_node
etcd_up
flannels() { # what flanneld left on the other node, of its own
  ip -n "$TAG-other" -br link | sed -n 's/^\(flannel[^@ ]*\).*/\1/p'
  ip -n "$TAG-other" route show proto boot | grep 10.244. || true
}
none_of_flannels() { local left; left=$(flannels); [[ -z $left ]] || { echo "left: $left"; return 1; }; }
for mode in vxlan host-gw udp; do
  note "$mode: flanneld $(flanneld_version)"
  NODES=(n1)
  mkdir -p "$WORK/n1" "$WORK/other"
  etcdctl del --prefix "$PREFIX" >/dev/null
  etcdctl put "$PREFIX/config" "$(config4 '{"Type":"'$mode'"}')" >/dev/null
  start_flanneld
  start_agents n1
  pod=n1-$mode
  pod n1 $mode
  other_pod "$OTHER_NET" "$OTHER_MTU"
  net=$OTHER_NET
  eventually 10 can_ping "$pod" "$OTHER_IP"

  note "$mode: knet in its place"
  stop_other
  [[ $mode == udp ]] || [[ -n $(flannels) ]] || die "flanneld left nothing: nothing is tried here"
  mkdir -p "$WORK/other/run"
  cp "$WORK/other/subnet.env" "$WORK/other/run/subnet.env"
  NODES=(n1 other)
  start_agent other --adopt-flannel
  eventually 5 none_of_flannels
  eventually 5 agent_ready other
  [[ $(subnet_of other) == "$net/24" ]] || die "another subnet: $(subnet_of other)"
  eventually 5 can_ping "$pod" "$OTHER_IP"
  eventually 5 can_ping other-pod "${POD_IP[$pod]}"

  note "$mode: and flanneld again"
  NODES=(other)
  assert_clean
  NODES=(n1)
  start_flanneld  # which finds its subnet.env and takes the subnet from there: the lease is gone
  [[ $OTHER_NET == "$net" ]] || die "flanneld got another subnet: $OTHER_NET"
  eventually 10 can_ping "$pod" "$OTHER_IP"
  eventually 5 can_ping other-pod "${POD_IP[$pod]}"
  assert_clean
  other_off
done
