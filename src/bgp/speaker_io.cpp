// The speaker's sockets: dialling, accepting, reading and writing, each bounded per turn so that no peer starves others.
#include <fmt/core.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>

#include "base/big_endian.h"
#include "base/error.h"
#include "base/log.h"
#include "bgp/speaker_state.h"

namespace knet::bgp {
namespace {

constexpr int kAcceptsPerTurn = 64, kReadsAtEnd = 16;
constexpr size_t kWritePiece = 256 * 1024, kWritePerTurn = 1024 * 1024;
constexpr Millis kConnectTime = 10'000, kGoodbyeTime = 1'000, kDescriptorPause = 1'000, kMinute = 60'000;
constexpr int kStrangerLines = 8;  // a minute
constexpr size_t kLengthEnd = 18;  // of a message's header

/// How far the RIB's stream is into a message; where one ends others may come between.
size_t follow(Connection& connection, Bytes sent) {
  size_t messages = 0;
  while (!sent.empty()) {
    size_t step = 1;
    if (connection.message_at == 0 && sent.size() >= kLengthEnd) {
      connection.message_size = get16(sent.data() + kLengthEnd - 2);
      step = kLengthEnd;
    } else if (connection.message_at < kLengthEnd) {
      if (connection.message_at == kLengthEnd - 2) connection.message_size = static_cast<size_t>(sent[0]) << 8;
      if (connection.message_at == kLengthEnd - 1) connection.message_size |= sent[0];
    } else {
      step = std::min(sent.size(), connection.message_size - connection.message_at);
    }
    connection.message_at += step;
    sent = sent.subspan(step);
    if (connection.message_at < kLengthEnd || connection.message_at < connection.message_size) continue;
    connection.message_at = 0;
    ++messages;
  }
  return messages;
}

}  // namespace

// --- connections

Connection* Speaker::State::connection(ConnId id) {
  const auto at = connections.find(id);
  return at == connections.end() ? nullptr : at->second.get();
}

Connection& Speaker::State::add_connection(Fd fd, Neighbor& neighbor, bool connecting) {
  while (++last_connection == 0 || connections.contains(last_connection)) {
  }
  auto& slot = connections[last_connection];
  slot = std::make_unique<Connection>();
  slot->id = last_connection;
  slot->fd = std::move(fd);
  slot->neighbor = &neighbor;
  slot->connecting = connecting;
  if (connecting) set_deadline(*slot, now + kConnectTime);
  epoll_event event{.events = connecting ? EPOLLOUT : EPOLLIN, .data = {.u64 = kConnectionEvent + slot->id}};
  if (epoll_ctl(epoll.get(), EPOLL_CTL_ADD, slot->fd.get(), &event) != 0)
    log::error("bgp: {}: epoll: {}", name_of(neighbor), errno_text(errno));
  return *slot;
}

void Speaker::State::set_deadline(Connection& connection, std::optional<Millis> at) {
  if (connection.deadline) deadlines.erase({*connection.deadline, connection.id});
  connection.deadline = at;
  if (at) deadlines.emplace(*at, connection.id);
}

void Speaker::State::watch(Connection& connection, bool out) {
  epoll_event event{.events = EPOLLIN | (out ? uint32_t{EPOLLOUT} : 0u), .data = {.u64 = kConnectionEvent + connection.id}};
  epoll_ctl(epoll.get(), EPOLL_CTL_MOD, connection.fd.get(), &event);
}

void Speaker::State::remove(ConnId id) {
  Connection* gone = connection(id);
  if (gone == nullptr) return;
  set_deadline(*gone, std::nullopt);
  connections.erase(id);
}

void Speaker::State::finish(ConnId id) {
  Connection* last = connection(id);
  if (last == nullptr) return;
  last->neighbor = nullptr;
  if (last->connecting || !last->goodbye) return remove(id);
  set_deadline(*last, now + kGoodbyeTime);
  queue(*last);
}

void Speaker::State::on_event(uint64_t key, uint32_t events) {
  if (key == 0) {
    eventfd_t count;
    eventfd_read(bell.get(), &count);
    return;
  }
  if (key < kConnectionEvent) return accept_some(key - kListenerEvent);
  const auto id = static_cast<ConnId>(key - kConnectionEvent);
  Connection* about = connection(id);
  if (about == nullptr) return;
  if (about->connecting) return on_connecting(*about);
  if ((events & EPOLLOUT) != 0) {
    about->blocked = false;
    watch(*about, false);
    queue(*about);
  }
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) read(*about);
}

