#include "agent/lease_keeper.h"

#include <poll.h>

#include <catch2/catch.hpp>

#include "tests/unit/agent/temporary.h"

using namespace knet;
using namespace knet::test;
using namespace std::chrono_literals;

namespace {

using Clock = std::chrono::steady_clock;

// Node n1's keeper on an embedded store, and somebody else who writes there.
struct Kept {
  Temporary dir;
  StoreOptions options;
  Mailbox mailbox;
  std::unique_ptr<Store> store;
  std::unique_ptr<LeaseKeeper> keeper;

  Kept() {
    options.url = "sqlite://" + (dir.path() / "knet.db").string();
    store = open_store(options);
    keeper = std::make_unique<LeaseKeeper>(options, mailbox);
  }
  AcquireRequest request() const {
    AcquireRequest request;
    request.node.name = "n1";
    request.node.machine_id = "m1";
    request.node.public_ip = *IpAddr::parse("192.168.77.1");
    request.config.network = *Prefix::parse("10.5.0.0/16");
    request.config.subnet_min = *IpAddr::parse("10.5.1.0");
    request.config.subnet_max = *IpAddr::parse("10.5.9.0");
    request.mode = "host-gw";
    return request;
  }
  /// The next lease that the keeper tells of; nothing if none comes until then.
  std::optional<Lease> lease_until(Clock::time_point deadline) {
    for (;;) {
      for (AgentMessage& message : mailbox.take())
        if (auto* told = std::get_if<LeaseMessage>(&message)) return told->lease;
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
      pollfd bell{mailbox.fd(), POLLIN, 0};
      if (left <= 0 || ::poll(&bell, 1, static_cast<int>(left)) <= 0) return std::nullopt;
    }
  }
  /// As a clone of this machine would: another address under the same subnet.
  Revision steal(const Lease& lease) {
    Lease other = lease;
    other.public_ip = *IpAddr::parse("192.168.77.66");
    const std::string key = StorePaths{options.prefix}.subnet(format_subnet_key(lease.subnet, lease.subnet6));
    return store->swap(key, format_lease(other), lease.rev, lease.lease_id).value_or(0);
  }
};

}  // namespace

TEST_CASE("a lease that was changed is taken again at once, but not over and over") {
  Kept kept;
  kept.keeper->announce(kept.request());
  auto lease = kept.lease_until(Clock::now() + 10s);
  REQUIRE(lease);
  CHECK(lease->public_ip == *IpAddr::parse("192.168.77.1"));

  size_t taken = 0;
  const auto end = Clock::now() + 1s;
  while (lease) {
    const Revision at = kept.steal(*lease);
    REQUIRE(at != 0);
    kept.keeper->disturbed(at);
    const auto next = kept.lease_until(taken == 0 ? Clock::now() + 10s : end);
    if (next) {
      ++taken;
      CHECK(next->subnet == lease->subnet);
      CHECK(next->public_ip == *IpAddr::parse("192.168.77.1"));
    }
    lease = next;
  }
  CHECK(taken >= 1);
  CHECK(taken <= 4);  // at once, and after 0.2, 0.6, 1.4 s
}

TEST_CASE("what was seen is told; a lost lease comes back on the same subnet") {
  Kept kept;
  kept.keeper->announce(kept.request());
  const auto lease = kept.lease_until(Clock::now() + 10s);
  REQUIRE(lease);
  const StorePaths paths{kept.options.prefix};
  kept.keeper->seen(7, 1, false);
  const auto deadline = Clock::now() + 10s;
  Revision seen = 0;
  while (seen != 7 && Clock::now() < deadline)
    if (const auto item = kept.store->get(paths.node("n1"))) seen = parse_node(item->value).seen_rev;
  CHECK(seen == 7);

  const std::string key = paths.subnet(format_subnet_key(lease->subnet, lease->subnet6));
  kept.store->revoke(lease->lease_id);
  REQUIRE_FALSE(kept.store->get(key));
  kept.keeper->disturbed(lease->rev + 100);
  const auto again = kept.lease_until(Clock::now() + 10s);
  REQUIRE(again);
  CHECK(again->subnet == lease->subnet);
  CHECK(kept.store->get(key));
}

