#!/usr/bin/env bash
# Foreign FORWARD chains that drop: iptables-nft with and without DOCKER-USER, and one of nft's own. Marked rules go in, come back
# when they are removed, also when the firewall comes later; leave takes them out again; --no-forward-accept leaves all alone.
source "$(dirname "$0")/lib.sh"
command -v iptables-nft >/dev/null || { echo "skip: iptables-nft is not installed"; exit 77; }

switch sw
node n1 1; node n2 2
firewalls="iptables docker nft both"
raise() { # NODE KIND
  case $2 in
    iptables) in_ns "$1" iptables-nft -P FORWARD DROP ;;
    docker) in_ns "$1" sh -ec 'iptables-nft -N DOCKER-USER; iptables-nft -A DOCKER-USER -j RETURN
      iptables-nft -A FORWARD -j DOCKER-USER; iptables-nft -P FORWARD DROP' ;;
    nft) in_ns "$1" nft 'add table inet fw; add chain inet fw pass { type filter hook forward priority 5; policy drop; }
      add rule inet fw pass ct state established,related accept' ;;
    both) raise "$1" docker; raise "$1" nft ;;
  esac
}
firewall() { in_ns "$1" nft list ruleset | sed 's/packets [0-9]* bytes [0-9]*//'; }  # asked before knet comes and after it has left
lower() { in_ns "$1" nft flush ruleset; }
# A ping that the chain ate must not take the whole second that the repair has.
talk() { can_ping n1-$1 "${POD_IP[n2-$1]}" -W 0.3 && can_ping n2-$1 "${POD_IP[n1-$1]}" -W 0.3; }

for kind in $firewalls; do
  STORE=sqlite://$WORK/$kind.db
  init --network 10.244.0.0/16
  raise n2 "$kind"
  before=$(firewall n2)
  start_agents n1 n2
  pod n1 "$kind"; pod n2 "$kind"
  eventually 2 talk "$kind"
  in_ns n2 iptables-nft -S FORWARD >/dev/null || die "$kind: iptables can't read its own table any more"
  in_ns n2 nft list ruleset | found 'comment "knet' || die "$kind: the rules are not marked"
  if [[ $kind == docker ]]; then
    in_ns n2 nft list chain ip filter DOCKER-USER | found 'comment "knet' || die "the rules are not in DOCKER-USER"
    in_ns n2 nft list chain ip filter FORWARD | found 'comment "knet' && die "rules in FORWARD though there is DOCKER-USER"
  fi
  note "$kind: our rules are flushed with the chain's"
  case $kind in
    iptables) in_ns n2 iptables-nft -F FORWARD ;;
    docker | both) in_ns n2 sh -ec 'iptables-nft -F DOCKER-USER; iptables-nft -A DOCKER-USER -j RETURN' ;;
    nft) in_ns n2 nft 'flush chain inet fw pass; add rule inet fw pass ct state established,related accept' ;;
  esac
  eventually 1 talk "$kind"
  assert_clean
  diff <(echo "$before") <(firewall n2) || die "$kind: leave did not restore the firewall"
  lower n2
done

note "the firewall comes up after the agent"
STORE=sqlite://$WORK/later.db
init --network 10.244.0.0/16
start_agents n1 n2
pod n1 later; pod n2 later
eventually 2 talk later
raise n2 docker
eventually 2 talk later
assert_clean
lower n2

note "--no-forward-accept"
STORE=sqlite://$WORK/no.db
init --network 10.244.0.0/16
raise n2 docker
start_agents n1
start_agent n2 --no-forward-accept
eventually 5 status_says n2 '.subnet != ""'
pod n1 no; pod n2 no
eventually 3 status_says n2 '[.notices[], .degraded[]] | map(test("no-forward-accept|FORWARD")) | any'
talk no && die "the firewall should have dropped this"
in_ns n2 nft list table ip filter | found knet && die "the firewall was touched"
assert_clean
