// knet init and knet config set: what clashes with a host, what is written, what is refused.
#include "agent/init.h"

#include <catch2/catch.hpp>

#include "base/error.h"
#include "core/mode.h"
#include "tests/support/fake_kernel.h"
#include "tests/support/mem_store.h"

using namespace knet;
using namespace knet::test;
using Catch::Matchers::Contains;

namespace {

NetworkConfig config_of(const std::string& network, const std::string& mode = "vxlan",
                        std::vector<std::string> options = {}) {
  ConfigWords words;
  words.network = network;
  words.mode = mode;
  words.options = std::move(options);
  return make_network_config(words, mode_registry());
}

struct Bench {
  MemStore store;
  ClusterStore cluster{store, StorePaths{}};
  FakeKernel host;
  Bench() { host.add_nic("eth0", "192.168.77.1/24"); }
  InitReport init(const NetworkConfig& config, bool force = false, bool dry_run = false) {
    return run_init(cluster, host, mode_registry(), {config, force, dry_run});
  }
};

template <typename Call>
std::string message(ErrorKind kind, Call&& call) {
  try {
    call();
  } catch (const Error& error) {
    CHECK(error.kind == kind);
    return error.text;
  }
  return "no error";
}

Route route(const char* dst, const char* dev, uint8_t protocol = 4) {
  Route out;
  out.dst = *Prefix::parse(dst);
  out.dev = DevName(dev);
  out.protocol = protocol;
  return out;
}

}  // namespace

TEST_CASE("init writes the canonical config, once") {
  Bench bench;
  const InitReport report = bench.init(config_of("10.244.0.0/16"));
  CHECK(report.outcome == InitReport::Outcome::written);
  CHECK(report.key == "/coreos.com/network/config");
  const auto stored = bench.cluster.load_config();
  REQUIRE(stored);
  CHECK(stored->json == report.json);
  CHECK(parse_network_config(stored->json, mode_registry()) == config_of("10.244.0.0/16"));

  CHECK(bench.init(config_of("10.244.0.0/16")).outcome == InitReport::Outcome::equal);
  // What a default says anyway is no difference.
  CHECK(bench.init(config_of("10.244.0.0/16", "vxlan", {"VNI=1"})).outcome == InitReport::Outcome::equal);
  CHECK(bench.cluster.load_config()->rev == stored->rev);
}

TEST_CASE("a different config is refused by name, and overwritten only with force") {
  Bench bench;
  bench.init(config_of("10.244.0.0/16"));
  const auto before = bench.cluster.load_config();
  CHECK_THAT(message(ErrorKind::conflict, [&] { bench.init(config_of("10.9.0.0/16")); }),
             Contains("Network 10.244.0.0/16 -> 10.9.0.0/16") && Contains("--force"));
  CHECK(bench.cluster.load_config()->json == before->json);
  CHECK(bench.init(config_of("10.9.0.0/16"), true).outcome == InitReport::Outcome::replaced);
  CHECK(parse_network_config(bench.cluster.load_config()->json, mode_registry()).network.str() == "10.9.0.0/16");
}

TEST_CASE("a config that can't be read is a different one") {
  Bench bench;
  REQUIRE(bench.store.create("/coreos.com/network/config", "{nonsense", 0));
  CHECK_THAT(message(ErrorKind::conflict, [&] { bench.init(config_of("10.244.0.0/16")); }), Contains("can't be read"));
  CHECK(bench.init(config_of("10.244.0.0/16"), true).outcome == InitReport::Outcome::replaced);
}

TEST_CASE("a dry run writes nothing") {
  Bench bench;
  CHECK(bench.init(config_of("10.244.0.0/16"), false, true).outcome == InitReport::Outcome::not_written);
  CHECK_FALSE(bench.cluster.load_config());
}

