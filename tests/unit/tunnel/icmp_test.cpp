// ICMP errors, against those that the kernel sends for the same packets.
#include "tunnel/icmp.h"

#include <catch2/catch.hpp>

#include "tests/unit/tunnel/vectors.h"
#include "tunnel/checksum.h"

using namespace knet;

namespace {

Bytes error_for(const Vector& vector, Bytes packet) {
  Bytes out(kMostIcmp6);
  const IpAddr source = *IpAddr::parse((packet[0] >> 4) == 6 ? "fd01::1" : "10.1.0.1");
  out.resize(make_icmp_error(vector.error == "too_big" ? IcmpError::too_big : IcmpError::no_route, packet, source,
                             vector.mtu, out));
  return out;
}

// The kernel's choice of identification and flow label is its own.
void neutral(Bytes& packet) {
  if (packet.empty()) return;
  if (packet[0] >> 4 == 6) {
    packet[1] = packet[2] = packet[3] = 0;
    return;
  }
  put16(&packet[4], 0);
  const IpHeader ip = *read_ip_header(packet);
  set_length(ip, packet.data(), ip.length);
}

Vector vector_of(const std::string& name) {
  for (const Vector& vector : read_vectors("icmp"))
    if (vector.name == name) return vector;
  FAIL("no vector " << name);
  return {};
}

}  // namespace

TEST_CASE("errors are the kernel's") {
  for (const Vector& vector : read_vectors("icmp")) {
    INFO(vector.name);
    Bytes got = error_for(vector, vector.packet);
    REQUIRE(got.empty() == vector.out.empty());
    if (got.empty()) continue;
    Bytes want = vector.out.at(0);
    CHECK(header_checksum_holds(*read_ip_header(got), got.data()));
    neutral(got), neutral(want);
    CHECK(got == want);
  }
}

TEST_CASE("an error about a packet of which only the start is at hand quotes that") {
  const Vector vector = vector_of("large4");
  Bytes start = vector.packet;
  start.resize(100);
  const Bytes got = error_for(vector, start);
  CHECK(got.size() == 128);
  start.resize(19);
  CHECK(error_for(vector, start).empty());
}

TEST_CASE("nobody is answered who is no single host, or whose packet went to many") {
  const auto answered = [](const std::string& name, size_t at, std::vector<uint8_t> bytes) {
    Vector vector = vector_of(name);
    std::copy(bytes.begin(), bytes.end(), vector.packet.begin() + static_cast<ptrdiff_t>(at));
    return !error_for(vector, vector.packet).empty();
  };
  CHECK(answered("small4", 12, {10, 1, 0, 3}));
  CHECK_FALSE(answered("small4", 12, {0, 0, 0, 0}));
  CHECK_FALSE(answered("small4", 12, {127, 0, 0, 1}));
  CHECK_FALSE(answered("small4", 12, {224, 0, 0, 1}));
  CHECK_FALSE(answered("small4", 12, {255, 255, 255, 255}));
  CHECK_FALSE(answered("small4", 16, {239, 1, 1, 1}));
  CHECK_FALSE(answered("small4", 16, {255, 255, 255, 255}));
  CHECK_FALSE(answered("small6", 8, std::vector<uint8_t>(16, 0)));
  CHECK_FALSE(answered("small6", 8, {0xff, 2}));
  CHECK_FALSE(answered("small6", 24, {0xff, 2}));
  CHECK(answered("echo4", 20, {13}));  // a question
  for (const uint8_t type : {3, 4, 5, 11, 12}) CHECK_FALSE(answered("echo4", 20, {type}));
  CHECK_FALSE(answered("echo6", 40, {137}));  // a redirect
  CHECK_FALSE(answered("extension6", 40, {60, 255}));  // an extension header that goes past the end and on
}

TEST_CASE("each host gets so many errors, and later some more") {
  IcmpLimit limit;
  const IpAddr a = *IpAddr::parse("10.1.0.1"), b = *IpAddr::parse("10.1.0.2");
  IcmpLimit::Time now{std::chrono::hours(1)};
  int count = 0;
  for (int i = 0; i < 100; ++i) count += limit.allow(a, now) ? 1 : 0;
  CHECK(count == 10);
  CHECK(limit.allow(b, now));
  now += std::chrono::seconds(1);
  count = 0;
  for (int i = 0; i < 100; ++i) count += limit.allow(a, now) ? 1 : 0;
  CHECK(count == 10);
  for (int i = 0; i < 40; ++i) count += limit.allow(a, now += std::chrono::milliseconds(25)) ? 1 : 0;
  CHECK(count == 30);
}
