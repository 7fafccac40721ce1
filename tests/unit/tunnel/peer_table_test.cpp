#include "tunnel/peer_table.h"

#include <catch2/catch.hpp>
#include <random>

using namespace knet;

namespace {

TunnelPeer peer(const std::string& inner, const std::string& outer, uint16_t port = 8285) {
  TunnelPeer made;
  made.inner = *Prefix::parse(inner);
  made.outer = *IpAddr::parse(outer);
  made.port = port;
  return made;
}

std::string owner(const PeerTable& table, const std::string& inner) {
  const OuterPeer* found = table.find(*IpAddr::parse(inner));
  return found ? found->address.str() : "nobody";
}

}  // namespace

TEST_CASE("the longest prefix has the address") {
  const std::vector<TunnelPeer> peers = {
      peer("10.0.0.0/8", "192.168.0.1"),   peer("10.1.0.0/16", "192.168.0.2"),    peer("10.1.2.0/24", "192.168.0.3"),
      peer("10.1.2.255/32", "192.168.0.4"), peer("255.255.255.0/24", "192.168.0.5"), peer("0.0.0.0/32", "192.168.0.6"),
      peer("fd00::/64", "fd77::1"),        peer("fd00::1:0/112", "fd77::2"),      peer("ffff::/16", "fd77::3"),
  };
  const PeerTable table(peers);
  CHECK(table.size() == peers.size());
  CHECK(owner(table, "10.0.0.0") == "192.168.0.1");
  CHECK(owner(table, "10.1.0.255") == "192.168.0.2");
  CHECK(owner(table, "10.1.2.0") == "192.168.0.3");
  CHECK(owner(table, "10.1.2.254") == "192.168.0.3");
  CHECK(owner(table, "10.1.2.255") == "192.168.0.4");
  CHECK(owner(table, "10.1.3.0") == "192.168.0.2");
  CHECK(owner(table, "10.2.0.0") == "192.168.0.1");
  CHECK(owner(table, "11.0.0.0") == "nobody");
  CHECK(owner(table, "9.255.255.255") == "nobody");
  CHECK(owner(table, "255.255.255.255") == "192.168.0.5");
  CHECK(owner(table, "255.255.254.255") == "nobody");
  CHECK(owner(table, "0.0.0.0") == "192.168.0.6");
  CHECK(owner(table, "0.0.0.1") == "nobody");
  CHECK(owner(table, "fd00::1") == "fd77::1");
  CHECK(owner(table, "fd00::1:ffff") == "fd77::2");
  CHECK(owner(table, "fd00::2:0") == "fd77::1");
  CHECK(owner(table, "fd00:0:0:1::") == "nobody");
  CHECK(owner(table, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff") == "fd77::3");
  CHECK(owner(table, "::") == "nobody");
  CHECK(table.is_member(*IpAddr::parse("192.168.0.6")));
  CHECK_FALSE(table.is_member(*IpAddr::parse("192.168.0.7")));
  CHECK(table.is_member(*IpAddr::parse("fd77::3")));
}

TEST_CASE("the address to send to") {
  const PeerTable table(std::vector<TunnelPeer>{peer("10.1.0.0/24", "192.168.0.1", 8285), peer("fd00::/64", "fd77::1", 9)});
  const OuterPeer* v4 = table.find(*IpAddr::parse("10.1.0.1"));
  REQUIRE(v4);
  CHECK(v4->to.v4.sin_family == AF_INET);
  CHECK(ntohs(v4->to.v4.sin_port) == 8285);
  CHECK(IpAddr::from_bytes(Family::v4, &v4->to.v4.sin_addr).str() == "192.168.0.1");
  CHECK(v4->name_size() == sizeof(sockaddr_in));
  const OuterPeer* v6 = table.find(*IpAddr::parse("fd00::1"));
  REQUIRE(v6);
  CHECK(v6->to.v6.sin6_family == AF_INET6);
  CHECK(ntohs(v6->to.v6.sin6_port) == 9);
  CHECK(v6->name_size() == sizeof(sockaddr_in6));
}

TEST_CASE("nobody is in an empty table") {
  CHECK(owner(PeerTable(), "10.0.0.1") == "nobody");
  CHECK(owner(PeerTable(std::vector<TunnelPeer>{}), "fd00::1") == "nobody");
}

TEST_CASE("a table of many nested prefixes answers as a search of them all") {
  std::mt19937 random(7);
  for (int round = 0; round < 20; ++round) {
    std::vector<TunnelPeer> peers;
    for (int i = 0; i < 300; ++i) {
      const bool v6 = random() % 2 == 0;
      uint8_t bytes[16] = {};
      for (size_t at = v6 ? 14 : 0; at < (v6 ? 16u : 4u); ++at) bytes[at] = static_cast<uint8_t>(random() % 4 * 85);
      const IpAddr addr = IpAddr::from_bytes(v6 ? Family::v6 : Family::v4, bytes);
      TunnelPeer made;
      made.inner = Prefix(addr, static_cast<int>(v6 ? 110 + random() % 19 : random() % 33)).masked();
      made.outer = (v6 ? *IpAddr::parse("fd77::") : *IpAddr::parse("192.168.0.0")).plus(static_cast<uint64_t>(i));
      if (std::none_of(peers.begin(), peers.end(), [&](const TunnelPeer& other) { return other.inner == made.inner; }))
        peers.push_back(made);
    }
    const PeerTable table(peers);
    for (int i = 0; i < 2000; ++i) {
      const TunnelPeer& near = peers[random() % peers.size()];
      IpAddr ip = random() % 2 == 0 ? near.inner.addr() : near.inner.last();
      ip = ip.plus(random() % 3);
      const TunnelPeer* want = nullptr;
      for (const TunnelPeer& candidate : peers)
        if (candidate.inner.contains(ip) && (!want || want->inner.length() < candidate.inner.length())) want = &candidate;
      const OuterPeer* got = table.find(ip);
      REQUIRE((got != nullptr) == (want != nullptr));
      if (want) REQUIRE(got->address == want->outer);
    }
  }
}
