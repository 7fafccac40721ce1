#include "tests/support/cluster_contract.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <set>

#include "base/error.h"
#include "core/records.h"
#include "store/cluster_store.h"

namespace knet::test {

using namespace std::chrono_literals;
using Catch::Contains;

namespace {

Prefix prefix(const char* text) { return Prefix::parse(text).value(); }
IpAddr ip(const std::string& text) { return IpAddr::parse(text).value(); }

/// `count` /24s, 10.5.1.0 and on.
NetworkConfig pool(int count) {
  NetworkConfig config;
  config.network = prefix("10.5.0.0/16");
  config.subnet_min = ip("10.5.1.0");
  config.subnet_max = ip("10.5.1.0").plus(static_cast<uint64_t>(count - 1) * 256);
  return config;
}

NetworkConfig pool6(int count) {
  NetworkConfig config;
  config.enable_v4 = false;
  config.enable_v6 = true;
  config.network6 = prefix("fd00:5::/48");
  config.subnet_min6 = ip("fd00:5:0:1::");
  config.subnet_max6 = ip("fd00:5:0:1::").plus_shifted(static_cast<uint64_t>(count - 1), 64);
  return config;
}

NetworkConfig dual(int count) {
  NetworkConfig config = pool(count), other = pool6(count);
  config.enable_v6 = true;
  config.network6 = other.network6;
  config.subnet_min6 = other.subnet_min6;
  config.subnet_max6 = other.subnet_max6;
  return config;
}

/// Node n7 has the addresses 192.168.77.7 and fd00:77::7, and machine id m7.
AcquireRequest request(const NetworkConfig& config, int n) {
  AcquireRequest request;
  std::string number = std::to_string(n);
  request.node.name = "n" + number;
  request.node.machine_id = "m" + number;
  request.node.version = "1.0.0";
  if (config.enable_v4) request.node.public_ip = ip("192.168.77." + number);
  if (config.enable_v6) request.node.public_ip6 = ip("fd00:77::" + number);
  request.config = config;
  request.mode = "vxlan";
  request.data.v4 = R"({"VNI":1,"VtepMAC":"02:00:00:00:00:01"})";
  return request;
}

SubnetChoice choice(const Lease& lease) { return {lease.subnet, lease.subnet6}; }

struct Cluster {
  explicit Cluster(StoreRig& rig) : rig(rig), store(rig.open()), use(*store, paths(rig)) {}
  static StorePaths paths(const StoreRig& rig) { return {rig.prefix() + "net"}; }
  /// What a node's death looks like a minute later, without waiting for it.
  void die(const Acquired& node) { store->revoke(node.presence.lease); }
  std::string value(const Lease& lease) {
    return store->get(use.paths().subnet(format_subnet_key(lease.subnet, lease.subnet6)))->value;
  }
  size_t keys(const std::string& folder) { return store->list(use.paths().prefix + "/" + folder).items.size(); }