TEST_CASE("the host's own addresses and foreign routes inside the network are refused") {
  Bench bench;
  CHECK_THAT(message(ErrorKind::config, [&] { bench.init(config_of("192.168.0.0/16")); }),
             Contains("192.168.77.1/24 on eth0 lies in 192.168.0.0/16") && Contains("--force"));
  CHECK_FALSE(bench.cluster.load_config());
  const InitReport forced = bench.init(config_of("192.168.0.0/16"), true);
  CHECK(forced.outcome == InitReport::Outcome::written);
  CHECK(forced.notices.size() == 1);

  Bench other;
  REQUIRE(other.host.add(route("10.244.7.0/24", "eth0")) == 0);
  CHECK_THAT(message(ErrorKind::config, [&] { other.init(config_of("10.244.0.0/16")); }),
             Contains("10.244.7.0/24") && Contains("inside"));
}

TEST_CASE("a wider route is only noted; default routes and the cluster's own things don't count") {
  Bench bench;
  REQUIRE(bench.host.add(route("10.0.0.0/8", "eth0")) == 0);
  REQUIRE(bench.host.add(route("0.0.0.0/0", "eth0")) == 0);
  REQUIRE(bench.host.add(route("10.244.3.0/24", "eth0", Route::kProtocol)) == 0);
  const InitReport report = bench.init(config_of("10.244.0.0/16"));
  REQUIRE(report.notices.size() == 1);
  CHECK_THAT(report.notices[0], Contains("10.0.0.0/8"));

  NetState host;
  Link flannel;
  flannel.name = DevName("flannel.1");
  flannel.type = LinkType::vxlan;
  flannel.vxlan = VxlanAttrs{};
  flannel.vxlan->vni = 1;
  host.links.push_back(flannel);
  Address address;
  address.dev = flannel.name;
  address.prefix = *Prefix::parse("10.244.5.0/32");
  host.addresses.push_back(address);
  host.routes.push_back(route("10.244.6.0/24", "flannel.1"));
  const HostClashes clashes = host_clashes(config_of("10.244.0.0/16"), host);
  CHECK(clashes.refusals.empty());
  CHECK(clashes.notices.empty());
}

TEST_CASE("config set changes what is live, by any spelling of the key") {
  Bench bench;
  bench.init(config_of("10.244.0.0/16"));
  const ConfigSetReport report =
      set_config(bench.cluster, mode_registry(), {"directrouting=true", "masquerade=no"}, false);
  CHECK(report.changes.size() == 2);
  const NetworkConfig now = parse_network_config(bench.cluster.load_config()->json, mode_registry());
  CHECK(now.option_bool("DirectRouting", false));
  CHECK_FALSE(now.masquerade);
  CHECK(set_config(bench.cluster, mode_registry(), {"Backend.DirectRouting=true"}, false).changes.empty());
}

TEST_CASE("config set refuses what nodes can't follow, with the steps, and writes nothing") {
  Bench bench;
  CHECK_THAT(message(ErrorKind::config, [&] { set_config(bench.cluster, mode_registry(), {"VNI=7"}, false); }),
             Contains("knet init"));
  bench.init(config_of("10.244.0.0/16"));
  const auto before = bench.cluster.load_config();
  CHECK_THAT(message(ErrorKind::conflict, [&] { set_config(bench.cluster, mode_registry(), {"VNI=7"}, false); }),
             Contains("Backend.VNI 1 -> 7") && Contains("knet init --force"));
  CHECK_THAT(message(ErrorKind::conflict, [&] { set_config(bench.cluster, mode_registry(), {"mode=host-gw"}, false); }),
             Contains("vxlan -> host-gw"));
  CHECK_THAT(
      message(ErrorKind::usage, [&] { set_config(bench.cluster, mode_registry(), {"DirectRoting=true"}, false); }),
      Contains("DirectRouting"));
  CHECK_THAT(message(ErrorKind::usage, [&] { set_config(bench.cluster, mode_registry(), {"VNI"}, false); }),
             Contains("KEY=VALUE"));
  CHECK_THAT(
      message(ErrorKind::usage, [&] { set_config(bench.cluster, mode_registry(), {"Masquerade=maybe"}, false); }),
      Contains("maybe"));
  CHECK(set_config(bench.cluster, mode_registry(), {"DirectRouting=true"}, true).changes.size() == 1);
  CHECK(bench.cluster.load_config()->rev == before->rev);
}
