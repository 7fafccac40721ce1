#include "core/bgp.h"

#include <catch2/catch.hpp>

#include "base/error.h"

using namespace knet;

namespace {
Prefix prefix(const char* text) { return *Prefix::parse(text); }
template <typename Call>
std::string refused(Call&& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.text;
  }
  return "";
}
bool takes(const char* rule, const char* text) { return matches_prefix(parse_bgp_rule(rule), prefix(text)); }
}  // namespace

TEST_CASE("bgp rules: what they say comes back") {
  for (const char* text : {"accept any", "reject any", "accept 10.0.0.0/8", "accept 10.0.0.0/8 ge 16 le 24",
                           "accept 10.0.0.0/8 le 24 community 64512:7 set-local-pref 200 set-med 5 add-community 64512:9 "
                           "add-community 64512:1:2",
                           "reject fd00::/8 ge 64", "reject any community no-export"})
    CHECK(format(parse_bgp_rule(text)) == text);
  CHECK(format(parse_bgp_rule("  accept   ")) == "accept any");
  CHECK(format(parse_bgp_rule("accept community 1:2")) == "accept any community 1:2");
}

TEST_CASE("bgp rules: lengths") {
  CHECK(takes("accept 10.0.0.0/8", "10.0.0.0/8"));
  CHECK_FALSE(takes("accept 10.0.0.0/8", "10.1.0.0/16"));
  CHECK(takes("accept 10.0.0.0/8 le 24", "10.0.0.0/8"));
  CHECK(takes("accept 10.0.0.0/8 le 24", "10.1.2.0/24"));
  CHECK_FALSE(takes("accept 10.0.0.0/8 le 24", "10.1.2.0/25"));
  CHECK_FALSE(takes("accept 10.0.0.0/8 ge 16", "10.0.0.0/8"));
  CHECK(takes("accept 10.0.0.0/8 ge 16", "10.1.2.3/32"));
  CHECK_FALSE(takes("accept 10.0.0.0/8 ge 16", "11.1.0.0/16"));
  CHECK(takes("accept any", "fd00::/64"));
  CHECK_FALSE(takes("accept 0.0.0.0/0 le 32", "fd00::/64"));
}

TEST_CASE("bgp rules: what is wrong is named") {
  const auto why = [](const char* text) { return refused([&] { parse_bgp_rule(text); }); };
  CHECK(why("") == "an empty rule; it begins with accept or reject");
  CHECK(why("allow any") == "'allow' begins no rule; it begins with accept or reject");
  CHECK(why("accept 10.1.0.0/8") == "10.1.0.0/8 has bits set after its length; did you mean 10.0.0.0/8?");
  CHECK(why("accept any comunity 1:2").find("did you mean community?") != std::string::npos);
  CHECK(why("accept 10.0.0.0/8 le 33") == "le 33 is no length from 8 to 32 (of 10.0.0.0/8)");
  CHECK(why("accept any le 24") == "ge and le need a prefix before them");
  CHECK(why("accept 10.0.0.0/8 ge 24 le 16") == "ge 24 is more than le 16");
  CHECK(why("accept any community 1:70000").find("give A:B") != std::string::npos);
  CHECK(why("accept any community") == "community wants a value after it");
  CHECK(why("reject any set-med 4") == "a rule that rejects sets nothing");
}

TEST_CASE("bgp/config") {
  BgpConfig config;
  CHECK(parse_bgp_config(R"({"schema":1})") == config);
  CHECK(parse_bgp_config(format_bgp_config(config)) == config);
  config.asn = 4200000000;
  config.mesh = false;
  config.password = "s3cret";
  config.local_pref = 2147482623;
  config.advertise = {prefix("10.96.0.0/12"), prefix("fd00:96::/108")};
  config.import = {prefix("172.16.0.0/12")};
  CHECK(parse_bgp_config(format_bgp_config(config)) == config);
  for (const char* text : {R"({"schema":1,"asn":0})", R"({"schema":1,"asn":4294967295})", R"({"schema":1,"mesh":"on"})",
                           R"({"schema":1,"hold_time":2})", R"({"schema":1,"advertise":"10.0.0.0/8"})", "[]", "{"})
    CHECK_THROWS_AS(parse_bgp_config(text), Error);
  CHECK(parse_bgp_config(R"({"schema":2,"asn":64513,"mesh":"spanning"})").asn == 64513);
}

TEST_CASE("bgp/peers") {
  BgpPeerSpec peer;
  peer.name = "tor1";
  peer.remote = prefix("10.0.0.1/32");
  peer.asn = 65001;
  CHECK(parse_bgp_peer("tor1", format_bgp_peer(peer)) == peer);
  peer.selector = "rack == 'a'";
  peer.password = "p";
  peer.ttl_security = peer.multihop = peer.passive = peer.client = true;
  peer.port = 1179;
  peer.hold_time = 30;
  peer.next_hop = BgpNextHop::keep;
  peer.prefix_limit = 10;
  peer.import = {parse_bgp_rule("accept 0.0.0.0/0"), parse_bgp_rule("reject any")};
  peer.export_ = {parse_bgp_rule("accept any add-community 1:2")};
  CHECK(parse_bgp_peer("tor1", format_bgp_peer(peer)) == peer);

  CHECK(parse_bgp_peer("d", R"({"schema":1,"remote":"10.0.0.0/24"})").asn == 0);  // dynamic ones may be of any AS
  for (const char* text : {R"({"schema":1,"remote":"10.0.0.1/32"})", R"({"schema":1,"remote":"10.0.0.1/24","asn":1})",
                           R"({"schema":1,"asn":1})", R"({"schema":1,"remote":"10.0.0.1/32","asn":1,"next_hop":"me"})",
                           R"({"schema":1,"remote":"10.0.0.1/32","asn":1,"selector":"rack ="})",
                           R"({"schema":1,"remote":"10.0.0.1/32","asn":1,"import":["maybe"]})"})
    CHECK_THROWS_AS(parse_bgp_peer("x", text), Error);
  CHECK_THROWS_AS(check_bgp_peer_name("a/b"), Error);
  CHECK_THROWS_AS(check_bgp_peer_name(""), Error);
  CHECK_NOTHROW(check_bgp_peer_name("fd00::1"));
}

TEST_CASE("specs") {
  NodeSpec spec;
  spec.node = "n1";
  CHECK(parse_node_spec("n1", format_node_spec(spec)) == spec);
  spec.asn = 65010;
  spec.reflector = parse_cluster_id("1.0.0.1");
  spec.clients = "rack == 'a'";
  spec.labels = {{"rack", "a"}, {"role", "edge"}};
  spec.pods = false;
  CHECK(parse_node_spec("n1", format_node_spec(spec)) == spec);
  CHECK(format_cluster_id(parse_cluster_id("7")) == "0.0.0.7");
  for (const char* text : {"0", "0.0.0.0", "x", "fd00::1", "4294967296"}) CHECK_THROWS_AS(parse_cluster_id(text), Error);

  BgpView view;
  view.specs = {spec};
  CHECK(view.spec("n1") != nullptr);
  CHECK(view.spec("n2") == nullptr);
}
