// TCP as BGP wants it: sockets that listen and dial, with MD5 signatures (RFC 2385) and the TTL rules of RFC 5082.
// Everything is non-blocking. Any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/fd.h"
#include "base/ip.h"

namespace knet::bgp {

/// What a connection to one peer needs on its socket.
struct TcpNeeds {
  int ttl = 64;               // 1 for eBGP on the same link
  bool ttl_security = false;  // 255 goes out, nothing less comes in
};

/// Listens on `address` (unspecified: all of its family; IPv6 ones take IPv6 alone) once `before` has had the socket, for
/// MD5 keys. Throws Error{kernel}, naming who may have the port.
Fd listen_on(const IpAddr& address, uint16_t port, const std::function<void(int fd)>& before);

/// Begins to connect; the result comes with the socket's being writable (connect_error). `local` unset: the kernel's
/// choice. Throws Error{kernel} with a text for people if it fails at once.
Fd dial(const IpAddr& remote, uint16_t port, const IpAddr& local, const std::string& password, const TcpNeeds& needs);
/// 0: it is connected.
int connect_error(int fd);
/// "tcp 179 refused (is a firewall or bird there?)".
std::string connect_trouble(int error, uint16_t port);

/// On a socket that was accepted.
void prepare_accepted(int fd, const TcpNeeds& needs);

/// The password for a peer, or all of a prefix; an empty one takes it back. 0, or an errno: ENOPROTOOPT where the kernel
/// has no TCP MD5.
int set_md5(int fd, const Prefix& peer, const std::string& password);

/// Both ends; unset if the socket has none.
IpAddr local_address(int fd, uint16_t* port = nullptr);
IpAddr remote_address(int fd);

}  // namespace knet::bgp
