// Netlink for src/kernel: one message under construction (NlMessage), a socket (NlSocket), many messages in one sendmsg
// with failures told per message (NlBatch), attributes read by value (Attr, Attrs). The only place where raw libnl
// pointers live. Blocking; a socket belongs to one thread at a time and to the network namespace in which it was
// opened. Sources: Documentation/userspace-api/netlink/intro.rst, include/uapi/linux/netlink.h.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/ip.h"

struct nl_msg;
struct nl_sock;
struct nlattr;
struct nlmsghdr;

namespace knet {

/// One attribute of a received message; false if absent. Valid as long as the receive buffer.
class Attr {
 public:
  Attr() = default;
  explicit Attr(const nlattr* attr) : attr_(attr) {}
  explicit operator bool() const { return attr_ != nullptr; }
  int type() const;
  size_t size() const;
  const void* data() const;
  // 0 where absent or too short.
  uint8_t u8() const;
  uint16_t u16() const;
  uint32_t u32() const;
  uint16_t be16() const;
  uint32_t be32() const;
  uint64_t be64() const;
  std::string_view text() const;  // up to its NUL
  IpAddr ip() const;              // by its length; not set if neither 4 nor 16
  Mac mac() const;                // zero if not 6 bytes
  void for_each(const std::function<void(Attr)>& visit) const;
  const nlattr* raw() const { return attr_; }

 private:
  const nlattr* attr_ = nullptr;
};

void parse_attrs(const nlmsghdr* message, size_t header_size, const nlattr** table, int max);
void parse_attrs(Attr nest, const nlattr** table, int max);
void parse_attrs(const void* bytes, size_t size, const nlattr** table, int max);

/// The attributes 0..kMax of a message or a nest, by type; unknown ones are left out.
template <int kMax>
class Attrs {
 public:
  Attrs(const nlmsghdr* message, size_t header_size) { parse_attrs(message, header_size, table_.data(), kMax); }
  explicit Attrs(Attr nest) { parse_attrs(nest, table_.data(), kMax); }
  /// Attributes that follow a header of their own inside a nest.
  Attrs(const void* bytes, size_t size) { parse_attrs(bytes, size, table_.data(), kMax); }
  Attr operator[](int type) const { return Attr(table_[static_cast<size_t>(type)]); }

 private:
  std::array<const nlattr*, kMax + 1> table_{};
};

/// One request, built and used again and again: begin() starts anew. Throws Error{bug} if it outgrows its capacity.
class NlMessage {
 public:
  explicit NlMessage(size_t capacity = 4096);
  ~NlMessage();
  NlMessage(const NlMessage&) = delete;
  NlMessage& operator=(const NlMessage&) = delete;

  template <typename Header>
  NlMessage& begin(int type, int flags, const Header& header) {
    return begin(type, flags, &header, sizeof header);
  }
  NlMessage& begin(int type, int flags, const void* header, size_t size);
  NlMessage& put(int type, const void* data, size_t size);
  NlMessage& put_u8(int type, uint8_t value) { return put(type, &value, sizeof value); }
  NlMessage& put_u16(int type, uint16_t value) { return put(type, &value, sizeof value); }
  NlMessage& put_u32(int type, uint32_t value) { return put(type, &value, sizeof value); }
  NlMessage& put_be16(int type, uint16_t value);
  NlMessage& put_be32(int type, uint32_t value);
  NlMessage& put_be64(int type, uint64_t value);
  NlMessage& put_text(int type, std::string_view text);  // with its NUL
  NlMessage& put_ip(int type, const IpAddr& ip) { return put(type, ip.data(), ip.size()); }
  NlMessage& put_mac(int type, const Mac& mac) { return put(type, mac.bytes.data(), mac.bytes.size()); }
  NlMessage& put_flag(int type) { return put(type, nullptr, 0); }
  /// Bytes without an attribute header (a header inside a nest).
  NlMessage& put_raw(const void* data, size_t size);

  /// Open until destroyed; nests close in reverse order.
  class Nest {
   public:
    Nest(nl_msg* message, int type);
    ~Nest();
    Nest(const Nest&) = delete;
    Nest& operator=(const Nest&) = delete;

   private:
    nl_msg* message_;
    nlattr* start_;
  };
  [[nodiscard]] Nest nest(int type) { return Nest(message_, type); }

  nlmsghdr* header() const;
  size_t size() const;

 private:
  nl_msg* message_;
};

/// The kernel's refusal of one message.
struct NlFailure {
  uint32_t cookie = 0;  // as given to NlBatch::add
  int error = 0;        // errno
  std::string reason;   // the extended ack's text, else strerror
};

class NlSocket {
 public:
  /// `protocol`: NETLINK_ROUTE, NETLINK_NETFILTER. Buffers as large as allowed; ext-ack, cap-ack and strict checks on.
  explicit NlSocket(int protocol);
  ~NlSocket();
  NlSocket(const NlSocket&) = delete;
  NlSocket& operator=(const NlSocket&) = delete;

  int fd() const;
  uint32_t port() const;
  void join(unsigned group);
  uint32_t next_seq() { return ++seq_; }
  /// Acks that the receive buffer takes in one go.
  size_t ack_room() const { return ack_room_; }

  /// Throws Error{kernel} where the kernel does not take the bytes at all.
  void send(const void* bytes, size_t size);
  /// Waits for a datagram and hands over each message; the handler returns false for the last one that it wants.
  void receive(const std::function<bool(const nlmsghdr*)>& handle);
  /// What is there now; nothing if no message is waiting. False on ENOBUFS (messages were lost).
  bool receive_waiting(const std::function<void(const nlmsghdr*)>& handle);

  enum class Dump { whole, interrupted, refused };
  /// Sends the request as a dump. `reset` is called before each new try; 3 tries where the kernel says that the
  /// dump was interrupted by a change. Refused: the kernel answered with an error (kept in dump_error()).
  Dump dump(NlMessage& request, const std::function<void()>& reset, const std::function<void(const nlmsghdr*)>& each);
  int dump_error() const { return dump_error_; }

  /// One request with an ack; error 0 if fine. `reply` sees the answers of a get.
  NlFailure request(NlMessage& message, const std::function<void(const nlmsghdr*)>& reply = {});

 private:
  std::vector<char>& buffer();
  nl_sock* socket_;
  std::vector<char> buffer_;
  uint32_t seq_ = 0;
  size_t ack_room_ = 64;
  int dump_error_ = 0;
};

/// A NETLINK_NETFILTER socket; null where the kernel has no netfilter.
std::unique_ptr<NlSocket> open_netfilter_socket();

/// Collects messages and sends many of them per system call. Only the last of each send asks for an ack: refusals are
/// always reported. The kernel has done everything when flush() returns.
class NlBatch {
 public:
  explicit NlBatch(NlSocket& socket) : socket_(socket) { bytes_.reserve(kSendBytes); }
  void add(NlMessage& message, uint32_t cookie);
  void flush();
  /// Flushes, and gives the refusals since the last call, in order.
  std::vector<NlFailure> finish();

 private:
  static constexpr size_t kSendBytes = 64 << 10;
  NlSocket& socket_;
  std::vector<char> bytes_;
  std::vector<uint32_t> cookies_;
  size_t last_ = 0;  // offset of the last message in bytes_
  std::vector<NlFailure> failures_;
};

/// The extended ack's text, else the words for `error`.
std::string ack_reason(const nlmsghdr* error_message, int error);

}  // namespace knet