TEST_CASE("what was seen is told sooner while the cluster's mode changes, and less of it after a restore") {
  Kept kept;
  kept.keeper->announce(kept.request());
  REQUIRE(kept.lease_until(Clock::now() + 10s));
  const StorePaths paths{kept.options.prefix};
  const auto told = [&](Revision wanted, Clock::duration within) {
    const auto deadline = Clock::now() + within;
    while (Clock::now() < deadline)
      if (const auto item = kept.store->get(paths.node("n1")); item && parse_node(item->value).seen_rev == wanted)
        return true;
    return false;
  };
  kept.keeper->seen(7, 1, false);
  REQUIRE(told(7, 5s));
  kept.keeper->seen(8, 1, false);
  CHECK_FALSE(told(8, 500ms));
  kept.keeper->seen(9, 1, true);
  CHECK(told(9, 2s));
  kept.keeper->seen(3, 1, true);
  CHECK(told(3, 2s));
}

TEST_CASE("a node without pods speaks by a record of its own, and takes a subnet again when it may") {
  Kept kept;
  const StorePaths paths{kept.options.prefix};
  const auto await_word = [&]() {
    const auto deadline = Clock::now() + 10s;
    while (Clock::now() < deadline) {
      for (AgentMessage& message : kept.mailbox.take())
        if (std::holds_alternative<SpeakingMessage>(message)) return true;
      pollfd bell{kept.mailbox.fd(), POLLIN, 0};
      ::poll(&bell, 1, 100);
    }
    return false;
  };
  const auto await_key = [&](const std::string& key, bool there) {
    const auto deadline = Clock::now() + 10s;
    while (Clock::now() < deadline)
      if (kept.store->get(key).has_value() == there) return true;
    return false;
  };
  kept.keeper->announce(kept.request());
  const auto lease = kept.lease_until(Clock::now() + 10s);
  REQUIRE(lease);
  const std::string subnet = paths.subnet(format_subnet_key(lease->subnet, lease->subnet6));
  kept.keeper->announce(kept.request(), false);
  REQUIRE(await_word());
  CHECK_FALSE(kept.store->get(subnet));
  CHECK(kept.store->list(paths.holders()).items.empty());
  const auto record = kept.store->get(paths.speaker("n1"));
  REQUIRE(record);
  CHECK(record->lease != 0);
  CHECK(parse_node(record->value).public_ip == *IpAddr::parse("192.168.77.1"));
  CHECK(await_key(paths.node("n1"), true));

  SECTION("another address is told by the same record") {
    AcquireRequest moved = kept.request();
    moved.node.public_ip = *IpAddr::parse("192.168.77.2");
    kept.keeper->announce(moved, false);
    const auto deadline = Clock::now() + 10s;
    IpAddr told;
    while (told != moved.node.public_ip && Clock::now() < deadline)
      told = parse_node(kept.store->get(paths.speaker("n1"))->value).public_ip;
    CHECK(told == moved.node.public_ip);
    CHECK(kept.store->get(paths.speaker("n1"))->lease == record->lease);
  }
  SECTION("a record that was deleted is written again") {
    kept.store->remove(paths.speaker("n1"));
    kept.keeper->disturbed(record->mod_rev + 1);
    CHECK(await_key(paths.speaker("n1"), true));
  }
  SECTION("with pods there is a subnet again, and no record") {
    kept.keeper->announce(kept.request());
    REQUIRE(kept.lease_until(Clock::now() + 10s));
    CHECK(await_key(paths.speaker("n1"), false));
    CHECK(kept.store->list(paths.subnets()).items.size() == 1);
  }
}
