#include "kernel/netlink.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <linux/netlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <sys/socket.h>

#include <cassert>
#include <cstring>

#include "base/error.h"

#ifndef NETLINK_GET_STRICT_CHK
#define NETLINK_GET_STRICT_CHK 12
#endif

namespace knet {

namespace {

template <typename T>
T read_as(const nlattr* attr) {
  T value{};
  if (attr && nla_len(attr) >= static_cast<int>(sizeof value)) memcpy(&value, nla_data(attr), sizeof value);
  return value;
}

constexpr int kDumpTries = 3;
// The kernel sizes a dump's datagrams by what the reader has asked for, up to 32 KB (netlink_dump).
constexpr size_t kReceiveBytes = 32 << 10;
// What one queued ack costs of SO_RCVBUF: an sk_buff, its shared info, and a short text.
constexpr size_t kAckBytes = 1280;
constexpr int kBufferBytes = 4 << 20;

}  // namespace

int Attr::type() const { return nla_type(attr_); }
size_t Attr::size() const { return attr_ ? static_cast<size_t>(nla_len(attr_)) : 0; }
const void* Attr::data() const { return attr_ ? nla_data(attr_) : nullptr; }
uint8_t Attr::u8() const { return read_as<uint8_t>(attr_); }
uint16_t Attr::u16() const { return read_as<uint16_t>(attr_); }
uint32_t Attr::u32() const { return read_as<uint32_t>(attr_); }
uint16_t Attr::be16() const { return ntohs(read_as<uint16_t>(attr_)); }
uint32_t Attr::be32() const { return ntohl(read_as<uint32_t>(attr_)); }
uint64_t Attr::be64() const { return be64toh(read_as<uint64_t>(attr_)); }

std::string_view Attr::text() const {
  if (!attr_) return {};
  const char* bytes = static_cast<const char*>(data());
  return {bytes, strnlen(bytes, size())};
}

IpAddr Attr::ip() const {
  if (size() == 4) return IpAddr::from_bytes(Family::v4, data());
  if (size() == 16) return IpAddr::from_bytes(Family::v6, data());
  return {};
}

Mac Attr::mac() const {
  Mac mac;
  if (size() == mac.bytes.size()) memcpy(mac.bytes.data(), data(), mac.bytes.size());
  return mac;
}

void Attr::for_each(const std::function<void(Attr)>& visit) const {
  if (!attr_) return;
  int left = nla_len(attr_);
  for (auto* at = static_cast<nlattr*>(nla_data(attr_)); nla_ok(at, left); at = nla_next(at, &left)) visit(Attr(at));
}

void parse_attrs(const nlmsghdr* message, size_t header_size, const nlattr** table, int max) {
  auto* head = const_cast<nlmsghdr*>(message);
  if (!nlmsg_valid_hdr(head, static_cast<int>(header_size))) return;
  int left = nlmsg_attrlen(head, static_cast<int>(header_size));
  for (auto* at = nlmsg_attrdata(head, static_cast<int>(header_size)); nla_ok(at, left); at = nla_next(at, &left))
    if (nla_type(at) <= max) table[nla_type(at)] = at;
}

void parse_attrs(Attr nest, const nlattr** table, int max) {
  if (nest) parse_attrs(nest.data(), nest.size(), table, max);
}

void parse_attrs(const void* bytes, size_t size, const nlattr** table, int max) {
  auto left = static_cast<int>(size);
  for (auto* at = static_cast<nlattr*>(const_cast<void*>(bytes)); nla_ok(at, left); at = nla_next(at, &left))
    if (nla_type(at) <= max) table[nla_type(at)] = at;
}

NlMessage::NlMessage(size_t capacity) : message_(nlmsg_alloc_size(capacity)) {
  if (!message_) throw std::bad_alloc();
}
NlMessage::~NlMessage() { nlmsg_free(message_); }

nlmsghdr* NlMessage::header() const { return nlmsg_hdr(message_); }
size_t NlMessage::size() const { return header()->nlmsg_len; }

NlMessage& NlMessage::begin(int type, int flags, const void* data, size_t size) {
  nlmsghdr* head = header();
  head->nlmsg_len = NLMSG_HDRLEN;
  head->nlmsg_type = static_cast<uint16_t>(type);
  head->nlmsg_flags = static_cast<uint16_t>(flags | NLM_F_REQUEST);
  head->nlmsg_seq = 0;
  head->nlmsg_pid = 0;
  return put_raw(data, size);
}

NlMessage& NlMessage::put(int type, const void* data, size_t size) {
  if (nla_put(message_, type, static_cast<int>(size), data) < 0)
    fail(ErrorKind::bug, "netlink message of type {} is full at attribute {}", header()->nlmsg_type, type);
  return *this;
}

NlMessage& NlMessage::put_be16(int type, uint16_t value) { return put_u16(type, htons(value)); }
NlMessage& NlMessage::put_be32(int type, uint32_t value) { return put_u32(type, htonl(value)); }
NlMessage& NlMessage::put_be64(int type, uint64_t value) {
  value = htobe64(value);
  return put(type, &value, sizeof value);
}

NlMessage& NlMessage::put_text(int type, std::string_view text) {
  nlattr* attr = nla_reserve(message_, type, static_cast<int>(text.size() + 1));
  if (!attr) fail(ErrorKind::bug, "netlink message of type {} is full at attribute {}", header()->nlmsg_type, type);
  char* at = static_cast<char*>(nla_data(attr));
  memcpy(at, text.data(), text.size());
  at[text.size()] = 0;
  return *this;
}

NlMessage& NlMessage::put_raw(const void* data, size_t size) {
  if (nlmsg_append(message_, const_cast<void*>(data), size, NLMSG_ALIGNTO) < 0)
    fail(ErrorKind::bug, "netlink message of type {} is full", header()->nlmsg_type);
  return *this;
}

NlMessage::Nest::Nest(nl_msg* message, int type)
    : message_(message), start_(nla_nest_start(message, type | NLA_F_NESTED)) {
  if (!start_) fail(ErrorKind::bug, "netlink message is full at nest {}", type);
}
NlMessage::Nest::~Nest() { nla_nest_end_keep_empty(message_, start_); }

NlSocket::NlSocket(int protocol) : socket_(nl_socket_alloc()) {
  if (!socket_) throw std::bad_alloc();
  if (int error = nl_connect(socket_, protocol); error < 0) {
    int saved = errno;
    nl_socket_free(socket_);
    throw_errno(saved, "open a netlink socket (protocol {})", protocol);
  }
  int on = 1;
  // Each of these only makes answers better; a kernel without one still works.
  setsockopt(fd(), SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on);
  setsockopt(fd(), SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
  if (protocol == NETLINK_ROUTE) setsockopt(fd(), SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof on);
  int want = kBufferBytes;
  if (setsockopt(fd(), SOL_SOCKET, SO_RCVBUFFORCE, &want, sizeof want) < 0)
    setsockopt(fd(), SOL_SOCKET, SO_RCVBUF, &want, sizeof want);
  if (setsockopt(fd(), SOL_SOCKET, SO_SNDBUFFORCE, &want, sizeof want) < 0)
    setsockopt(fd(), SOL_SOCKET, SO_SNDBUF, &want, sizeof want);
  int got = 0;
  socklen_t size = sizeof got;
  if (getsockopt(fd(), SOL_SOCKET, SO_RCVBUF, &got, &size) == 0 && got > 0)
    ack_room_ = std::clamp<size_t>(static_cast<size_t>(got) / kAckBytes, 16, 2048);
}

NlSocket::~NlSocket() { nl_socket_free(socket_); }
int NlSocket::fd() const { return nl_socket_get_fd(socket_); }
uint32_t NlSocket::port() const { return nl_socket_get_local_port(socket_); }

void NlSocket::join(unsigned group) {
  if (nl_socket_add_membership(socket_, static_cast<int>(group)) < 0)
    throw_errno(errno, "join netlink group {}", group);
}

std::vector<char>& NlSocket::buffer() {
  if (buffer_.empty()) buffer_.resize(kReceiveBytes);
  return buffer_;
}

void NlSocket::send(const void* bytes, size_t size) {
  while (::send(fd(), bytes, size, 0) < 0)
    if (errno != EINTR) throw_errno(errno, "send {} bytes to the kernel over netlink", size);
}

void NlSocket::receive(const std::function<bool(const nlmsghdr*)>& handle) {
  for (;;) {
    ssize_t got = ::recv(fd(), buffer().data(), buffer().size(), 0);
    if (got < 0) {
      if (errno == EINTR) continue;
      throw_errno(errno, "read the kernel's answer over netlink");
    }
    int left = static_cast<int>(got);
    for (auto* head = reinterpret_cast<nlmsghdr*>(buffer().data()); nlmsg_ok(head, left);
         head = nlmsg_next(head, &left))
      if (!handle(head)) return;
  }
}

bool NlSocket::receive_waiting(const std::function<void(const nlmsghdr*)>& handle) {
  bool whole = true;
  for (;;) {
    ssize_t got = ::recv(fd(), buffer().data(), buffer().size(), MSG_DONTWAIT);
    if (got < 0) {
      if (errno == EINTR) continue;
      if (errno == ENOBUFS) {
        whole = false;
        continue;
      }
      return whole;
    }
    int left = static_cast<int>(got);
    for (auto* head = reinterpret_cast<nlmsghdr*>(buffer().data()); nlmsg_ok(head, left);
         head = nlmsg_next(head, &left))
      handle(head);
  }
}

NlSocket::Dump NlSocket::dump(NlMessage& request, const std::function<void()>& reset,
                              const std::function<void(const nlmsghdr*)>& each) {
  request.header()->nlmsg_flags |= NLM_F_DUMP;
  for (int left = kDumpTries; left > 0; --left) {
    uint32_t seq = request.header()->nlmsg_seq = next_seq();
    reset();
    send(request.header(), request.size());
    bool interrupted = false;
    int error = 0;
    receive([&](const nlmsghdr* head) {
      if (head->nlmsg_seq != seq) return true;
      if (head->nlmsg_flags & NLM_F_DUMP_INTR) interrupted = true;
      if (head->nlmsg_type == NLMSG_DONE || head->nlmsg_type == NLMSG_ERROR) {
        if (head->nlmsg_len >= NLMSG_HDRLEN + sizeof(int)) memcpy(&error, NLMSG_DATA(head), sizeof error);
        return false;
      }
      each(head);
      return true;
    });
    if (error < 0 && error != -EINTR) {
      dump_error_ = -error;
      return Dump::refused;
    }
    if (!interrupted && error == 0) return Dump::whole;
  }
  return Dump::interrupted;
}

std::string ack_reason(const nlmsghdr* head, int error) {
  if (head->nlmsg_flags & NLM_F_ACK_TLVS) {
    // With NETLINK_CAP_ACK, or without an error, the request's payload is not repeated before the attributes.
    auto* answer = static_cast<const nlmsgerr*>(NLMSG_DATA(head));
    size_t skip = sizeof *answer;
    if (!(head->nlmsg_flags & NLM_F_CAPPED)) skip += answer->msg.nlmsg_len - NLMSG_HDRLEN;
    Attrs<NLMSGERR_ATTR_MSG> attrs(head, skip);
    if (Attr text = attrs[NLMSGERR_ATTR_MSG]) return std::string(text.text());
  }
  return errno_text(error);
}

NlFailure NlSocket::request(NlMessage& message, const std::function<void(const nlmsghdr*)>& reply) {
  uint32_t seq = message.header()->nlmsg_seq = next_seq();
  message.header()->nlmsg_flags |= NLM_F_ACK;
  send(message.header(), message.size());
  NlFailure result;
  receive([&](const nlmsghdr* head) {
    if (head->nlmsg_seq != seq) return true;
    if (head->nlmsg_type == NLMSG_ERROR) {
      int error = 0;
      memcpy(&error, NLMSG_DATA(head), sizeof error);
      result.error = -error;
      if (error) result.reason = ack_reason(head, -error);
      return false;
    }
    if (reply) reply(head);
    return true;
  });
  return result;
}

std::unique_ptr<NlSocket> open_netfilter_socket() {
  try {
    return std::make_unique<NlSocket>(NETLINK_NETFILTER);
  } catch (const Error&) {
    return nullptr;
  }
}

void NlBatch::add(NlMessage& message, uint32_t cookie) {
  size_t size = NLMSG_ALIGN(message.size());
  if (!bytes_.empty() && (bytes_.size() + size > kSendBytes || cookies_.size() >= socket_.ack_room())) flush();
  message.header()->nlmsg_seq = socket_.next_seq();
  // Acks are told apart by their distance from the first: a question asked in between on the same socket leaves a gap.
  if (!cookies_.empty() &&
      reinterpret_cast<nlmsghdr*>(bytes_.data() + last_)->nlmsg_seq + 1 != message.header()->nlmsg_seq)
    flush();
  last_ = bytes_.size();
  bytes_.resize(last_ + size);
  memcpy(bytes_.data() + last_, message.header(), message.size());
  cookies_.push_back(cookie);
}

void NlBatch::flush() {
  if (cookies_.empty()) return;
  auto* first = reinterpret_cast<nlmsghdr*>(bytes_.data());
  auto* last = reinterpret_cast<nlmsghdr*>(bytes_.data() + last_);
  uint32_t first_seq = first->nlmsg_seq;
  uint32_t last_seq = last->nlmsg_seq;
  last->nlmsg_flags |= NLM_F_ACK;
  socket_.send(bytes_.data(), bytes_.size());
  socket_.receive([&](const nlmsghdr* head) {
    uint32_t index = head->nlmsg_seq - first_seq;
    if (head->nlmsg_type != NLMSG_ERROR || index >= cookies_.size()) return true;
    int error = 0;
    memcpy(&error, NLMSG_DATA(head), sizeof error);
    if (error) failures_.push_back({cookies_[index], -error, ack_reason(head, -error)});
    return head->nlmsg_seq != last_seq;
  });
  bytes_.clear();
  cookies_.clear();
}

std::vector<NlFailure> NlBatch::finish() {
  flush();
  return std::exchange(failures_, {});
}

}  // namespace knet
