#include "bgp/tcp.h"

#include <arpa/inet.h>
#include <fmt/core.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/error.h"

namespace knet::bgp {
namespace {

constexpr int kBacklog = 1024;
constexpr int kMaxTtl = 255;

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
};

SocketAddress socket_address(const IpAddr& address, uint16_t port) {
  SocketAddress out;
  if (address.is_v6()) {
    auto& in = reinterpret_cast<sockaddr_in6&>(out.storage);
    in.sin6_family = AF_INET6;
    in.sin6_port = htons(port);
    std::memcpy(&in.sin6_addr, address.data(), 16);
    out.size = sizeof in;
  } else {
    auto& in = reinterpret_cast<sockaddr_in&>(out.storage);
    in.sin_family = AF_INET;
    in.sin_port = htons(port);
    std::memcpy(&in.sin_addr, address.data(), 4);
    out.size = sizeof in;
  }
  return out;
}

IpAddr address_of(const sockaddr_storage& storage, uint16_t* port) {
  if (storage.ss_family == AF_INET6) {
    const auto& in = reinterpret_cast<const sockaddr_in6&>(storage);
    if (port != nullptr) *port = ntohs(in.sin6_port);
    return IpAddr::from_bytes(Family::v6, &in.sin6_addr);
  }
  if (storage.ss_family != AF_INET) return {};
  const auto& in = reinterpret_cast<const sockaddr_in&>(storage);
  if (port != nullptr) *port = ntohs(in.sin_port);
  return IpAddr::from_bytes(Family::v4, &in.sin_addr);
}

void set(int fd, int level, int option, int value) {
  // Each of them is an aid; that one is missing shows in what it was for.
  (void)setsockopt(fd, level, option, &value, sizeof value);
}

Fd open_socket(const IpAddr& address) {
  Fd fd(socket(address.is_v6() ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) throw_errno(errno, "make a TCP socket");
  constexpr int kInternetControl = 0xc0;  // DSCP CS6 (RFC 4594), as routing protocols are marked
  set(fd.get(), address.is_v6() ? int{IPPROTO_IPV6} : int{IPPROTO_IP}, address.is_v6() ? IPV6_TCLASS : IP_TOS,
      kInternetControl);
  if (address.is_v6()) set(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, 1);
  set(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1);
  return fd;
}

void apply(int fd, bool v6, const TcpNeeds& needs) {
  const int ttl = needs.ttl_security ? kMaxTtl : needs.ttl;
  set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  set(fd, v6 ? int{IPPROTO_IPV6} : int{IPPROTO_IP}, v6 ? IPV6_UNICAST_HOPS : IP_TTL, ttl);
  if (needs.ttl_security) set(fd, v6 ? int{IPPROTO_IPV6} : int{IPPROTO_IP}, v6 ? IPV6_MINHOPCOUNT : IP_MINTTL, kMaxTtl);
}

}  // namespace

Fd listen_on(const IpAddr& address, uint16_t port, const std::function<void(int fd)>& before) {
  Fd fd = open_socket(address);
  // The answer to a SYN has to get through to a peer that takes nothing below 255.
  apply(fd.get(), address.is_v6(), {.ttl = kMaxTtl, .ttl_security = false});
  before(fd.get());
  SocketAddress at = socket_address(address, port);
  if (bind(fd.get(), at.get(), at.size) != 0 || listen(fd.get(), kBacklog) != 0) {
    const int error = errno;
    if (error == EADDRINUSE)
      fail(ErrorKind::kernel, "tcp {} on {} is taken: is bird running here? (knet bgp config set --port N)", port, address.str());
    throw_errno(error, "listen on tcp {} of {}", port, address.str());
  }
  return fd;
}

Fd dial(const IpAddr& remote, uint16_t port, const IpAddr& local, const std::string& password, const TcpNeeds& needs) {
  Fd fd = open_socket(remote);
  apply(fd.get(), remote.is_v6(), needs);
  if (!password.empty())
    if (const int error = set_md5(fd.get(), Prefix::host(remote), password); error != 0)
      fail(ErrorKind::kernel, "no TCP MD5 on this kernel: {}", errno_text(error));
  if (local) {
    set(fd.get(), IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
    SocketAddress from = socket_address(local, 0);
    if (bind(fd.get(), from.get(), from.size) != 0)
      fail(ErrorKind::kernel, "{} can't be used as the source: {}", local.str(), errno_text(errno));
  }
  SocketAddress to = socket_address(remote, port);
  if (connect(fd.get(), to.get(), to.size) != 0 && errno != EINPROGRESS)
    fail(ErrorKind::kernel, "{}", connect_trouble(errno, port));
  return fd;
}

int connect_error(int fd) {
  int error = 0;
  socklen_t size = sizeof error;
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0) return errno;
  return error;
}

std::string connect_trouble(int error, uint16_t port) {
  if (error == ECONNREFUSED) return fmt::format("tcp {} refused (is a firewall or bird there?)", port);
  if (error == ETIMEDOUT) return fmt::format("tcp {}: no answer (down, or another password?)", port);
  return fmt::format("tcp {}: {}", port, errno_text(error));
}

void prepare_accepted(int fd, const TcpNeeds& needs) { apply(fd, local_address(fd).is_v6(), needs); }

int set_md5(int fd, const Prefix& peer, const std::string& password) {
  tcp_md5sig key{};
  SocketAddress at = socket_address(peer.addr(), 0);
  std::memcpy(&key.tcpm_addr, &at.storage, sizeof key.tcpm_addr);
  key.tcpm_keylen = static_cast<uint16_t>(std::min(password.size(), sizeof key.tcpm_key));
  std::memcpy(key.tcpm_key, password.data(), key.tcpm_keylen);
  int option = TCP_MD5SIG;
  if (peer.length() != peer.addr().bits()) {
    key.tcpm_flags = TCP_MD5SIG_FLAG_PREFIX;
    key.tcpm_prefixlen = static_cast<uint8_t>(peer.length());
    option = TCP_MD5SIG_EXT;
  }
  return setsockopt(fd, IPPROTO_TCP, option, &key, sizeof key) == 0 ? 0 : errno;
}

IpAddr local_address(int fd, uint16_t* port) {
  SocketAddress at;
  return getsockname(fd, at.get(), &at.size) == 0 ? address_of(at.storage, port) : IpAddr{};
}

IpAddr remote_address(int fd) {
  SocketAddress at;
  return getpeername(fd, at.get(), &at.size) == 0 ? address_of(at.storage, nullptr) : IpAddr{};
}

}  // namespace knet::bgp
