// plan_speaker: who is whose peer, and as what.
#include "tests/unit/modes/bgp_cases.h"

using namespace knet;
using namespace knet::test;
using bgp::PeerRole;

TEST_CASE("bgp: a mesh of five") {
  const bgp::SpeakerConfig config = plan(bgp_cluster(5));
  CHECK(peers(config) == "n2 mesh, n3 mesh, n4 mesh, n5 mesh");
  CHECK(config.rib.asn == 64512);
  CHECK(config.rib.id == ip("192.168.77.1").v4_value());
  CHECK(config.rib.cluster_id == 0);
  CHECK(config.rib.max_paths == 8);
  CHECK(config.listen == std::vector<IpAddr>{ip("0.0.0.0")});
  CHECK_FALSE(config.defer_selection);
  const bgp::PeerConfig& n2 = peer(config, "n2");
  CHECK(n2.remote == prefix("192.168.77.2/32"));
  CHECK(n2.local == ip("192.168.77.1"));
  CHECK(n2.role == PeerRole::ibgp);
  CHECK(n2.session.remote_as == 64512);
  CHECK(n2.session.families[0]);
  CHECK_FALSE(n2.session.families[1]);
  CHECK_FALSE(n2.session.extended_next_hop);
  CHECK_FALSE(n2.session.passive);
  CHECK(n2.prefix_limit == 100'000);
  REQUIRE(config.originated.size() == 1);
  CHECK(config.originated[0].first == prefix("10.244.1.0/24"));
  CHECK(config.originated[0].second.local_pref == 100);
  CHECK_FALSE(config.originated[0].second.next_hop);
}

TEST_CASE("bgp: who announces another mode is no peer until it joins") {
  ClusterView view = view_of("bgp");
  add_peer(view, 2, "vxlan", vtep(2));
  add_peer(view, 3, "vxlan", vtep(3));
  CHECK(plan(view).peers.empty());
  view.bgp.joined = {ip("192.168.77.3")};
  CHECK(peers(plan(view)) == "n3 mesh");
}

TEST_CASE("bgp: with two reflectors and no mesh each node speaks to both, and they to each other") {
  ClusterView view = bgp_cluster(5);
  view.bgp.config.mesh = false;
  CHECK(plan(view).peers.empty());
  reflect(view, "n1", 1);
  reflect(view, "n2", 1);
  CHECK(peers(plan(view)) == "n2 reflector, n3 client, n4 client, n5 client");
  CHECK(plan(view).rib.cluster_id == 1);
  CHECK(peer(plan(view), "n2").role == PeerRole::ibgp);
  CHECK(peer(plan(view), "n3").role == PeerRole::reflector_client);
  CHECK(peers(plan(as_seen_by(view, 2))) == "n1 reflector, n3 client, n4 client, n5 client");
  const bgp::SpeakerConfig client = plan(as_seen_by(view, 3));
  CHECK(peers(client) == "n1 reflector, n2 reflector");
  CHECK(peer(client, "n1").role == PeerRole::ibgp);
  CHECK(client.rib.cluster_id == 0);
}

TEST_CASE("bgp: a hierarchy of reflectors by labels") {
  ClusterView view = bgp_cluster(6);
  view.bgp.config.mesh = false;
  reflect(view, "n1", 1, "tier == 'mid'");
  reflect(view, "n2", 1, "tier == 'mid'");
  reflect(view, "n3", 3, "rack == 'a'");
  reflect(view, "n4", 4, "rack == 'b'");
  for (const char* mid : {"n3", "n4"}) spec(view, mid).labels = {{"tier", "mid"}};
  spec(view, "n5").labels = {{"rack", "a"}};
  spec(view, "n6").labels = {{"rack", "b"}};
  CHECK(peers(plan(view)) == "n2 reflector, n3 client, n4 client");
  CHECK(peers(plan(as_seen_by(view, 3))) == "n1 reflector, n2 reflector, n5 client");
  CHECK(peers(plan(as_seen_by(view, 4))) == "n1 reflector, n2 reflector, n6 client");
  CHECK(peers(plan(as_seen_by(view, 5))) == "n3 reflector");
  CHECK(peers(plan(as_seen_by(view, 6))) == "n4 reflector");
}

TEST_CASE("bgp: both ends agree on who is a peer, in every topology") {
  for (const bool mesh : {true, false}) {
    ClusterView view = bgp_cluster(6);
    view.bgp.config.mesh = mesh;
    reflect(view, "n2", 2);
    reflect(view, "n3", 3, "tier == 'mid'");
    spec(view, "n4").labels = {{"tier", "mid"}};
    spec(view, "n5").asn = 65005;
    reflect(view, "n6", 6, "has(tier)");
    for (int a = 1; a <= 6; ++a)
      for (int b = 1; b <= 6; ++b) {
        if (a == b) continue;
        const auto sees = [&](int from, int to) {
          return peers(plan(as_seen_by(view, from))).find("n" + std::to_string(to) + " ") != std::string::npos;
        };
        INFO(mesh << " " << a << " " << b);
        CHECK(sees(a, b) == sees(b, a));
      }
  }
}

TEST_CASE("bgp: from mesh to reflectors the sessions that stay are the same") {
  ClusterView view = bgp_cluster(4);
  const bgp::SpeakerConfig mesh = plan(view);
  reflect(view, "n2", 2);
  const bgp::SpeakerConfig both = plan(view);  // reflection begins while the mesh still stands
  CHECK(peers(both) == "n2 reflector, n3 mesh, n4 mesh");
  CHECK(peers(plan(as_seen_by(view, 2))) == "n1 client, n3 client, n4 client");
  view.bgp.config.mesh = false;
  const bgp::SpeakerConfig reflectors = plan(view);
  CHECK(peers(reflectors) == "n2 reflector");
  for (const bgp::SpeakerConfig* config : {&both, &reflectors}) {
    const bgp::PeerConfig &was = peer(mesh, "n2"), &is = peer(*config, "n2");
    CHECK(was.session == is.session);
    CHECK(was.remote == is.remote);
    CHECK(was.local == is.local);
    CHECK(was.port == is.port);
    CHECK(was.password == is.password);
    CHECK(was.multihop == is.multihop);
    CHECK(was.import.key == is.import.key);
    CHECK(was.export_.key == is.export_.key);
  }
}

TEST_CASE("bgp: nodes of several ASes") {
  ClusterView view = bgp_cluster(3);
  spec(view, "n2").asn = 65002;
  view.leases[1].public_ip = ip("192.168.99.3");
  spec(view, "n3").asn = 65003;
  const bgp::SpeakerConfig config = plan(view);
  const bgp::PeerConfig &n2 = peer(config, "n2"), &n3 = peer(config, "n3");
  CHECK(n2.role == PeerRole::ebgp);
  CHECK(n2.session.remote_as == 65002);
  CHECK_FALSE(n2.multihop);
  CHECK(n2.link == prefix("192.168.77.0/24"));
  CHECK(n3.multihop);
  CHECK_FALSE(n3.link);
  view.self.restarted = true;
  CHECK(plan(view).defer_selection);
  spec(view, "n1").asn = 4'200'000'000;
  CHECK(plan(view).rib.asn == 4'200'000'000);
  // Not of the reflector's AS: no client of its.
  view.bgp.config.mesh = false;
  reflect(view, "n1", 1);
  CHECK(plan(view).peers.empty());
}

TEST_CASE("bgp: a node without pods speaks, reflects and originates nothing") {
  ClusterView view = bgp_cluster(3);
  view.bgp.speakers = {{"rr", ip("192.168.77.50"), {}}, {"n1", ip("192.168.77.1"), {}}};
  reflect(view, "rr", 7);
  view.bgp.config.mesh = false;
  CHECK(peers(plan(view)) == "rr reflector");
  ClusterView rr = view;
  rr.self.name = "rr";
  rr.self.public_ip = ip("192.168.77.50");
  rr.self.lease = {};
  rr.self.runs_pods = false;
  rr.bgp.config.advertise = {prefix("10.96.0.0/12")};
  const bgp::SpeakerConfig config = plan(rr);
  CHECK(config.originated.empty());
  CHECK_FALSE(config.hands_over);
  CHECK(plan(view).hands_over);
  CHECK(config.rib.cluster_id == 7);
  CHECK(peers(config) == "n1 client, n2 client, n3 client");
}

TEST_CASE("bgp: dual stack over one session, IPv6 alone over IPv6") {
  ClusterView view = dual_view_of("bgp");
  add_peer(view, 2, "bgp");
  bgp::SpeakerConfig config = plan(view);
  CHECK(peers(config) == "n2 mesh");
  CHECK(config.peers[0].remote == prefix("192.168.77.2/32"));
  CHECK(config.peers[0].other_local == ip("fd00:77::1"));
  CHECK(config.peers[0].session.families[1]);
  CHECK(config.listen == std::vector<IpAddr>{ip("0.0.0.0"), ip("::")});
  CHECK(config.originated.size() == 2);
  view.config.enable_v4 = false;
  view.self.public_ip = {};
  view.self.lease.subnet = view.leases[0].subnet = {};
  view.self.lease.public_ip = view.leases[0].public_ip = {};
  view.self.uplink = {};
  config = plan(view);
  REQUIRE(config.peers.size() == 1);
  CHECK(config.peers[0].remote == prefix("fd00:77::2/128"));
  CHECK(config.peers[0].local == ip("fd00:77::1"));
  CHECK_FALSE(config.peers[0].session.families[0]);
  CHECK_FALSE(config.peers[0].session.extended_next_hop);
  CHECK(config.rib.id != 0);
  const uint32_t id = config.rib.id;
  view.self.name = "n9";
  CHECK(plan(view).rib.id != id);
}

TEST_CASE("bgp: IPv4 of nodes that meet over IPv6 only has IPv6 next hops") {
  ClusterView view = dual_view_of("bgp");
  add_peer(view, 2, "bgp").public_ip = {};
  const bgp::SpeakerConfig config = plan(view);
  REQUIRE(config.peers.size() == 1);
  CHECK(config.peers[0].remote == prefix("fd00:77::2/128"));
  CHECK(config.peers[0].session.extended_next_hop);
  CHECK(config.peers[0].other_local == ip("192.168.77.1"));
}

TEST_CASE("bgp: what is originated, and what next hops cost") {
  ClusterView view = bgp_cluster(2);
  view.bgp.config.local_pref = 300;
  view.bgp.config.advertise = {prefix("10.96.0.0/12"), prefix("10.244.1.0/24")};
  add_pod(view, "a0000000001", {"10.244.1.5", "10.244.7.7", "172.30.0.9"});
  view.self.host_routes = {host_route("0.0.0.0/0", "eth0", "192.168.77.254"), host_route("10.9.0.0/16", "eth1"),
                           host_route("192.168.77.0/24", "eth0")};
  const bgp::SpeakerConfig config = plan(view);
  Lines prefixes;
  for (const auto& [prefix, attributes] : config.originated) {
    prefixes.push_back(prefix.str());
    CHECK(attributes.local_pref == 300);
  }
  CHECK(prefixes == Lines{"10.96.0.0/12", "10.244.1.0/24", "10.244.7.7/32"});
  CHECK(config.igp == std::vector<bgp::IgpRoute>{{prefix("0.0.0.0/0"), 1},
                                                 {prefix("10.9.0.0/16"), 0},
                                                 {prefix("192.168.77.0/24"), 0}});
}
