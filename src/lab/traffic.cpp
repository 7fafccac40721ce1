#include "lab/traffic.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/text.h"
#include "kernel/netns.h"

namespace knet {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr size_t kPiece = 256u << 10;         // bytes of one TCP write or read
constexpr size_t kBatch = 64;                 // datagrams of one sendmmsg or recvmmsg
constexpr milliseconds kConnectTime{3000};
constexpr milliseconds kLookTime{50};         // how long a thread sleeps in a call before it sees that the time is over
constexpr milliseconds kAnswerTime{250};      // after which a round trip counts as lost
constexpr uint64_t kMostSamples = 4u << 20;
constexpr double kGigabyte = 1e9;

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = sizeof(sockaddr_storage);
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
};

SocketAddress address_of(const IpAddr& ip) {
  SocketAddress out;
  if (ip.is_v4()) {
    auto* in = reinterpret_cast<sockaddr_in*>(&out.storage);
    in->sin_family = AF_INET;
    memcpy(&in->sin_addr, ip.data(), 4);
    out.size = sizeof *in;
  } else {
    auto* in = reinterpret_cast<sockaddr_in6*>(&out.storage);
    in->sin6_family = AF_INET6;
    memcpy(&in->sin6_addr, ip.data(), 16);
    out.size = sizeof *in;
  }
  return out;
}

void limit_waits(const Fd& fd, milliseconds limit) {
  const timeval time{.tv_sec = limit.count() / 1000, .tv_usec = limit.count() % 1000 * 1000};
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time);
  setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time);
}

/// A socket in that end's namespace, bound to its address and a port of the kernel's choice.
Fd bound_socket(const TrafficEnd& end, int type) {
  Fd fd;
  in_netns(end.netns_fd, [&] { fd = Fd(socket(end.ip.is_v4() ? AF_INET : AF_INET6, type | SOCK_CLOEXEC, 0)); });
  if (!fd) throw_errno(errno, "open a socket");
  SocketAddress address = address_of(end.ip);
  if (bind(fd.get(), address.get(), address.size) != 0) throw_errno(errno, "bind to {}", end.ip.str());
  return fd;
}

SocketAddress name_of(const Fd& fd) {
  SocketAddress address;
  if (getsockname(fd.get(), address.get(), &address.size) != 0) throw_errno(errno, "ask a socket's port");
  return address;
}

void connect_to(const Fd& fd, const Fd& other, const IpAddr& ip) {
  SocketAddress address = name_of(other);
  if (connect(fd.get(), address.get(), address.size) == 0) return;
  throw_errno(errno == EINPROGRESS || errno == EAGAIN ? ETIMEDOUT : errno, "connect to {}", ip.str());
}

/// Two connected sockets with a port each: nobody else's datagram comes in.
struct DatagramPair {
  Fd from, to;
};

