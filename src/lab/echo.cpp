#include "lab/echo.h"

#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <random>
#include <span>

#include "base/error.h"
#include "base/fd.h"
#include "kernel/netns.h"

namespace knet {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr int kAnswersWanted = 2;  // the first one pays for neighbour resolution
constexpr milliseconds kRepeat{250};
constexpr size_t kPacket = 64;     // echo header and payload, bytes
constexpr size_t kHeader = 8;      // of ICMP, either version
constexpr size_t kIp6Header = 40;

int64_t now_ns() {
  timespec time;
  clock_gettime(CLOCK_REALTIME, &time);  // the clock of SO_TIMESTAMPNS
  return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

struct Probe {
  IpAddr target;
  int64_t sent = 0;   // of the one in flight
  int answers = 0;
  bool in_flight = false;
  EchoResult result;
};

struct Echo {
  uint16_t id;
  uint16_t sequence;
};

/// One family's raw socket in one namespace, with the probes that leave by it.
class Prober {
 public:
  Prober(int netns_fd, Family family, uint16_t id) : family_(family), id_(id) {
    in_netns(netns_fd, [&] {
      fd_ = Fd(family == Family::v4 ? socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_ICMP)
                                    : socket(AF_INET6, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_ICMPV6));
    });
    if (!fd_) throw_errno(errno, "open an ICMP socket");
    const int on = 1;
    setsockopt(fd_.get(), SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on);
    const int room = 1 << 20;
    setsockopt(fd_.get(), SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    if (family == Family::v6) {
      icmp6_filter filter;
      ICMP6_FILTER_SETBLOCKALL(&filter);
      for (int type : {ICMP6_ECHO_REPLY, ICMP6_DST_UNREACH, ICMP6_PACKET_TOO_BIG, ICMP6_TIME_EXCEEDED})
        ICMP6_FILTER_SETPASS(type, &filter);
      setsockopt(fd_.get(), IPPROTO_ICMPV6, ICMP6_FILTER, &filter, sizeof filter);
    }
  }

  int fd() const { return fd_.get(); }
  std::vector<Probe> probes;

  void send(size_t index) {
    Probe& probe = probes[index];
    std::array<uint8_t, kPacket> packet{};
    const Echo echo{htons(id_), htons(static_cast<uint16_t>(index))};
    packet[0] = family_ == Family::v4 ? static_cast<uint8_t>(ICMP_ECHO) : static_cast<uint8_t>(ICMP6_ECHO_REQUEST);
    memcpy(packet.data() + 4, &echo, sizeof echo);
    if (family_ == Family::v4) {  // for ICMPv6 the kernel does it (RFC 3542, 3.1)
      const uint16_t sum = checksum(packet);
      memcpy(packet.data() + 2, &sum, sizeof sum);
    }
    sockaddr_storage to{};
    socklen_t size = 0;
    if (family_ == Family::v4) {
      auto* in = reinterpret_cast<sockaddr_in*>(&to);
      in->sin_family = AF_INET;
      memcpy(&in->sin_addr, probe.target.data(), 4);
      size = sizeof *in;
    } else {
      auto* in = reinterpret_cast<sockaddr_in6*>(&to);
      in->sin6_family = AF_INET6;
      memcpy(&in->sin6_addr, probe.target.data(), 16);
      size = sizeof *in;
    }
    probe.in_flight = true;
    probe.sent = now_ns();
    if (sendto(fd_.get(), packet.data(), packet.size(), 0, reinterpret_cast<sockaddr*>(&to), size) < 0)
      probe.result.why = errno_text(errno);
  }

  /// Takes in all that has come.
  void receive() {
    std::array<uint8_t, 2048> bytes;
    std::array<char, 256> control;
    for (;;) {
      sockaddr_storage from{};
      iovec into{bytes.data(), bytes.size()};
      msghdr message{};
      message.msg_name = &from;
      message.msg_namelen = sizeof from;
      message.msg_iov = &into;
      message.msg_iovlen = 1;
      message.msg_control = control.data();
      message.msg_controllen = control.size();
      const ssize_t size = recvmsg(fd_.get(), &message, 0);
      if (size < 0 && errno == EINTR) continue;
      if (size < 0) return;
      int64_t at = now_ns();
      for (cmsghdr* head = CMSG_FIRSTHDR(&message); head != nullptr; head = CMSG_NXTHDR(&message, head)) {
        if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_TIMESTAMPNS) continue;
        timespec time;
        memcpy(&time, CMSG_DATA(head), sizeof time);
        at = int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
      }
      take({bytes.data(), static_cast<size_t>(size)}, sender(from), at);
    }
  }

 private:
  static uint16_t checksum(std::span<const uint8_t> bytes) {  // RFC 1071
    uint32_t sum = 0;
    for (size_t i = 0; i + 1 < bytes.size(); i += 2) sum += static_cast<uint32_t>(bytes[i] << 8 | bytes[i + 1]);
    while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
    return htons(static_cast<uint16_t>(~sum));
  }

  static IpAddr sender(const sockaddr_storage& from) {
    if (from.ss_family == AF_INET)
      return IpAddr::from_bytes(Family::v4, &reinterpret_cast<const sockaddr_in*>(&from)->sin_addr);
    return IpAddr::from_bytes(Family::v6, &reinterpret_cast<const sockaddr_in6*>(&from)->sin6_addr);
  }

  static std::span<const uint8_t> without_ip_header(std::span<const uint8_t> packet, Family family) {
    const size_t size = family == Family::v6 ? kIp6Header : packet.empty() ? 0 : (packet[0] & 0xfu) * 4u;
    return packet.subspan(std::min(size, packet.size()));
  }

  static std::string_view unreachable(int code, Family family) {
    if (family == Family::v6) {
      switch (code) {
        case ICMP6_DST_UNREACH_NOROUTE: return "no route";
        case ICMP6_DST_UNREACH_ADMIN: return "forbidden";
        case ICMP6_DST_UNREACH_ADDR: return "address unreachable";
        default: return "unreachable";
      }
    }
    switch (code) {
      case ICMP_NET_UNREACH: return "net unreachable";
      case ICMP_HOST_UNREACH: return "host unreachable";
      case ICMP_FRAG_NEEDED: return "packet too big";
      case ICMP_PKT_FILTERED: case ICMP_NET_ANO: case ICMP_HOST_ANO: return "forbidden";
      default: return "unreachable";
    }
  }

  void take(std::span<const uint8_t> packet, const IpAddr& from, int64_t at) {
    if (family_ == Family::v4) packet = without_ip_header(packet, family_);
    if (packet.size() < kHeader) return;
    const int type = packet[0];
    if (type == (family_ == Family::v4 ? ICMP_ECHOREPLY : ICMP6_ECHO_REPLY)) {
      Probe* probe = find(packet);
      if (!probe || !probe->in_flight || from != probe->target) return;
      const double ms = static_cast<double>(at - probe->sent) / 1e6;
      probe->result.ms = std::min(probe->result.ms.value_or(ms), ms);
      probe->in_flight = false;
      ++probe->answers;
      return;
    }
    const bool v4_error = family_ == Family::v4 && (type == ICMP_DEST_UNREACH || type == ICMP_TIME_EXCEEDED);
    if (!v4_error && family_ == Family::v4) return;
    const bool expired = type == (family_ == Family::v4 ? ICMP_TIME_EXCEEDED : ICMP6_TIME_EXCEEDED);
    const std::string_view what = expired ? "goes in circles" : type == ICMP6_PACKET_TOO_BIG && family_ == Family::v6
                                                ? "packet too big" : unreachable(packet[1], family_);
    // An error quotes the packet that it is about.
    if (Probe* probe = find(without_ip_header(packet.subspan(kHeader), family_)))
      probe->result.why = fmt::format("{}, says {}", what, from.str());
  }

  Probe* find(std::span<const uint8_t> icmp) {
    if (icmp.size() < kHeader) return nullptr;
    Echo echo;
    memcpy(&echo, icmp.data() + 4, sizeof echo);
    const size_t index = ntohs(echo.sequence);
    return ntohs(echo.id) == id_ && index < probes.size() ? &probes[index] : nullptr;
  }

  Family family_;
  uint16_t id_;
  Fd fd_;
};

/// Sends what is due; whether anything is still awaited.
bool send_due(std::vector<Prober>& probers, int64_t now) {
  bool open = false;
  for (Prober& prober : probers)
    for (size_t i = 0; i < prober.probes.size(); ++i) {
      const Probe& probe = prober.probes[i];
      if (probe.answers >= kAnswersWanted) continue;
      open = true;
      if (!probe.in_flight || now - probe.sent > std::chrono::nanoseconds(kRepeat).count()) prober.send(i);
    }
  return open;
}

}  // namespace

