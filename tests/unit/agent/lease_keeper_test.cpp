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
