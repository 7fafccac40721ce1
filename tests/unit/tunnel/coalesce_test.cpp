// Segments joined: the inverse of what the kernel did when it cut them, and what must not be joined.
#include "tunnel/coalesce.h"

#include <catch2/catch.hpp>

#include "tests/unit/tunnel/vectors.h"
#include "tunnel/checksum.h"

using namespace knet;

namespace {

struct Written {
  VnetHeader vnet;
  Bytes packet;
  bool joined() const { return vnet.gso_type != 0; }
};

struct Joined {
  std::vector<Written> written;
  Coalescer coalescer{[this](const VnetHeader& vnet, std::span<const iovec> pieces) {
    Written one{vnet, {}};
    for (const iovec& piece : pieces) {
      const auto* data = static_cast<const uint8_t*>(piece.iov_base);
      one.packet.insert(one.packet.end(), data, data + piece.iov_len);
    }
    written.push_back(one);
  }};

  explicit Joined(std::vector<Bytes> packets, uint32_t mtu = 1472) {
    coalescer.set_mtu(mtu, mtu);
    for (Bytes& packet : packets) {
      const std::optional<IpHeader> ip = read_ip_header(packet);
      REQUIRE(ip);
      dropped += coalescer.add(*ip, std::span(packet).first(ip->length)) ? 0 : 1;
    }
    coalescer.flush();
  }
  size_t dropped = 0;
};

void mend(Bytes& packet) {  // checksums after a change
  const IpHeader ip = *read_ip_header(packet);
  set_length(ip, packet.data(), ip.length);
  const uint32_t length = ip.length - ip.size;
  store16(&packet[ip.size + kTcpChecksum], 0);
  store16(&packet[ip.size + kTcpChecksum],
          finish_checksum(add_to_checksum(pseudo_header_sum(ip, packet.data(), kTcp, length), &packet[ip.size], length)));
}

Vector vector_of(const std::string& name) {
  for (const Vector& vector : read_vectors("case"))
    if (vector.name == name) return vector;
  FAIL("no vector " << name);
  return {};
}

}  // namespace

TEST_CASE("segments become the super-packet that the kernel cut them from") {
  for (const Vector& vector : read_vectors("case")) {
    if ((vector.vnet.gso_type != VnetHeader::kGsoTcp4 && vector.vnet.gso_type != VnetHeader::kGsoTcp6)) continue;
    if (vector.name.starts_with("tcp-exact")) continue;  // begins as tcp does
    INFO(vector.name);
    const Joined joined(vector.out);
    REQUIRE(joined.written.size() == 1);
    Bytes want = vector.packet;
    const IpHeader ip = *read_ip_header(want);
    set_length(ip, want.data(), ip.length);
    CHECK(joined.written[0].packet == want);
    CHECK(joined.written[0].vnet.flags == VnetHeader::kNeedsChecksum);
    CHECK(joined.written[0].vnet.gso_type == vector.vnet.gso_type);
    CHECK(joined.written[0].vnet.gso_size == vector.vnet.gso_size);
    CHECK(joined.written[0].vnet.hdr_len == vector.vnet.hdr_len);
    CHECK(joined.written[0].vnet.csum_start == vector.vnet.csum_start);
    CHECK(joined.written[0].vnet.csum_offset == vector.vnet.csum_offset);
  }
}

TEST_CASE("what is no run of TCP segments goes through as it came") {
  for (const char* name : {"udp4", "udp-gso4", "udp6", "udp-gso6", "tcp-ack4", "tcp-ack6", "tcp-one4", "tcp-cwr4"}) {
    INFO(name);
    const Vector vector = vector_of(name);
    const Joined joined(vector.out);
    if (std::string(name) == "tcp-cwr4") {  // the first must stay alone
      REQUIRE(joined.written.size() == 2);
      CHECK(joined.written[0].packet == vector.out[0]);
      continue;
    }
    REQUIRE(joined.written.size() == vector.out.size());
    for (size_t i = 0; i < vector.out.size(); ++i) {
      CHECK(joined.written[i].packet == vector.out[i]);
      CHECK_FALSE(joined.written[i].joined());
      CHECK(joined.written[i].vnet.flags == 0);
    }
  }
}

TEST_CASE("segments that differ are not joined, and none is lost or put out of order") {
  for (const char* name : {"tcp4", "tcp6", "tcp-odd-options4"}) {
    const Vector vector = vector_of(name);
    const size_t tcp = vector.vnet.csum_start;
    const auto apart = [&](auto change) {
      std::vector<Bytes> packets(vector.out.begin(), vector.out.begin() + 2);
      change(packets[1]);
      const Joined joined(packets);
      return joined.written.size() == 2 && joined.written[0].packet == packets[0] &&
             joined.written[1].packet == packets[1];
    };
    const auto at = [&](size_t offset, uint8_t by) {
      return apart([&](Bytes& packet) {
        packet[offset] = static_cast<uint8_t>(packet[offset] ^ by);
        mend(packet);
      });
    };
    INFO(name);
    CHECK_FALSE(apart([](Bytes&) {}));
    CHECK(at(tcp + 0, 1));             // another port
    CHECK(at(tcp + 7, 1));             // not the next number
    CHECK(at(tcp + 11, 1));            // acknowledgement
    CHECK(at(tcp + kTcpFlags, 0x02));  // SYN
    CHECK(at(tcp + kTcpFlags, 0x04));  // RST
    CHECK(at(tcp + kTcpFlags, 0x20));  // URG
    CHECK(at(tcp + kTcpFlags, 0x40));  // ECE
    CHECK(at(tcp + kTcpFlags, 0x80));  // CWR
    CHECK(at(tcp + kTcpFlags, 0x10));  // no ACK
    CHECK(at(tcp + 15, 1));            // window
    CHECK(at(1, 0x20));                // type of service; traffic class
    CHECK(at(tcp == 20 ? 8 : 7, 1));   // time to live
    if (tcp == 20) CHECK(at(6, 0x40)); // DF
    if (vector.name == "tcp-odd-options4") CHECK(at(tcp + 24, 1));
    CHECK(apart([&](Bytes& packet) { packet[tcp + 30] ^= 1; }));              // broken payload
    CHECK(apart([&](Bytes& packet) { packet[tcp + kTcpChecksum] ^= 1; }));  // broken checksum
  }
}

