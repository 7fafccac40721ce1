// Packets cut up and summed, against what the kernel made of the same ones.
#include "tunnel/segment.h"

#include <catch2/catch.hpp>

#include "tests/unit/tunnel/vectors.h"

using namespace knet;

namespace {

std::vector<Bytes> cut(const VnetHeader& vnet, Bytes packet) {
  std::vector<Bytes> out;
  std::optional<Segmenter> cut = Segmenter::of(vnet, packet);
  if (!cut) return out;
  std::array<uint8_t, Segmenter::kMostHead> room;
  for (Segment segment; cut->next(room.data(), segment);) {
    Bytes one(segment.head.begin(), segment.head.end());
    one.insert(one.end(), segment.body.begin(), segment.body.end());
    out.push_back(one);
  }
  REQUIRE(out.size() == cut->count());
  return out;
}

Vector vector_of(const std::string& name) {
  for (const Vector& vector : read_vectors("case"))
    if (vector.name == name) return vector;
  FAIL("no vector " << name);
  return {};
}

}  // namespace

TEST_CASE("super-packets are cut up as the kernel cuts them") {
  for (const Vector& vector : read_vectors("case")) {
    INFO(vector.name);
    CHECK(cut(vector.vnet, vector.packet) == vector.out);
  }
}

TEST_CASE("a super-packet whose checksum nobody has begun comes out the same") {
  for (Vector vector : read_vectors("case")) {
    if (vector.vnet.gso_type == VnetHeader::kGsoNone) continue;
    INFO(vector.name);
    vector.vnet.flags = 0;
    CHECK(cut(vector.vnet, vector.packet) == vector.out);
  }
}

TEST_CASE("a packet without a word in its virtio header goes as it is") {
  const Bytes packet = vector_of("tcp-one4").out.at(0);
  CHECK(cut({}, packet) == std::vector<Bytes>{packet});
  Bytes padded = packet;
  padded.resize(packet.size() + 7);
  CHECK(cut({}, padded) == std::vector<Bytes>{packet});
}

TEST_CASE("IPv6 extension headers before TCP are repeated in each segment") {
  // tcp6 with 8 bytes of destination options put between; the sum is over TCP alone, so segments differ in IP only.
  Vector vector = vector_of("tcp6");
  const Bytes options = {6, 0, 1, 4, 0, 0, 0, 0};
  const auto extend = [&](Bytes& packet) {
    packet.insert(packet.begin() + 40, options.begin(), options.end());
    packet[6] = 60;
    packet[5] = static_cast<uint8_t>(packet[5] + 8);
    if (packet[5] < 8) ++packet[4];
  };
  extend(vector.packet);
  for (Bytes& packet : vector.out) extend(packet);
  vector.vnet.csum_start += 8;
  vector.vnet.hdr_len += 8;
  CHECK(cut(vector.vnet, vector.packet) == vector.out);
}

TEST_CASE("a virtio header that contradicts the packet is refused") {
  const Vector good = vector_of("tcp4");
  const auto refused = [&](auto change) {
    Vector bad = good;
    change(bad.vnet, bad.packet);
    return cut(bad.vnet, bad.packet).empty();
  };
  CHECK_FALSE(refused([](VnetHeader&, Bytes&) {}));
  CHECK_FALSE(refused([](VnetHeader& vnet, Bytes&) { vnet.hdr_len = 0xffff; }));  // only a hint
  CHECK(refused([](VnetHeader& vnet, Bytes&) { vnet.gso_size = 0; }));
  CHECK(refused([](VnetHeader& vnet, Bytes&) { vnet.gso_type = VnetHeader::kGsoTcp6; }));
  CHECK(refused([](VnetHeader& vnet, Bytes&) { vnet.gso_type = VnetHeader::kGsoUdp; }));
  CHECK(refused([](VnetHeader& vnet, Bytes&) { vnet.gso_type = 3; }));  // fragments of UDP: never asked for
  CHECK(refused([](VnetHeader& vnet, Bytes&) { vnet.csum_start = 19; }));
  CHECK(refused([](VnetHeader& vnet, Bytes&) { vnet.csum_start = 21; }));
  CHECK(refused([](VnetHeader& vnet, Bytes&) { vnet.csum_offset = 6; }));
  CHECK(refused([](VnetHeader&, Bytes& packet) { packet[9] = 17; }));
  CHECK(refused([](VnetHeader&, Bytes& packet) { packet[7] = 1; }));           // a fragment
  CHECK(refused([](VnetHeader&, Bytes& packet) { packet[20 + 12] = 0x40; }));  // a TCP header of 16 bytes
  CHECK(refused([](VnetHeader&, Bytes& packet) {
    packet.resize(50);  // a TCP header of 60 bytes in 30
    packet[3] = 50;
    packet[2] = 0;
    packet[20 + 12] = 0xf0;
  }));
  CHECK(refused([](VnetHeader&, Bytes& packet) { packet.resize(packet.size() - 1); }));
  CHECK(refused([](VnetHeader& vnet, Bytes& packet) {  // a sum behind the end
    vnet.gso_type = 0;
    vnet.csum_start = static_cast<uint16_t>(packet.size() - 1);
  }));
  CHECK(refused([](VnetHeader& vnet, Bytes&) {  // a sum within the IP header
    vnet.gso_type = 0;
    vnet.csum_start = 0;
  }));
}

TEST_CASE("headers are judged by the bytes that are there") {
  const Bytes packet = vector_of("udp4").out.at(0), packet6 = vector_of("udp6").out.at(0);
  for (const Bytes& whole : {packet, packet6})
    for (size_t size = 0; size < whole.size(); ++size) CHECK_FALSE(read_ip_header({whole.data(), size}));
  CHECK(read_ip_header(packet)->source(packet.data()).str() == "10.1.0.2");
  CHECK(read_ip_header(packet6)->destination(packet6.data()).str() == "fd02::2");
  CHECK(header_checksum_holds(*read_ip_header(packet), packet.data()));
  const auto with = [&](size_t at, uint8_t value) {
    Bytes changed = packet;
    changed[at] = value;
    return changed;
  };
  CHECK_FALSE(read_ip_header(with(0, 0x44)));  // a header of 16 bytes
  CHECK_FALSE(read_ip_header(with(0, 0x55)));  // version 5
  CHECK_FALSE(read_ip_header(with(3, 19)));    // shorter than its header
  const Bytes ttl = with(8, 1);
  CHECK_FALSE(header_checksum_holds(*read_ip_header(ttl), ttl.data()));
}