  StoreRig& rig;
  std::unique_ptr<Store> store;
  ClusterStore use;
};

void config_and_schema(StoreRig& rig) {
  Cluster c(rig);
  CHECK_FALSE(c.use.load_config());
  auto first = c.use.create_config("one");
  REQUIRE(first);
  CHECK(c.use.load_schema() == kSchema);
  CHECK_FALSE(c.use.create_config("two"));
  CHECK(c.use.load_config()->json == "one");
  CHECK(c.use.load_config()->rev == *first);
  auto second = c.use.swap_config("two", *first);
  REQUIRE(second);
  CHECK_FALSE(c.use.swap_config("three", *first));
  CHECK(c.use.force_config("four") > *second);
  CHECK(c.use.load_config()->json == "four");
  REQUIRE(c.store->remove(c.use.paths().config()));
  CHECK_NOTHROW(c.use.force_config("five"));  // the schema key is there already

  auto schema = c.store->get(c.use.paths().schema());
  auto newer = c.store->swap(schema->key, "2", schema->mod_rev);
  CHECK_THROWS_WITH(c.use.acquire(request(pool(4), 1)), Contains("schema 2") && Contains("upgrade"));
  CHECK_THROWS_AS(c.use.force_config("six"), Error);
  CHECK(c.use.load_config()->json == "five");  // reading never refuses
  CHECK(c.keys("knet/nodes/") == 0);
  REQUIRE(c.store->swap(schema->key, "new\x01", *newer));
  CHECK_THROWS_WITH(c.use.load_schema(), Contains("new\\x01"));
}

void newer_schema(StoreRig& rig) {
  Cluster c(rig);
  REQUIRE(c.use.create_config("one"));
  AcquireRequest wanted = request(pool(4), 1);
  Acquired node = c.use.acquire(wanted);
  auto schema = c.store->get(c.use.paths().schema());
  REQUIRE(c.store->swap(schema->key, "2", schema->mod_rev));

  // What stands is kept alive; nothing is written any more.
  CHECK(c.use.renew(node.lease));
  c.use.refresh(parse_node(node.presence.value), node.presence);
  NodeRecord record = wanted.node;
  record.seen_rev = 99;
  CHECK_THROWS_WITH(c.use.refresh(record, node.presence), Contains("schema 2"));
  Lease moved = node.lease;
  moved.public_ip = IpAddr::v4(0xc0a84d63);
  CHECK_THROWS_WITH(c.use.update_lease(node.lease, moved), Contains("schema 2"));
  CHECK(c.value(node.lease) == format_lease(node.lease));
  CHECK(c.store->time_left(node.presence.lease));
}

void first_and_again(StoreRig& rig) {
  Cluster c(rig);
  AcquireRequest wanted = request(pool(16), 1);
  Acquired first = c.use.acquire(wanted);
  CHECK(first.how == Acquired::How::chosen);
  CHECK(first.notices.empty());
  CHECK(first.lease.lease_id != 0);
  CHECK(c.value(first.lease) ==
        R"({"PublicIP":"192.168.77.1","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:01"}})");
  auto left = c.store->time_left(first.lease.lease_id);
  REQUIRE(left);
  CHECK(*left > 23h);
  CHECK(*left <= 24h);
  CHECK(*c.store->time_left(first.presence.lease) <= 60s);

  // A restart changes no lease: no event reaches the peers.
  Acquired again = c.use.acquire(wanted);
  CHECK(again.how == Acquired::How::adopted);
  CHECK(again.lease.rev == first.lease.rev);
  CHECK(again.lease.lease_id == first.lease.lease_id);
  CHECK(again.lease.subnet == first.lease.subnet);

  SECTION("another address and mode keep the subnet") {
    wanted.node.public_ip = ip("192.168.77.200");
    wanted.mode = "host-gw";
    wanted.data = {};
    Acquired moved = c.use.acquire(wanted);
    CHECK(moved.lease.subnet == first.lease.subnet);
    CHECK(moved.lease.lease_id == first.lease.lease_id);
    CHECK(moved.lease.rev > first.lease.rev);
    CHECK(c.value(moved.lease) == R"({"PublicIP":"192.168.77.200","PublicIPv6":null,"BackendType":"host-gw"})");
  }
  SECTION("the same lease is taken again after it ended") {
    c.store->revoke(first.lease.lease_id);
    CHECK_FALSE(c.use.renew(first.lease));
    CHECK(c.keys("subnets/") == 0);
    CHECK(c.keys("knet/holders/") == 0);
    wanted.previous = choice(first.lease);
    Acquired taken = c.use.acquire(wanted);
    CHECK(taken.how == Acquired::How::previous);
    CHECK(taken.lease.subnet == first.lease.subnet);
    CHECK(c.use.renew(taken.lease));
  }
  SECTION("a key that somebody overwrote with another address is taken back, and no other subnet") {
    Lease stolen = first.lease;
    stolen.public_ip = ip("192.168.77.66");
    const std::string key = c.use.paths().subnet(format_subnet_key(first.lease.subnet, {}));
    REQUIRE(c.store->swap(key, format_lease(stolen), first.lease.rev, first.lease.lease_id));
    wanted.previous = choice(first.lease);
    Acquired taken = c.use.acquire(wanted);
    CHECK(taken.how == Acquired::How::adopted);
    CHECK(taken.lease.subnet == first.lease.subnet);
    CHECK(taken.lease.lease_id == first.lease.lease_id);
    CHECK(parse_lease(*parse_subnet_key(format_subnet_key(first.lease.subnet, {})), c.value(taken.lease), "udp").public_ip ==
          wanted.node.public_ip);
    CHECK(c.keys("subnets/") == 1);
  }
  SECTION("a key that somebody deleted is taken again") {
    REQUIRE(c.store->remove(c.use.paths().subnet(format_subnet_key(first.lease.subnet, {}))));
    wanted.previous = choice(first.lease);
    Acquired taken = c.use.acquire(wanted);
    CHECK(taken.lease.subnet == first.lease.subnet);
    CHECK(c.keys("subnets/") == 1);
  }
  SECTION("a subnet that does not fit a new config is given back") {
    wanted.config = pool(16);
    wanted.config.subnet_min = ip("10.5.100.0");
    wanted.config.subnet_max = ip("10.5.110.0");
    Acquired other = c.use.acquire(wanted);
    CHECK(other.how == Acquired::How::chosen);
    CHECK(wanted.config.subnet_min <= other.lease.subnet.addr());
    CHECK(c.keys("subnets/") == 1);
    CHECK(c.keys("knet/holders/") == 1);
    REQUIRE(other.notices.size() == 1);
    CHECK_THAT(other.notices[0], Contains(first.lease.subnet.str()) && Contains("does not fit"));
  }
}

void updates(StoreRig& rig) {
  Cluster c(rig);
  Acquired node = c.use.acquire(request(pool(4), 1));
  Lease content = node.lease;
  content.public_ip = ip("192.168.77.99");
  content.subnet = prefix("10.5.9.0/24");  // not its to change
  auto updated = c.use.update_lease(node.lease, content);
  REQUIRE(updated);
  CHECK(updated->subnet == node.lease.subnet);
  CHECK(updated->rev > node.lease.rev);
  CHECK(c.store->get(c.use.paths().subnet(format_subnet_key(updated->subnet, {})))->lease == node.lease.lease_id);
  CHECK_FALSE(c.use.update_lease(node.lease, content));
  CHECK(c.use.update_lease(*updated, content));
}

void duplicate_names(StoreRig& rig) {
  Cluster c(rig);
  Acquired first = c.use.acquire(request(pool(4), 1));
  AcquireRequest clone = request(pool(4), 2);
  clone.node.name = "n1";
  CHECK_THROWS_WITH(c.use.acquire(clone), Contains("n1") && Contains("192.168.77.1") && Contains("m1") && Contains("--node-name"));
  CHECK(c.keys("subnets/") == 1);
  c.die(first);
  Acquired heir = c.use.acquire(clone);
  CHECK(heir.lease.subnet == first.lease.subnet);
  REQUIRE(heir.notices.size() == 1);
  CHECK_THAT(heir.notices[0], Contains("taken over") && Contains("n1"));
  // The one that lost it, back from the dead.
  CHECK_THROWS_WITH(c.use.acquire(request(pool(4), 1)), Contains("192.168.77.2") && Contains("m2"));
}

void clones_of_one_id(StoreRig& rig) {
  Cluster c(rig);
  AcquireRequest original = request(pool(4), 1);
  original.node.instance = "boot-a";
  Acquired first = c.use.acquire(original);
  std::string value = c.value(first.lease);

  AcquireRequest clone = request(pool(4), 2);
  clone.node.name = original.node.name;
  clone.node.machine_id = original.node.machine_id;
  clone.node.instance = "boot-b";
  CHECK_THROWS_WITH(c.use.acquire(clone), Contains("n1") && Contains("192.168.77.1") && Contains("same machine id (m1)"));
  CHECK(c.keys("subnets/") == 1);
  CHECK(c.value(first.lease) == value);
  c.use.refresh(original.node, first.presence);  // the holder is not put off by it

  // The machine itself: restarted with another address, rebooted with the same one, with an agent that knows no instance.
  AcquireRequest moved = original;
  moved.node.public_ip = ip("192.168.77.3");
  CHECK(c.use.acquire(moved).lease.subnet == first.lease.subnet);
  AcquireRequest rebooted = moved;
  rebooted.node.instance = "boot-c";
  Acquired alive = c.use.acquire(rebooted);
  CHECK(alive.lease.subnet == first.lease.subnet);
  AcquireRequest older = clone;
  older.node.instance.clear();
  CHECK(c.use.acquire(older).lease.subnet == first.lease.subnet);
  alive = c.use.acquire(older);

  // Rebooted with another address: when its earlier life is over.
  c.die(alive);
  CHECK(c.use.acquire(original).lease.subnet == first.lease.subnet);
}

void duplicate_addresses(StoreRig& rig) {
  Cluster c(rig);
  Acquired first = c.use.acquire(request(pool(4), 1));
  AcquireRequest other = request(pool(4), 2);
  other.node.public_ip = ip("192.168.77.1");
  CHECK_THROWS_WITH(c.use.acquire(other), Contains("192.168.77.1") && Contains("n1") && Contains("knet node remove n1"));
  CHECK(c.keys("subnets/") == 1);
  CHECK(c.keys("knet/nodes/") == 1);  // the refused one left nothing
  c.die(first);
  Acquired heir = c.use.acquire(other);
  CHECK(heir.lease.subnet == first.lease.subnet);
  REQUIRE(heir.notices.size() == 1);
  CHECK_THAT(heir.notices[0], Contains("n1") && Contains("silent"));
  CHECK_THROWS_WITH(c.use.acquire(request(pool(4), 1)), Contains("n2"));

  AcquireRequest renamed = other;
  renamed.node.name = "better";
  Acquired same = c.use.acquire(renamed);
  CHECK(same.lease.subnet == first.lease.subnet);
  CHECK_THAT(same.notices.at(0), Contains("n2"));
}

void clones_at_the_same_moment(StoreRig& rig) {
  std::atomic<int> winners{0}, refused{0};
  std::vector<std::thread> threads;
  for (int n = 1; n <= 4; ++n)
    threads.emplace_back([&, n] {
      Cluster c(rig);
      AcquireRequest clone = request(pool(8), n);
      clone.node.public_ip = ip("192.168.77.1");
      try {
        c.use.acquire(clone);
        ++winners;
      } catch (const Error& error) {
        refused += error.kind == ErrorKind::conflict;
      }
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(winners == 1);
  CHECK(refused == 3);
  CHECK(Cluster(rig).keys("subnets/") == 1);
}

void flannel_leases(StoreRig& rig) {
  Cluster c(rig);
  LeaseId old = c.store->grant(3600s);
  REQUIRE(c.store->create(c.use.paths().subnet("10.5.3.0-24"), R"({"PublicIP":"192.168.77.1","PublicIPv6":null})", old));
  REQUIRE(c.store->create(c.use.paths().subnet("10.5.2.0-24"), R"({"PublicIP":"192.168.77.2","PublicIPv6":null})", old));
  REQUIRE(c.store->create(c.use.paths().subnet("nonsense"), "x"));
  REQUIRE(c.store->create(c.use.paths().subnet("10.5.4.0-24"), "not json"));
  Acquired node = c.use.acquire(request(pool(8), 1));
  CHECK(node.how == Acquired::How::adopted);
  CHECK(node.lease.subnet == prefix("10.5.3.0/24"));
  CHECK(node.lease.lease_id != old);  // its TTL is not ours
  CHECK_THAT(node.notices.at(0), Contains("flanneld"));

  // A flanneld that takes the key over leaves our holder record behind; it must not speak for the new holder.
  auto item = c.store->get(c.use.paths().subnet("10.5.3.0-24"));
  REQUIRE(c.store->swap(item->key, R"({"PublicIP":"192.168.77.9","PublicIPv6":null})", item->mod_rev, old));
  LeaseTable table = c.use.list_leases("vxlan", true);
  REQUIRE(table.rows.size() == 2);
  CHECK(table.rows[1].node.empty());
  CHECK(table.rows[1].lease.mode == "udp");
  CHECK(table.rows[1].left);
  CHECK(table.problems.size() == 2);
  Acquired moved = c.use.acquire(request(pool(8), 1));
  CHECK(moved.lease.subnet != node.lease.subnet);
  CHECK(moved.lease.subnet != prefix("10.5.4.0/24"));  // unreadable is still taken
}

void reservations(StoreRig& rig) {
  Cluster c(rig);
  NetworkConfig config = pool(4);
  SubnetChoice two{prefix("10.5.2.0/24"), {}};
  CHECK(c.use.reserve(config, two, "n1"));
  CHECK_FALSE(c.use.reserve(config, two, "n1"));
  CHECK_THROWS_WITH(c.use.reserve(config, two, "n2"), Contains("n1") && Contains("10.5.2.0/24"));
  CHECK_THROWS_WITH(c.use.reserve(config, {prefix("10.5.9.0/24"), {}}, "n1"), Contains("10.5.9.0/24") && Contains("10.5.4.0"));
  CHECK_THROWS_AS(c.use.reserve(config, {prefix("10.5.3.0/25"), {}}, "n1"), Error);
  CHECK(c.store->get(c.use.paths().subnet("10.5.2.0-24"))->lease == 0);

  // Nobody else gets it, its node does, before what it had previously.
  std::vector<Acquired> others;
  for (int n = 2; n <= 4; ++n) others.push_back(c.use.acquire(request(config, n)));
  for (const Acquired& other : others) CHECK(other.lease.subnet != two.subnet);
  CHECK_THROWS_WITH(c.use.acquire(request(config, 5)), Contains("10.5.2.0/24 for n1") && Contains("knet subnet release 10.5.2.0/24"));
  Acquired node = c.use.acquire(request(config, 1));
  CHECK(node.how == Acquired::How::reserved);
  CHECK(node.lease.subnet == two.subnet);
  CHECK(node.lease.lease_id == 0);
  CHECK(c.use.renew(node.lease));
  CHECK(c.use.acquire(request(config, 1)).lease.rev == node.lease.rev);
  REQUIRE(c.use.list_reservations().size() == 1);
  CHECK(c.use.list_reservations()[0].in_use);

  SECTION("it survives its node's leaving") {
    CHECK(c.use.release(node.lease, "n1"));
    CHECK_FALSE(c.use.list_reservations()[0].in_use);
    CHECK_THROWS_AS(c.use.acquire(request(config, 5)), Error);
    CHECK(c.use.acquire(request(config, 1)).lease.subnet == two.subnet);
  }
  SECTION("it can be given up in use, and the lease goes on") {
    CHECK(c.use.unreserve("10.5.2.0-24"));
    CHECK_FALSE(c.use.unreserve("10.5.2.0-24"));
    Acquired again = c.use.acquire(request(config, 1));
    CHECK(again.lease.subnet == two.subnet);
    CHECK(again.lease.lease_id != 0);
  }
  SECTION("it can be given up unused, and the subnet is free") {
    CHECK(c.use.release(node.lease, "n1"));
    CHECK(c.use.unreserve("10.5.2.0-24"));
    CHECK(c.use.acquire(request(config, 5)).lease.subnet == two.subnet);
  }
  SECTION("a subnet in use can be reserved for its holder only") {
    CHECK_THROWS_WITH(c.use.reserve(config, choice(others[0].lease), "n9"), Contains("n2"));
    CHECK(c.use.reserve(config, choice(others[0].lease), "n2"));
    Acquired kept = c.use.acquire(request(config, 2));
    CHECK(kept.lease.subnet == others[0].lease.subnet);
    CHECK(kept.lease.lease_id == 0);
    c.store->revoke(others[0].lease.lease_id);
    CHECK(c.keys("subnets/") == 4);
  }
}

void exhausted(StoreRig& rig) {
  Cluster c(rig);
  NetworkConfig config = pool(3);
  Acquired first = c.use.acquire(request(config, 1));
  c.use.acquire(request(config, 2));
  std::set<std::string> free{"10.5.1.0-24", "10.5.2.0-24", "10.5.3.0-24"};
  for (const LeaseRow& row : c.use.list_leases("", false).rows) free.erase(row.key);
  REQUIRE(c.store->create(c.use.paths().subnet(*free.begin()), R"({"PublicIP":"192.168.77.50","PublicIPv6":null})"));
  CHECK_THROWS_WITH(c.use.acquire(request(config, 4)), Contains("no free /24") && Contains("10.5.0.0/16") && Contains("192.168.77.50") &&
                                                           !Contains("silent nodes"));
  c.die(first);
  CHECK_THROWS_WITH(c.use.acquire(request(config, 4)), Contains(first.lease.subnet.str() + " by n1") && Contains("knet node remove n1"));
  CHECK(c.keys("knet/nodes/") == 1);
  CHECK_FALSE(c.use.remove_node("n1", {}).empty());
  CHECK(c.use.acquire(request(config, 4)).lease.subnet == first.lease.subnet);
}

void race(StoreRig& rig, const NetworkConfig& config, int nodes) {
  std::vector<std::thread> threads;
  std::mutex mutex;
  std::vector<Lease> got;
  std::vector<std::string> errors;
  for (int n = 1; n <= nodes; ++n)
    threads.emplace_back([&, n] {
      try {
        Cluster c(rig);
        Acquired acquired = c.use.acquire(request(config, n));
        std::lock_guard lock(mutex);
        got.push_back(acquired.lease);
      } catch (const std::exception& error) {
        std::lock_guard lock(mutex);
        errors.push_back(error.what());
      }
    });
  for (std::thread& thread : threads) thread.join();
  for (const std::string& error : errors) UNSCOPED_INFO(error);
  CHECK(errors.empty());
  std::set<Prefix> v4, v6;
  for (const Lease& lease : got) {
    if (lease.subnet) CHECK(v4.insert(lease.subnet).second);
    if (lease.subnet6) CHECK(v6.insert(lease.subnet6).second);
  }
  CHECK(v4.size() == (config.enable_v4 ? static_cast<size_t>(nodes) : 0));
  CHECK(v6.size() == (config.enable_v6 ? static_cast<size_t>(nodes) : 0));
  Cluster c(rig);
  CHECK(c.keys("subnets/") == static_cast<size_t>(nodes));
  CHECK(c.keys("knet/holders/") == static_cast<size_t>(nodes));
}

void presence(StoreRig& rig) {
  Cluster c(rig);
  Acquired node = c.use.acquire(request(pool(4), 1));
  NodeRecord record = request(pool(4), 1).node;
  record.subnets = {node.lease.subnet};
  Presence p = node.presence;
  c.use.refresh(record, p);
  Revision wrote = p.rev;
  CHECK(wrote > node.presence.rev);
  CHECK(p.lease == node.presence.lease);
  c.use.refresh(record, p);
  CHECK(p.rev == wrote);  // nothing new, nothing written
  c.store->revoke(p.lease);
  c.use.refresh(record, p);
  CHECK(p.lease != node.presence.lease);
  CHECK(c.store->get(c.use.paths().node("n1"))->lease == p.lease);

  NodeRecord impostor = record;
  impostor.machine_id = "m9";
  Presence other;
  CHECK_THROWS_WITH(c.use.refresh(impostor, other), Contains("n1") && Contains("m1"));
  c.store->revoke(p.lease);
  c.use.refresh(impostor, other);
  CHECK_THROWS_AS(c.use.refresh(record, p), Error);
}

void lists_and_removal(StoreRig& rig) {
  Cluster c(rig);
  NetworkConfig config = pool(8);
  Acquired alive = c.use.acquire(request(config, 1));
  Acquired silent = c.use.acquire(request(config, 2));
  c.die(silent);
  REQUIRE(c.store->create(c.use.paths().subnet("10.5.60.0-24"), R"({"PublicIP":"192.168.77.4","PublicIPv6":null,"BackendType":"vxlan"})"));
  Presence joining;
  c.use.refresh(request(config, 3).node, joining);
  REQUIRE(c.use.reserve(config, choice(c.use.acquire(request(config, 5)).lease), "n5"));
  REQUIRE(c.use.release(c.use.acquire(request(config, 5)).lease, "n5"));
  REQUIRE(c.store->create(c.use.paths().knet() + "endpoints/n2/x", "1", silent.lease.lease_id));

  NodeTable nodes = c.use.list_nodes("vxlan", true);
  REQUIRE(nodes.rows.size() == 4);
  CHECK(nodes.problems.empty());
  CHECK(nodes.rows[0].name == "192.168.77.4");
  CHECK(nodes.rows[0].state == NodeState::flannel);
  CHECK(nodes.rows[1].name == "n1");
  CHECK(nodes.rows[1].state == NodeState::ready);
  CHECK(nodes.rows[1].seen.value() < 10s);
  CHECK(nodes.rows[1].leases.at(0).left.value() > 23h);
  CHECK(nodes.rows[2].name == "n2");
  CHECK(nodes.rows[2].state == NodeState::silent);
  CHECK(nodes.rows[2].version == "1.0.0");
  CHECK(nodes.rows[2].seen);
  CHECK(nodes.rows[3].name == "n3");
  CHECK(nodes.rows[3].state == NodeState::joining);
  CHECK_FALSE(c.use.list_nodes("vxlan", false).rows[1].seen);

  CHECK_THROWS_WITH(c.use.remove_node("n1", {}), Contains("alive") && Contains("knet leave"));
  CHECK_THROWS_WITH(c.use.remove_node("192.168.77.4", {}), Contains("--force"));
  CHECK_THROWS_WITH(c.use.remove_node("192.168.77.2", {}), Contains("knet node remove n2"));
  CHECK(c.use.remove_node("nobody", {}).empty());
  CHECK(c.use.remove_node("n2", {}).size() == 1);
  CHECK(c.use.remove_node("192.168.77.4", {false, true}).size() == 1);
  CHECK(c.use.remove_node("n5", {}).empty());  // the reservation stays
  std::vector<std::string> given_up = c.use.remove_node("n5", {true, false});
  REQUIRE(given_up.size() == 1);
  CHECK_THAT(given_up[0], Contains("reservation 10.5."));
  CHECK(c.keys("knet/endpoints/") == 0);
  CHECK(c.keys("subnets/") == 1);
  CHECK(c.keys("knet/reservations/") == 0);

  CHECK(c.use.release(alive.lease, "n1"));
  CHECK_FALSE(c.use.release(alive.lease, "n1"));
  CHECK(c.keys("subnets/") == 0);
  CHECK(c.keys("knet/holders/") == 0);
  CHECK_FALSE(c.store->get(c.use.paths().node("n1")));
}

void bgp_records(StoreRig& rig) {
  Cluster c(rig);
  CHECK(c.use.load_bgp_config() == BgpConfig{});
  CHECK_FALSE(c.use.update_bgp_config([](BgpConfig&) {}));
  CHECK(c.use.update_bgp_config([](BgpConfig& config) { config.mesh = false; }));
  // Somebody else writes between our reading and our writing: both changes stand.
  bool once = false;
  CHECK(c.use.update_bgp_config([&](BgpConfig& config) {
    if (!std::exchange(once, true)) c.use.update_bgp_config([](BgpConfig& theirs) { theirs.asn = 65010; });
    config.password = "secret";
  }));
  CHECK(c.use.load_bgp_config().asn == 65010);
  CHECK(c.use.load_bgp_config().password == "secret");
  CHECK_FALSE(c.use.load_bgp_config().mesh);
  CHECK_THROWS_WITH(c.use.update_bgp_config([](BgpConfig&) { throw Error(ErrorKind::usage, "no"); }), "no");
  const auto config = c.store->get(c.use.paths().bgp_config());
  REQUIRE(config);
  CHECK(config->lease == 0);
  REQUIRE(c.store->swap(config->key, "{", config->mod_rev));
  CHECK_THROWS_WITH(c.use.update_bgp_config([](BgpConfig& b) { b.asn = 1; }), Contains("bgp/config"));

  BgpPeerSpec tor;
  tor.name = "tor1";
  tor.remote = prefix("192.168.77.254/32");
  tor.asn = 65001;
  CHECK(c.use.create_bgp_peer(tor));
  CHECK_FALSE(c.use.create_bgp_peer(tor));
  CHECK_FALSE(c.use.update_bgp_peer("tor2", [](BgpPeerSpec&) {}));
  CHECK(c.use.update_bgp_peer("tor1", [](BgpPeerSpec&) {}) == std::optional(false));
  CHECK(c.use.update_bgp_peer("tor1", [](BgpPeerSpec& peer) { peer.passive = true; }) == std::optional(true));
  REQUIRE(c.store->create(c.use.paths().bgp_peer("odd"), "[]"));
  const BgpPeerTable peers = c.use.list_bgp_peers();
  REQUIRE(peers.rows.size() == 1);
  CHECK(peers.rows[0].name == "tor1");
  CHECK(peers.rows[0].passive);
  REQUIRE(peers.problems.size() == 1);
  CHECK_THAT(peers.problems[0], Contains("knet/bgp/peers/odd"));
  CHECK(c.use.remove_bgp_peer("odd"));
  CHECK(c.use.remove_bgp_peer("tor1"));
  CHECK_FALSE(c.use.remove_bgp_peer("tor1"));

  CHECK(c.use.update_node_spec("n7", [](NodeSpec& spec) { spec.asn = 65007; }));
  CHECK(c.use.update_node_spec("n7", [](NodeSpec& spec) { spec.labels = {{"rack", "a"}}; }));
  const NodeTable nodes = c.use.list_nodes("vxlan", false);
  REQUIRE(nodes.rows.size() == 1);
  CHECK(nodes.rows[0].state == NodeState::gone);
  CHECK(nodes.rows[0].spec->asn == std::optional<uint32_t>(65007));
  CHECK(c.use.list_node_specs().rows.at(0).labels.size() == 1);
  CHECK(c.use.update_node_spec("n7", [](NodeSpec& spec) {
    spec.asn.reset();
    spec.labels.clear();
  }));
  CHECK(c.keys("knet/specs/") == 0);
}

void nodes_without_pods(StoreRig& rig) {
  Cluster c(rig);
  REQUIRE(c.use.create_config("{}"));
  const AcquireRequest n7 = request(pool(4), 7);
  Acquired had = c.use.acquire(n7);
  Speaking spoken = c.use.speak(n7.node);
  CHECK(c.keys("subnets/") == 0);
  CHECK(c.keys("knet/holders/") == 0);
  CHECK(c.keys("knet/speakers/") == 1);
  CHECK(c.use.renew(spoken));
  const NodeTable nodes = c.use.list_nodes("vxlan", false);
  REQUIRE(nodes.rows.size() == 1);
  CHECK(nodes.rows[0].no_pods);
  CHECK(nodes.rows[0].state == NodeState::ready);
  // Another machine may not take the name while this one lives.
  AcquireRequest other = request(pool(4), 7);
  other.node.machine_id = "another";
  CHECK_THROWS_WITH(c.use.speak(other.node), Contains("held by another machine"));

  const auto same = c.use.update_speaking(spoken, n7.node);
  REQUIRE(same);
  CHECK(same->rev == spoken.rev);
  NodeRecord moved = n7.node;
  moved.public_ip = ip("192.168.77.77");
  const auto told = c.use.update_speaking(spoken, moved);
  REQUIRE(told);
  CHECK(told->rev > spoken.rev);
  NodeRecord again = moved;
  again.public_ip = ip("192.168.77.78");
  CHECK_FALSE(c.use.update_speaking(spoken, again));  // of an earlier revision

  SECTION("the record goes with its lease") {
    c.store->revoke(told->lease);
    CHECK(c.keys("knet/speakers/") == 0);
    CHECK_FALSE(c.use.renew(*told));
    CHECK(c.use.speak(moved).lease != told->lease);
  }
  SECTION("again by the same machine it keeps its lease") { CHECK(c.use.speak(moved).lease == told->lease); }
  SECTION("with a subnet again it goes") {
    CHECK_FALSE(c.use.end_speaking("n7", "another"));
    CHECK(c.use.acquire(n7).lease.subnet);
    CHECK(c.use.end_speaking("n7", "m7"));
    CHECK(c.keys("knet/speakers/") == 0);
    CHECK_FALSE(c.use.list_nodes("vxlan", false).rows.at(0).no_pods);
  }
  SECTION("a dead one is removed, with its settings") {
    c.use.update_node_spec("n7", [](NodeSpec& spec) { spec.pods = false; });
    CHECK_THROWS_WITH(c.use.remove_node("n7", {}), Contains("is alive"));
    c.store->remove(c.use.paths().node("n7"));
    CHECK(c.use.list_nodes("vxlan", false).rows.at(0).state == NodeState::silent);
    CHECK(c.use.remove_node("n7", {}).size() == 2);
    CHECK(c.keys("knet/speakers/") == 0);
    CHECK(c.keys("knet/specs/") == 0);
  }
  SECTION("a reservation stays, unheld") {
    const Acquired reserved = c.use.acquire(n7);
    REQUIRE(c.use.reserve(pool(4), choice(reserved.lease), "n7"));
    c.use.speak(n7.node);
    CHECK(c.use.list_reservations().at(0).in_use == false);
    CHECK(c.use.acquire(n7).lease.subnet == reserved.lease.subnet);
  }
}

void old_leases_are_not_ours(StoreRig& rig) {
  // Released, then taken by another: a late release or update by the first must not touch it.
  Cluster c(rig);
  NetworkConfig config = pool(1);
  Acquired first = c.use.acquire(request(config, 1));
  REQUIRE(c.use.release(first.lease, "n1"));
  Acquired second = c.use.acquire(request(config, 2));
  CHECK_FALSE(c.use.release(first.lease, "n1"));
  CHECK_FALSE(c.use.update_lease(first.lease, first.lease));
  CHECK_FALSE(c.use.renew(first.lease));
  CHECK(c.value(second.lease).find("192.168.77.2") != std::string::npos);
}

}  // namespace

void cluster_contract(StoreRig& rig) {
  SECTION("config and schema") { config_and_schema(rig); }
  SECTION("under a newer schema nothing is written, and what stands is kept alive") { newer_schema(rig); }
  SECTION("a node's first lease, and its lease again") { first_and_again(rig); }
  SECTION("updates keep the subnet") { updates(rig); }
  SECTION("a name held by a live machine is refused, by a dead one taken over") { duplicate_names(rig); }
  SECTION("of two machines with one id and name the second is refused") { clones_of_one_id(rig); }
  SECTION("an address held by a live machine is refused, by a dead one taken over") { duplicate_addresses(rig); }
  SECTION("of clones at the same moment one gets in") { clones_at_the_same_moment(rig); }
  SECTION("flannel's leases are adopted and respected") { flannel_leases(rig); }
  SECTION("reservations") { reservations(rig); }
  SECTION("an exhausted pool says who holds it") { exhausted(rig); }
  SECTION("N nodes on exactly N subnets, IPv4") { race(rig, pool(12), 12); }
  SECTION("N nodes on exactly N subnets, IPv6") { race(rig, pool6(12), 12); }
  SECTION("N nodes on exactly N subnets, dual stack") { race(rig, dual(12), 12); }
  SECTION("presence") { presence(rig); }
  SECTION("lists and removal") { lists_and_removal(rig); }
  SECTION("BGP's records") { bgp_records(rig); }
  SECTION("nodes without pods") { nodes_without_pods(rig); }
  SECTION("a lease that was given back is not ours any more") { old_leases_are_not_ours(rig); }
}

}  // namespace knet::test