TEST_CASE("a broken first segment is not joined, and stays broken") {
  std::vector<Bytes> packets = vector_of("tcp4").out;
  packets[0][60] ^= 1;
  const Joined joined(packets);
  REQUIRE(joined.written.size() == 2);
  CHECK(joined.written[0].packet == packets[0]);
  CHECK(joined.written[0].vnet.flags == 0);
  CHECK(joined.written[1].joined());
}

TEST_CASE("a push ends a super-packet; a shorter segment too") {
  const std::vector<Bytes> out = vector_of("tcp-exact4").out;
  std::vector<Bytes> packets = out;
  packets[1][20 + kTcpFlags] |= 0x08;
  mend(packets[1]);
  const Joined pushed(packets);
  REQUIRE(pushed.written.size() == 2);
  CHECK(pushed.written[0].packet.size() == 240);
  CHECK((pushed.written[0].packet[20 + kTcpFlags] & 0x08) != 0);
  CHECK(pushed.written[1].packet == out[2]);

  packets = vector_of("tcp4").out;  // the last has 50 bytes: nothing is appended to it, even if it fits
  Bytes next = packets[3];
  put32(&next[24], get32(&next[24]) + 50);
  put16(&next[4], get16(&next[4]) + 1);
  mend(next);
  packets.push_back(next);
  const Joined shorter(packets);
  REQUIRE(shorter.written.size() == 2);
  CHECK(shorter.written[1].packet == next);
}

TEST_CASE("without DF the identifications must follow each other") {
  std::vector<Bytes> packets = vector_of("tcp-fragmentable4").out;
  CHECK(Joined(packets).written.size() == 1);
  packets[2][5] ^= 4;
  mend(packets[2]);
  CHECK(Joined(packets).written.size() > 1);
}

TEST_CASE("flows among each other are joined apart") {
  const std::vector<Bytes> a = vector_of("tcp4").out, b = vector_of("tcp6").out;
  std::vector<Bytes> packets;
  for (size_t i = 0; i < a.size(); ++i) packets.insert(packets.end(), {a[i], b[i]});
  CHECK(Joined(packets).written.size() == 2);

  packets.clear();  // more flows than are held at once: each still in order, all bytes there
  for (size_t i = 0; i < 3; ++i)
    for (uint8_t flow = 0; flow < 20; ++flow) {
      Bytes packet = a[i];
      packet[21] = flow;
      mend(packet);
      packets.push_back(packet);
    }
  const Joined many(packets);
  size_t payload = 0;
  for (const Written& one : many.written) payload += one.packet.size() - 40;
  CHECK(payload == 20u * 300);
}

TEST_CASE("no super-packet is larger than a packet can be") {
  std::vector<Bytes> packets;
  Bytes packet = vector_of("tcp4").out[0];
  packet.resize(1440, 7);
  put16(&packet[2], 1440);
  for (uint32_t i = 0; i < 60; ++i) {
    put32(&packet[24], i * 1400);
    mend(packet);
    packets.push_back(packet);
  }
  const Joined joined(packets);
  REQUIRE(joined.written.size() == 2);
  CHECK(joined.written[0].packet.size() == 40 + 46 * 1400);
  CHECK(joined.written[1].packet.size() == 40 + 14 * 1400);
}

TEST_CASE("a packet that a kernel path left unfinished is passed on as such") {
  const Vector vector = vector_of("tcp-full4");
  const Joined large({vector.packet}, 1140);
  REQUIRE(large.written.size() == 1);
  CHECK(large.written[0].packet == vector.packet);
  CHECK(large.written[0].vnet.flags == VnetHeader::kNeedsChecksum);
  CHECK(large.written[0].vnet.gso_type == VnetHeader::kGsoTcp4);
  CHECK(large.written[0].vnet.gso_size == 1140 - 52);
  const Joined small({vector_of("tcp-one6").packet, vector_of("udp4").packet});
  REQUIRE(small.written.size() == 2);
  for (const Written& one : small.written) {
    CHECK_FALSE(one.joined());
    CHECK(one.vnet.flags == VnetHeader::kNeedsChecksum);
  }
  CHECK(small.written[0].vnet.csum_start == 40);
  CHECK(small.written[1].vnet.csum_offset == 6);
  CHECK(Joined({vector_of("udp-gso4").packet}, 200).dropped == 1);  // nobody knows how to cut it
}
