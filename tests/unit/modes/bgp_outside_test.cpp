// plan_speaker: peers outside of the cluster, and the policies.
#include "tests/unit/modes/bgp_cases.h"

using namespace knet;
using namespace knet::test;
using bgp::PeerRole;

namespace {

BgpPeerSpec tor(const std::string& name, const std::string& remote, uint32_t asn = 65001) {
  BgpPeerSpec spec;
  spec.name = name;
  spec.remote = prefix(remote);
  spec.asn = asn;
  return spec;
}

bool takes(const bgp::Policy& policy, const std::string& dst, bgp::Attributes attributes = {}) {
  return policy.apply(prefix(dst), attributes);
}

bgp::Attributes from(std::vector<bgp::Asn> path) {
  bgp::Attributes attributes;
  attributes.as_path = {{bgp::AsSegment::Type::sequence, std::move(path)}};
  return attributes;
}

}  // namespace

TEST_CASE("bgp: peers outside, for all, for a node, by labels; the closest counts") {
  ClusterView view = bgp_cluster(2);
  view.bgp.peers = {tor("all", "192.168.77.254/32"), tor("for-n1", "192.168.77.253/32"), tor("for-n2", "192.168.77.252/32"),
                    tor("rack-a", "10.0.0.1/32")};
  view.bgp.peers[1].node = "n1";
  view.bgp.peers[2].node = "n2";
  view.bgp.peers[3].selector = "rack == 'a'";
  CHECK(peers(plan(view)) == "n2 mesh, for-n1 node, all global");
  spec(view, "n1").labels = {{"rack", "a"}};
  CHECK(peers(plan(view)) == "rack-a selector, n2 mesh, for-n1 node, all global");
  BgpPeerSpec same = tor("mine", "192.168.77.254/32", 65009);
  same.node = "n1";
  view.bgp.peers.push_back(same);
  CHECK(peers(plan(view)) == "rack-a selector, n2 mesh, for-n1 node, mine node");
  view.bgp.peers = {tor("n2-again", "192.168.77.2/32"), tor("us", "192.168.77.1/32")};
  CHECK(peers(plan(view)) == "n2 mesh");
}