// --- their beginning

void Speaker::State::begin_dial(Neighbor& neighbor) {
  const PeerConfig& peer = neighbor.config;
  try {
    Fd fd = dial(neighbor.address, peer.port, peer.local, peer.password, needs(peer));
    add_connection(std::move(fd), neighbor, true);
  } catch (const Error& error) {
    neighbor.session.on_dial_failed(error.text, now);
  }
}

TcpNeeds Speaker::State::needs(const PeerConfig& peer) const {
  constexpr int kAnyHops = 64;
  return {.ttl = peer.role == PeerRole::ebgp && !peer.multihop ? 1 : kAnyHops, .ttl_security = peer.ttl_security};
}

void Speaker::State::on_connecting(Connection& connection) {
  Neighbor& neighbor = *connection.neighbor;
  if (const int error = connect_error(connection.fd.get()); error != 0) {
    remove(connection.id);
    neighbor.session.on_dial_failed(connect_trouble(error, neighbor.config.port), now);
  } else {
    connection.connecting = false;
    set_deadline(connection, std::nullopt);
    watch(connection, false);
    neighbor.session.on_connected(connection.id, now);
  }
  drain(neighbor);
}

void Speaker::State::accept_some(size_t index) {
  for (int i = 0; i < kAcceptsPerTurn && index < listeners.size() && !listeners[index].paused; ++i) {
    Listener& listener = listeners[index];
    Fd fd(accept4(listener.fd.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)) {
      log::error("bgp: a connection can't be accepted: {}", errno_text(errno));
      listener.paused = now + kDescriptorPause;
      epoll_event event{.events = 0, .data = {.u64 = listener_key(index)}};
      epoll_ctl(epoll.get(), EPOLL_CTL_MOD, listener.fd.get(), &event);
    }
    if (!fd && errno != ECONNABORTED && errno != EINTR) return;
    const IpAddr address = fd ? remote_address(fd.get()) : IpAddr{};
    if (!address) continue;  // gone again
    Neighbor* neighbor = find(address);
    if (neighbor == nullptr) neighbor = dynamic_neighbor(address);
    if (neighbor == nullptr) continue;
    if (!neighbor->config.password.empty() && !has_key(listener, address, neighbor->config.password)) {
      stranger(address, "its password can't be checked");
      continue;
    }
    prepare_accepted(fd.get(), needs(neighbor->config));
    const ConnId id = add_connection(std::move(fd), *neighbor, false).id;
    if (!neighbor->session.on_accepted(id, now)) remove(id);
    drain(*neighbor);
  }
}

void Speaker::State::stranger(const IpAddr& address, std::string_view why) {
  if (now - stranger_minute >= kMinute) {
    stranger_minute = now;
    stranger_lines = 0;
  }
  if (++stranger_lines > kStrangerLines) {
    ++strangers;
    return;
  }
  log::warning("bgp: connection from {} refused: {}{}", address.str(), why,
               strangers > 0 ? fmt::format(" ({} others before)", strangers) : "");
  strangers = 0;
}

// --- reading

void Speaker::State::read(Connection& connection) {
  const ssize_t count = recv(connection.fd.get(), buffer.data(), buffer.size(), 0);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (count <= 0) {
    lost(connection, count < 0 ? errno : 0);
  } else if (Neighbor* neighbor = connection.neighbor; neighbor != nullptr) {
    neighbor->session.on_bytes(connection.id, Bytes(buffer).first(static_cast<size_t>(count)), now);
    drain(*neighbor);
  }
}

void Speaker::State::lost(Connection& connection, int error) {
  Neighbor* neighbor = connection.neighbor;
  const ConnId id = connection.id;
  remove(id);
  if (neighbor == nullptr) return;
  neighbor->session.on_closed(id, error == 0 ? "they closed the connection" : errno_text(error), now);
  drain(*neighbor);
}

