#include "cni/address_store.h"

#include <catch2/catch.hpp>
#include <fstream>
#include <set>
#include <thread>

#include "base/error.h"

using namespace knet;

namespace {

struct Folder {
  Folder() {
    char name[] = "/tmp/knet-ipam-XXXXXX";
    path = ::mkdtemp(name);
  }
  ~Folder() { std::filesystem::remove_all(path); }
  std::filesystem::path path;
};

const Prefix kSubnet = *Prefix::parse("10.244.1.0/24");
IpAddr ip(const char* text) { return *IpAddr::parse(text); }

}  // namespace

TEST_CASE("addresses begin at the second host and rest before they are used again") {
  Folder folder;
  AddressStore store(folder.path);
  CHECK(store.take(kSubnet, "a") == ip("10.244.1.2"));
  CHECK(store.take(kSubnet, "a") == ip("10.244.1.2"));
  CHECK(store.take(kSubnet, "b") == ip("10.244.1.3"));
  CHECK(store.release("b") == std::vector<IpAddr>{ip("10.244.1.3")});
  CHECK(store.take(kSubnet, "c") == ip("10.244.1.4"));
  CHECK(store.holder(ip("10.244.1.4")) == "c");
  CHECK_FALSE(store.holder(ip("10.244.1.3")));
}

TEST_CASE("every host address but the first is given out once, then the store says that it is full") {
  Folder folder;
  AddressStore store(folder.path);
  const Prefix subnet = *Prefix::parse("10.244.1.16/28");
  std::set<IpAddr> seen;
  for (int i = 0; i < 13; ++i) seen.insert(store.take(subnet, "p" + std::to_string(i)));
  CHECK(seen.size() == 13);
  CHECK(*seen.begin() == ip("10.244.1.18"));
  CHECK(*seen.rbegin() == ip("10.244.1.30"));
  CHECK_THROWS_WITH(store.take(subnet, "late"), Catch::Contains("10.244.1.16/28") && Catch::Contains("13"));
  store.release("p5");
  CHECK(store.take(subnet, "late") == ip("10.244.1.23"));
}

TEST_CASE("families are apart") {
  Folder folder;
  AddressStore store(folder.path);
  CHECK(store.take(kSubnet, "a") == ip("10.244.1.2"));
  CHECK(store.take(*Prefix::parse("fd00:1::/64"), "a") == ip("fd00:1::2"));
  CHECK(store.release("a").size() == 2);
}

TEST_CASE("a wanted address is exact, inside, and nobody else's") {
  Folder folder;
  AddressStore store(folder.path);
  store.take(kSubnet, ip("10.244.1.77"), "a");
  store.take(kSubnet, ip("10.244.1.77"), "a");
  CHECK_THROWS_WITH(store.take(kSubnet, ip("10.244.1.77"), "b"), Catch::Contains("held by endpoint a"));
  CHECK_THROWS_WITH(store.take(kSubnet, ip("10.244.2.1"), "b"), Catch::Contains("10.244.1.0/24"));
}

TEST_CASE("another boot's addresses are void") {
  Folder folder;
  std::filesystem::create_directories(folder.path / "an-earlier-boot");
  std::ofstream(folder.path / "an-earlier-boot" / "10.244.1.2") << "x";
  AddressStore store(folder.path);
  CHECK(store.take(kSubnet, "a") == ip("10.244.1.2"));
  CHECK_FALSE(std::filesystem::exists(folder.path / "an-earlier-boot"));
}

TEST_CASE("a subnet without room is refused") {
  Folder folder;
  AddressStore store(folder.path);
  CHECK_THROWS_AS(store.take(*Prefix::parse("10.0.0.0/31"), "a"), Error);
  CHECK_THROWS_AS(store.take(*Prefix::parse("10.0.0.0/32"), "a"), Error);
}

TEST_CASE("threads with stores of their own never share an address") {
  Folder folder;
  std::vector<std::thread> threads;
  std::vector<std::vector<IpAddr>> got(4);
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 40; ++i) got[t].push_back(AddressStore(folder.path).take(kSubnet, std::to_string(t) + "-" + std::to_string(i)));
    });
  }
  for (auto& thread : threads) thread.join();
  std::set<IpAddr> all;
  for (const auto& list : got) all.insert(list.begin(), list.end());
  CHECK(all.size() == 160);
}