TEST_CASE("bgp: what a peer outside is told and how") {
  ClusterView view = bgp_cluster(1);
  BgpPeerSpec near = tor("near", "192.168.77.254/32"), far = tor("far", "10.0.0.1/32"), any = tor("any", "192.168.77.0/24", 0);
  near.password = "s";
  near.hold_time = 30;
  near.ttl_security = true;
  near.port = 1179;
  far.multihop = far.passive = true;
  far.next_hop = BgpNextHop::self;
  far.prefix_limit = 10;
  view.bgp.peers = {any, far, near};
  const bgp::SpeakerConfig config = plan(view);
  const bgp::PeerConfig &n = peer(config, "near"), &f = peer(config, "far"), &a = peer(config, "any");
  CHECK(n.role == PeerRole::ebgp);
  CHECK(n.session.remote_as == 65001);
  CHECK(n.session.hold_time == 30);
  CHECK(n.password == "s");
  CHECK(n.ttl_security);
  CHECK(n.port == 1179);
  CHECK(n.local == ip("192.168.77.1"));
  CHECK(n.link == prefix("192.168.77.0/24"));
  CHECK(n.prefix_limit == 20'000);
  CHECK(f.multihop);
  CHECK(f.session.passive);
  CHECK(f.next_hop_self);
  CHECK_FALSE(f.local);
  CHECK_FALSE(f.link);
  CHECK(f.prefix_limit == 10);
  CHECK(a.type == "dynamic");
  CHECK(a.session.passive);
  CHECK(a.session.remote_as == 0);
  BgpPeerSpec inside = tor("inside", "192.168.77.250/32", 64512);
  inside.client = true;
  inside.next_hop = BgpNextHop::keep;
  view.bgp.peers = {inside};
  CHECK(plan(view).peers[0].role == PeerRole::reflector_client);
  CHECK(plan(view).peers[0].next_hop_unchanged);
  CHECK_FALSE(plan(view).peers[0].link);
}

TEST_CASE("bgp: an IPv6 peer of an IPv4 network is listened for too") {
  ClusterView view = bgp_cluster(1);
  view.bgp.peers = {tor("six", "fd00:77::fe/128")};
  const bgp::SpeakerConfig config = plan(view);
  CHECK(config.listen == std::vector<IpAddr>{ip("0.0.0.0"), ip("::")});
  CHECK(config.peers[0].session.extended_next_hop);
}

TEST_CASE("bgp: what is taken from the cluster's nodes") {
  ClusterView view = bgp_cluster(3);
  view.bgp.config.import = {prefix("10.9.0.0/16"), prefix("0.0.0.0/0")};
  spec(view, "n3").asn = 65003;
  const bgp::SpeakerConfig config = plan(view);
  const bgp::Policy& policy = peer(config, "n2").import;
  CHECK(takes(policy, "10.244.2.0/24"));
  CHECK(takes(policy, "10.244.0.0/16"));
  CHECK(takes(policy, "10.9.1.0/24"));
  CHECK_FALSE(takes(policy, "0.0.0.0/0"));
  CHECK_FALSE(takes(policy, "10.244.1.0/25"));
  CHECK_FALSE(takes(policy, "10.244.1.0/24"));
  CHECK(takes(policy, "10.244.1.7/32"));  // a pod that moved
  view.bgp.config.import.clear();
  CHECK_FALSE(takes(peer(plan(view), "n2").import, "10.9.1.0/24"));
  CHECK(peer(plan(view), "n2").import.key != policy.key);
  const bgp::Policy& other_as = peer(config, "n3").import;
  CHECK_FALSE(takes(other_as, "10.244.3.0/24"));
  CHECK_FALSE(takes(other_as, "10.244.3.0/24", from({65009, 65003})));
  CHECK(takes(other_as, "10.244.3.0/24", from({65003})));
  CHECK(peer(config, "n2").export_.apply == nullptr);
}

TEST_CASE("bgp: rules of peers outside come first, then the usual") {
  ClusterView view = bgp_cluster(1);
  view.bgp.config.advertise = {prefix("10.96.0.0/12")};
  BgpPeerSpec spec = tor("tor", "192.168.77.254/32");
  spec.import = {parse_bgp_rule("reject 10.244.9.0/24"), parse_bgp_rule("accept 0.0.0.0/0"),
                 parse_bgp_rule("accept 172.16.0.0/12 le 24 community 65001:7 set-local-pref 200 set-med 5 add-community "
                                "64512:1 add-community 1:2:3 add-community no-export")};
  spec.export_ = {parse_bgp_rule("reject 10.244.0.0/16 ge 32")};
  view.bgp.peers = {spec};
  const bgp::SpeakerConfig config = plan(view);
  const bgp::Policy &import = config.peers[0].import, &out = config.peers[0].export_;
  bgp::Attributes plain = from({65001});
  CHECK_FALSE(takes(import, "10.244.9.0/24", plain));
  CHECK(takes(import, "10.244.8.0/24", plain));
  CHECK(takes(import, "0.0.0.0/0", plain));
  CHECK_FALSE(takes(import, "0.0.0.0/0", from({65002})));
  CHECK_FALSE(takes(import, "172.16.1.0/24", plain));
  plain.communities = {65001u << 16 | 7};
  CHECK_FALSE(takes(import, "172.16.1.0/25", plain));
  REQUIRE(import.apply(prefix("172.16.1.0/24"), plain));
  CHECK(plain.local_pref == 200);
  CHECK(plain.med == 5);
  CHECK(plain.communities == std::vector<uint32_t>{64512u << 16 | 1, 65001u << 16 | 7, bgp::kNoExport});
  CHECK(plain.large_communities == std::vector<bgp::LargeCommunity>{{1, 2, 3}});
  CHECK(takes(out, "10.244.1.0/24"));
  CHECK_FALSE(takes(out, "10.244.1.7/32"));
  CHECK(takes(out, "10.96.0.0/12"));
  CHECK_FALSE(takes(out, "172.16.1.0/24"));
  view.bgp.peers[0].import.pop_back();
  CHECK(plan(view).peers[0].import.key != import.key);
  CHECK(plan(view).peers[0].export_.key == out.key);
}