std::vector<std::vector<EchoResult>> echo_all(const std::vector<EchoSource>& sources, milliseconds limit) {
  std::random_device random;
  std::vector<Prober> probers;
  struct Place {
    size_t prober, index;
  };
  std::vector<std::vector<Place>> places(sources.size());
  for (size_t s = 0; s < sources.size(); ++s) {
    size_t of_family[2] = {SIZE_MAX, SIZE_MAX};
    for (const IpAddr& target : sources[s].targets) {
      size_t& at = of_family[target.is_v6()];
      if (at == SIZE_MAX) {
        at = probers.size();
        probers.emplace_back(sources[s].netns_fd, target.family(), static_cast<uint16_t>(random()));
      }
      places[s].push_back({at, probers[at].probes.size()});
      probers[at].probes.emplace_back().target = target;
    }
  }
  std::vector<pollfd> waits;
  for (const Prober& prober : probers) waits.push_back({.fd = prober.fd(), .events = POLLIN, .revents = 0});

  const auto deadline = Clock::now() + limit;
  while (send_due(probers, now_ns())) {
    const auto left = std::chrono::ceil<milliseconds>(deadline - Clock::now());
    if (left.count() <= 0) break;
    poll(waits.data(), waits.size(), static_cast<int>(std::min(left, kRepeat / 5).count()));
    for (size_t i = 0; i < probers.size(); ++i)
      if (waits[i].revents != 0) probers[i].receive();
  }

  std::vector<std::vector<EchoResult>> results(sources.size());
  for (size_t s = 0; s < sources.size(); ++s)
    for (const Place& place : places[s]) {
      EchoResult& result = probers[place.prober].probes[place.index].result;
      if (result.ms) result.why.clear();
      else if (result.why.empty()) result.why = fmt::format("no reply in {:g} s", static_cast<double>(limit.count()) / 1000);
      results[s].push_back(std::move(result));
    }
  return results;
}

}  // namespace knet