void Speaker::State::broken(Connection& connection, int error) {
  const ConnId id = connection.id;
  for (int i = 0; i < kReadsAtEnd; ++i) {
    Connection* left = this->connection(id);
    if (left == nullptr) return;  // their NOTIFICATION has ended it
    const ssize_t count = recv(left->fd.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (count <= 0) break;
    if (left->neighbor == nullptr) continue;
    left->neighbor->session.on_bytes(id, Bytes(buffer).first(static_cast<size_t>(count)), now);
    drain(*left->neighbor);
  }
  if (Connection* left = this->connection(id)) lost(*left, error);
}

// --- writing

void Speaker::State::say(Connection& connection, Bytes bytes) {
  Neighbor* neighbor = connection.neighbor;
  if (neighbor != nullptr && neighbor->up == connection.id && connection.message_at > 0) {
    // A message that is on its way comes to its end first.
    size_t taken = 0;
    for (const Bytes piece : rib->pending(neighbor->id, kMaxMessage)) {
      size_t at = 0;
      while (at < piece.size() && connection.message_at > 0) neighbor->rib_messages += follow(connection, piece.subspan(at++, 1));
      connection.control.insert(connection.control.end(), piece.begin(), piece.begin() + static_cast<ptrdiff_t>(at));
      taken += at;
      if (connection.message_at == 0) break;
    }
    rib->consume(neighbor->id, taken);
  }
  connection.control.insert(connection.control.end(), bytes.begin(), bytes.end());
  connection.goodbye = bytes[kLengthEnd] == static_cast<uint8_t>(MessageType::notification);
  queue(connection);
}

void Speaker::State::queue(Connection& connection) {
  if (connection.blocked || connection.queued || connection.connecting) return;
  connection.queued = true;
  writable.push_back(connection.id);
}

void Speaker::State::queue_all() {
  for (Neighbor* neighbor : by_id) {
    if (neighbor == nullptr || !neighbor->up || neighbor->failed) continue;
    Connection* to = connection(*neighbor->up);
    if (to != nullptr && !to->blocked && rib->backlog(neighbor->id) > 0) queue(*to);
  }
}

void Speaker::State::write_queued() {
  std::vector<ConnId> round;
  round.swap(writable);
  for (const ConnId id : round) {
    Connection* to = connection(id);
    if (to == nullptr) continue;
    to->queued = false;
    write(*to);
  }
}

void Speaker::State::write(Connection& connection) {
  Neighbor* neighbor = connection.neighbor;
  const bool flows = neighbor != nullptr && neighbor->up == connection.id && !neighbor->failed;
  size_t left = kWritePerTurn;
  bool more = true, moved = false;
  while (more && left > 0) {
    const Sent sent = write_once(connection, flows ? neighbor : nullptr);
    if (sent.error != 0) return broken(connection, sent.error);
    left -= std::min(left, sent.bytes);
    moved = moved || sent.bytes > 0 || sent.blocked;
    more = sent.bytes > 0 && !sent.blocked;
    if (!sent.blocked) continue;
    connection.blocked = true;
    watch(connection, true);
  }
  if (more) queue(connection);
  if (flows && moved) {
    neighbor->session.on_sent(now, connection.blocked || more);
    touch(*neighbor);
  }
  const bool empty = connection.control.empty();
  if (neighbor == nullptr && empty) shutdown(connection.fd.get(), SHUT_WR);  // and then read to their end
}

Speaker::State::Sent Speaker::State::write_once(Connection& connection, Neighbor* neighbor) {
  constexpr size_t kMostPieces = 257;  // the RIB's and one
  iovec vector[kMostPieces];
  size_t count = 0, offered = 0;
  const auto offer = [&](Bytes bytes) {
    vector[count++] = {const_cast<uint8_t*>(bytes.data()), bytes.size()};
    offered += bytes.size();
  };
  const size_t control = connection.control.size() - connection.control_sent;
  if (control > 0) offer(Bytes(connection.control).subspan(connection.control_sent));
  std::vector<Bytes> pieces;
  if (neighbor != nullptr) pieces = rib->pending(neighbor->id, kWritePiece);
  for (const Bytes piece : pieces) offer(piece);
  if (offered == 0) return {};
  msghdr message{};
  message.msg_iov = vector;
  message.msg_iovlen = count;
  const ssize_t result = sendmsg(connection.fd.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (result < 0 && errno == EAGAIN) return {.blocked = true};
  if (result < 0) return {.error = errno};
  const auto bytes = static_cast<size_t>(result);
  const size_t of_control = std::min(control, bytes);
  connection.control_sent += of_control;
  if (of_control == control) {
    connection.control.clear();
    connection.control_sent = 0;
  }
  size_t of_rib = bytes - of_control;
  for (const Bytes piece : pieces) {
    const size_t part = std::min(of_rib, piece.size());
    neighbor->rib_messages += follow(connection, piece.first(part));
    of_rib -= part;
    if (of_rib == 0) break;
  }
  if (bytes > of_control) rib->consume(neighbor->id, bytes - of_control);
  return {.bytes = bytes, .blocked = bytes < offered};
}

}  // namespace knet::bgp