DatagramPair datagram_pair(const TrafficEnd& from, const TrafficEnd& to, milliseconds wait) {
  DatagramPair pair{bound_socket(from, SOCK_DGRAM), bound_socket(to, SOCK_DGRAM)};
  connect_to(pair.from, pair.to, to.ip);
  connect_to(pair.to, pair.from, from.ip);
  for (const Fd* fd : {&pair.from, &pair.to}) limit_waits(*fd, wait);
  const int room = 1 << 20;
  setsockopt(pair.to.get(), SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
  return pair;
}

/// Seconds that all cores together have been busy since boot: proc_stat(5), without idle, iowait and steal.
double busy_seconds() {
  const auto text = read_file("/proc/stat", 1u << 20);
  if (!text) fail(ErrorKind::unsupported, "/proc/stat can't be read: is /proc mounted?");
  const auto fields = split(std::string_view(*text).substr(0, text->find('\n')), ' ');
  constexpr size_t kUser = 2, kNice = 3, kSystem = 4, kIrq = 7, kSoftirq = 8;  // "cpu" is followed by two blanks
  int64_t ticks = 0;
  for (const size_t at : {kUser, kNice, kSystem, kIrq, kSoftirq})
    if (at < fields.size()) ticks += parse_int(fields[at]).value_or(0);
  return static_cast<double>(ticks) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

/// On a cache line of its own: it is written at each batch.
struct alignas(64) Count {
  std::atomic<uint64_t> value{0};
  void add(uint64_t more) { value.store(value.load(std::memory_order_relaxed) + more, std::memory_order_relaxed); }
  uint64_t get() const { return value.load(std::memory_order_relaxed); }
};

/// Threads that end when told; they are told and joined whatever happens.
class Crew {
 public:
  ~Crew() { finish(); }
  void start(std::function<void()> work) { threads_.emplace_back(std::move(work)); }
  bool over() const { return over_.load(std::memory_order_relaxed); }
  void finish() {
    over_ = true;
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

 private:
  std::atomic<bool> over_{false};
  std::vector<std::thread> threads_;
};

bool passing(int error) { return error == EAGAIN || error == EINTR || error == ENOBUFS || error == ECONNREFUSED; }

void write_all_the_time(const Crew& crew, const Fd& fd, const std::vector<uint8_t>& piece) {
  while (!crew.over())
    if (send(fd.get(), piece.data(), piece.size(), MSG_NOSIGNAL) < 0 && !passing(errno)) return;
}

void read_all_the_time(const Crew& crew, const Fd& fd, Count& bytes) {
  std::vector<uint8_t> piece(kPiece);
  while (!crew.over()) {
    const ssize_t size = recv(fd.get(), piece.data(), piece.size(), 0);
    if (size > 0) bytes.add(static_cast<uint64_t>(size));
    else if (size == 0 || !passing(errno)) return;
  }
}

struct Batch {
  std::array<std::array<uint8_t, kDatagram>, kBatch> bytes{};
  std::array<iovec, kBatch> parts{};
  std::array<mmsghdr, kBatch> messages{};
  Batch() {
    for (size_t i = 0; i < kBatch; ++i) {
      parts[i] = {bytes[i].data(), bytes[i].size()};
      messages[i].msg_hdr.msg_iov = &parts[i];
      messages[i].msg_hdr.msg_iovlen = 1;
    }
  }
};

void send_all_the_time(const Crew& crew, const Fd& fd, Count& sent) {
  const auto batch = std::make_unique<Batch>();
  while (!crew.over()) {
    const int count = sendmmsg(fd.get(), batch->messages.data(), kBatch, 0);
    if (count > 0) sent.add(static_cast<uint64_t>(count));
    else if (!passing(errno)) return;
  }
}

void take_all_the_time(const Crew& crew, const Fd& fd, Count& received) {
  const auto batch = std::make_unique<Batch>();
  while (!crew.over()) {
    const int count = recvmmsg(fd.get(), batch->messages.data(), kBatch, MSG_WAITFORONE, nullptr);
    if (count > 0) received.add(static_cast<uint64_t>(count));
    else if (!passing(errno)) return;
  }
}

void send_back_all_the_time(const Crew& crew, const Fd& fd) {
  std::array<uint8_t, kDatagram> bytes;
  while (!crew.over()) {
    const ssize_t size = recv(fd.get(), bytes.data(), bytes.size(), 0);
    if (size > 0) send(fd.get(), bytes.data(), static_cast<size_t>(size), 0);
  }
}

/// Sends one numbered datagram and waits for it; nothing if it does not come back in time.
bool go_and_return(const Fd& fd, uint64_t number) {
  std::array<uint8_t, kDatagram> bytes{};
  memcpy(bytes.data(), &number, sizeof number);
  if (send(fd.get(), bytes.data(), bytes.size(), 0) < 0) return false;
  for (;;) {
    const ssize_t size = recv(fd.get(), bytes.data(), bytes.size(), 0);
    if (size < static_cast<ssize_t>(sizeof number)) return false;
    uint64_t back;
    memcpy(&back, bytes.data(), sizeof back);
    if (back == number) return true;  // else one that had been given up
  }
}

[[noreturn]] void nothing_arrives(const TrafficEnd& from, const TrafficEnd& to, std::string_view what) {
  fail(ErrorKind::kernel, "no {} of {} reaches {}", what, from.ip.str(), to.ip.str());
}

}  // namespace

StreamRate tcp_streams(const TrafficEnd& from, const TrafficEnd& to, unsigned streams, const TrafficTime& time) {
  const Fd listener = bound_socket(to, SOCK_STREAM);
  if (listen(listener.get(), static_cast<int>(streams)) != 0) throw_errno(errno, "listen on {}", to.ip.str());
  struct Stream {
    Fd from, to;
    Count bytes;
  };
  std::vector<Stream> all(streams);
  for (Stream& stream : all) {
    stream.from = bound_socket(from, SOCK_STREAM);
    limit_waits(stream.from, kConnectTime);
    connect_to(stream.from, listener, to.ip);
    pollfd ready{.fd = listener.get(), .events = POLLIN, .revents = 0};
    if (poll(&ready, 1, static_cast<int>(kConnectTime.count())) <= 0) nothing_arrives(from, to, "connection");
    stream.to = Fd(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!stream.to) throw_errno(errno, "accept from {}", from.ip.str());
    for (const Fd* fd : {&stream.from, &stream.to}) limit_waits(*fd, kLookTime);
  }
  auto taken = [&] {
    uint64_t bytes = 0;
    for (const Stream& stream : all) bytes += stream.bytes.get();
    return static_cast<double>(bytes);
  };

  const std::vector<uint8_t> piece(kPiece, 0x6b);
  Crew crew;
  for (Stream& stream : all) {
    crew.start([&] { read_all_the_time(crew, stream.to, stream.bytes); });
    crew.start([&] { write_all_the_time(crew, stream.from, piece); });
  }
  std::this_thread::sleep_for(time.warmup);
  const double cpu = busy_seconds(), before = taken();
  const auto begin = Clock::now();
  std::this_thread::sleep_for(time.window);
  const double bytes = taken() - before;
  const std::chrono::duration<double> took = Clock::now() - begin;
  const double busy = busy_seconds() - cpu;
  crew.finish();
  if (bytes <= 0) nothing_arrives(from, to, "TCP data");
  return {bytes * 8 / took.count(), busy / (bytes / kGigabyte)};
}

DatagramRate udp_datagrams(const TrafficEnd& from, const TrafficEnd& to, const TrafficTime& time) {
  const DatagramPair pair = datagram_pair(from, to, kLookTime);
  Count sent, received;
  Crew crew;
  crew.start([&] { take_all_the_time(crew, pair.to, received); });
  crew.start([&] { send_all_the_time(crew, pair.from, sent); });
  std::this_thread::sleep_for(time.warmup);
  const uint64_t sent_before = sent.get(), received_before = received.get();
  const auto begin = Clock::now();
  std::this_thread::sleep_for(time.window);
  const auto out = static_cast<double>(sent.get() - sent_before), in = static_cast<double>(received.get() - received_before);
  const std::chrono::duration<double> took = Clock::now() - begin;
  crew.finish();
  if (in <= 0) nothing_arrives(from, to, "datagram");
  return {in / took.count(), out > in ? 1 - in / out : 0};
}

RoundTrips udp_round_trips(const TrafficEnd& from, const TrafficEnd& to, const TrafficTime& time) {
  const DatagramPair pair = datagram_pair(from, to, kAnswerTime);
  limit_waits(pair.to, kLookTime);
  Crew crew;
  crew.start([&] { send_back_all_the_time(crew, pair.to); });
  std::vector<uint32_t> samples;
  const auto counted = Clock::now() + time.warmup, end = counted + time.window;
  uint64_t number = 0;
  for (auto now = Clock::now(); now < end && samples.size() < kMostSamples;) {
    const bool back = go_and_return(pair.from, ++number);
    const auto then = std::exchange(now, Clock::now());
    if (back && then >= counted)
      samples.push_back(static_cast<uint32_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(now - then).count()));
  }
  crew.finish();
  if (samples.empty()) nothing_arrives(from, to, "datagram and its answer");
  std::sort(samples.begin(), samples.end());
  auto at = [&](double part) { return samples[static_cast<size_t>(part * static_cast<double>(samples.size() - 1))] / 1000.0; };
  return {at(0.5), at(0.99), samples.size()};
}

}  // namespace knet
