// Speakers on 127.77.0.x that talk to each other over the loopback, and a raw neighbour that says whatever it is told to.
#pragma once

#include <fmt/core.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <cstring>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "bgp/speaker.h"

namespace knet::bgp {

/// Of this process, so that runs beside each other do not meet; above the ports that the kernel hands out.
inline uint16_t test_port() { return static_cast<uint16_t>(61000 + getpid() % 4000); }
inline IpAddr host(int number) { return IpAddr::v4(0x7f4d0000u + static_cast<uint32_t>(number)); }
inline Prefix subnet(int a, int b) { return Prefix(IpAddr::v4(0x0a000000u + static_cast<uint32_t>(a) * 65536 + static_cast<uint32_t>(b) * 256), 24); }

/// A next hop that is none of the loopback's, which the codec refuses to take.
inline IpAddr hop(int number) { return IpAddr::v4(0xc0000200u + static_cast<uint32_t>(number)); }
inline Attributes of(int number, std::optional<uint32_t> med = std::nullopt) {
  Attributes out;
  out.next_hop = hop(number);
  out.local_pref = 100;
  out.med = med;
  return out;
}

/// Polls until it holds.
template <class Fact>
bool comes(Fact fact, int most_ms = 4000) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(most_ms);
  for (;;) {
    if (fact()) return true;
    if (std::chrono::steady_clock::now() >= end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

class TestSpeaker {
  std::mutex mutex_;  // what the speaker's thread writes: above the speaker, so that it outlives the thread
  std::shared_ptr<const std::vector<LearnedRoute>> learned_;
  bool whole_ = false;
  int calls_ = 0;

 public:
  explicit TestSpeaker(int host_number, bool restarting = false) : number(host_number) {
    if (getenv("SPEAKER_LOG") == nullptr) log::set_sink([](log::Level, std::string_view) {});
    config.rib.asn = 64512;
    config.rib.id = static_cast<RouterId>(host_number);
    config.listen = {host(number)};
    config.port = test_port();
    begin(restarting);
  }

  int number;
  SpeakerConfig config;
  std::unique_ptr<Speaker> speaker;

  void begin(bool restarting) {
    speaker = std::make_unique<Speaker>(
        [this](std::shared_ptr<const std::vector<LearnedRoute>> routes, bool all) {
          std::lock_guard lock(mutex_);
          learned_ = std::move(routes);
          whole_ = all;
          ++calls_;
        },
        restarting);
  }
  PeerConfig& peer(int other) {
    PeerConfig& made = config.peers.emplace_back();
    made.name = fmt::format("n{}", other);
    made.type = "mesh";
    made.remote = Prefix::host(host(other));
    made.port = config.port;
    made.local = host(number);
    made.session.local_as = made.session.remote_as = config.rib.asn;
    made.session.local_id = config.rib.id;
    made.session.hold_time = 30;
    return made;
  }
  PeerConfig& with(int other) {
    for (PeerConfig& one : config.peers)
      if (one.remote == Prefix::host(host(other))) return one;
    throw Error(ErrorKind::bug, "no such peer");
  }
  void originate(int a, int b) { config.originated.emplace_back(subnet(a, b), of(number)); }
  void apply() { speaker->configure(config); }

  PeerStatus status(int other) {
    for (PeerStatus& one : speaker->peers())
      if (one.address == host(other)) return one;
    return {};
  }
  bool established(int other) { return status(other).state == SessionState::established; }
  std::vector<LearnedRoute> learned() {
    std::lock_guard lock(mutex_);
    return learned_ ? *learned_ : std::vector<LearnedRoute>{};
  }
  bool whole() {
    std::lock_guard lock(mutex_);
    return whole_;
  }
  int calls() {
    std::lock_guard lock(mutex_);
    return calls_;
  }
  bool has(const Prefix& prefix) {
    const auto routes = learned();
    return std::any_of(routes.begin(), routes.end(), [&](const LearnedRoute& route) { return route.dst == prefix; });
  }
};

/// A TCP end without a speaker behind it.
struct Raw {
  Raw(int from, int to, uint16_t port = test_port()) : fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const int on = 1;
    setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_in at = address(from, 0);
    REQUIRE(bind(fd.get(), reinterpret_cast<sockaddr*>(&at), sizeof at) == 0);
    at = address(to, port);
    connected = connect(fd.get(), reinterpret_cast<sockaddr*>(&at), sizeof at) == 0;
  }
  static sockaddr_in address(int number, uint16_t port) {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_port = htons(port);
    at.sin_addr.s_addr = htonl(host(number).v4_value());
    return at;
  }

  Fd fd;
  bool connected = false;
  std::vector<uint8_t> stream;

  bool say(Bytes bytes) { return send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size()); }
  /// The next message; nothing when the other side has closed or is silent for so long.
  std::optional<Message> hear(int most_ms = 2000) {
    for (;;) {
      const auto length = message_length(stream);
      REQUIRE(std::holds_alternative<size_t>(length));
      const size_t size = std::get<size_t>(length);
      if (size > 0 && stream.size() >= size) {
        Message message = decode(Bytes(stream).first(size), {});
        stream.erase(stream.begin(), stream.begin() + static_cast<std::ptrdiff_t>(size));
        return message;
      }
      pollfd wait{fd.get(), POLLIN, 0};
      uint8_t bytes[4096];
      if (poll(&wait, 1, most_ms) != 1) return std::nullopt;
      const ssize_t count = recv(fd.get(), bytes, sizeof bytes, 0);
      if (count <= 0) return std::nullopt;
      stream.insert(stream.end(), bytes, bytes + count);
    }
  }
  template <class Wanted>
  std::optional<Wanted> until(int most = 1000) {
    for (int i = 0; i < most; ++i) {
      auto message = hear();
      if (!message) return std::nullopt;
      if (auto* wanted = std::get_if<Wanted>(&*message)) return std::move(*wanted);
    }
    return std::nullopt;
  }
  /// Up to established, as a neighbour that offers this.
  bool establish(int number) {
    Open open;
    open.asn = 64512;
    open.hold_time = 90;
    open.id = static_cast<RouterId>(number);
    open.capabilities.multiprotocol[0] = open.capabilities.four_octet_as = true;
    if (!connected || !say(encode(open))) return false;
    return until<Open>() && say(encode(Keepalive{})) && until<Keepalive>();
  }
  bool closed() {
    for (int i = 0; i < 1000; ++i) {
      pollfd wait{fd.get(), POLLIN, 0};
      uint8_t bytes[4096];
      if (poll(&wait, 1, 2000) != 1) return false;
      if (recv(fd.get(), bytes, sizeof bytes, 0) <= 0) return true;
    }
    return false;
  }
};

}  // namespace knet::bgp
