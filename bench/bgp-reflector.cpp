// A route reflector over TCP: clients that dial from addresses of their own in a network namespace of their own send M
// routes each, until every one of them has all the others'. The reflector is this program once more with knet's speaker
// in it, and then bird (if it is installed) under the same load. Printed: time from the moment when all sessions stand and
// the clients begin to tell until the last client has all, the reflector's CPU seconds (sessions included) and resident
// memory, and the ratios. Ends with 1 if a client of knet's got too few or one twice.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <thread>

#include "base/error.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/log.h"
#include "base/process.h"
#include "bgp/speaker.h"

using namespace knet;
using namespace knet::bgp;

namespace {

using Clock = std::chrono::steady_clock;
constexpr Asn kAsn = 64512;
constexpr uint16_t kPort = 1790;
constexpr double kPatience = 90;  // seconds
constexpr uint32_t kFirstRoute = 0x14000000;  // 20.0.0.0; route N is the N-th /26 from there

IpAddr reflector_address() { return IpAddr::v4(0x0a62ff01); }                    // 10.98.255.1
IpAddr client_address(uint32_t client) { return IpAddr::v4(0x0a620001 + client); }  // 10.98.0.1 and on

struct Load {
  const char* name;
  uint32_t clients, routes, senders, sets;  // sets: of attributes, per sender
};

struct Figures {
  double wall = 0, cpu = 0;
  long rss = 0, anonymous = 0;  // kB
  size_t again = 0;  // routes told more often than needed
};

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// --- the reflectors

[[noreturn]] void run_speaker(uint32_t clients) {
  log::set_level(log::Level::error);
  SpeakerConfig config;
  config.rib.asn = kAsn;
  config.rib.id = reflector_address().v4_value();
  config.rib.cluster_id = 1;
  config.listen = {reflector_address()};
  config.port = kPort;
  config.hands_over = false;  // as of a node without pods, and as bird is set up here
  for (uint32_t i = 0; i < clients; ++i) {
    PeerConfig& peer = config.peers.emplace_back();
    peer.name = fmt::format("c{}", i);
    peer.remote = Prefix::host(client_address(i));
    peer.role = PeerRole::reflector_client;
    peer.session.local_as = peer.session.remote_as = kAsn;
    peer.session.local_id = config.rib.id;
    peer.session.hold_time = 240;
    peer.session.passive = true;
  }
  Speaker speaker([](auto, bool) {}, false);
  speaker.configure(std::move(config));
  for (;;) pause();  // until we are ended
}

std::string bird_config(uint32_t clients) {
  std::string out = fmt::format(
      "log stderr {{ error, fatal }};\nrouter id {};\nprotocol device {{ }}\nprotocol direct {{ ipv4; }}\n"
      "template bgp ours {{ local {} port {} as {}; rr client; rr cluster id 0.0.0.1; passive yes; hold time 240;\n"
      "  ipv4 {{ import all; export where source = RTS_BGP; }}; }}\n",
      reflector_address().str(), reflector_address().str(), kPort, kAsn);
  for (uint32_t i = 0; i < clients; ++i)
    out += fmt::format("protocol bgp c{} from ours {{ neighbor {} as {}; }}\n", i, client_address(i).str(), kAsn);
  return out;
}

struct Reflector {
  Child child;

  explicit Reflector(const std::vector<std::string>& words)
      : child(Child::start({.argv = words, .program = words[0] == "bgp-reflector" ? self_exe() : "", .death_signal = SIGKILL})) {}

  std::string proc(const char* file) const {
    return read_file(fmt::format("/proc/{}/{}", child.pid(), file)).value_or("");
  }
  double cpu() const {
    const std::string stat = proc("stat");
    long user = 0, system = 0;
    if (const size_t at = stat.rfind(')'); at != std::string::npos)
      std::sscanf(stat.c_str() + at + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %ld %ld", &user, &system);
    return static_cast<double>(user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
  }
  long memory(const char* field) const {
    const std::string status = proc("status");
    const size_t at = status.find(field);
    return at == std::string::npos ? 0 : std::atol(status.c_str() + at + std::strlen(field));
  }
};

// --- the clients

struct Client {
  Fd fd;
  std::vector<uint8_t> in, out;
  size_t sent = 0;
  bool opened = false, established = false;
  std::vector<bool> has;  // by the number of the route
  size_t got = 0, wanted = 0, again = 0;  // distinct routes; routes told more than once
};

sockaddr_in socket_address(const IpAddr& address, uint16_t port) {
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_port = htons(port);
  at.sin_addr.s_addr = htonl(address.v4_value());
  return at;
}

std::vector<uint8_t> updates_of(uint32_t client, const Load& load) {
  std::vector<uint8_t> out;
  for (uint32_t set = 0; set < load.sets && client < load.senders; ++set) {
    std::vector<Prefix> prefixes;
    for (uint32_t i = set; i < load.routes; i += load.sets)
      prefixes.emplace_back(IpAddr::v4(kFirstRoute + ((client * load.routes + i) << 6)), 26);
    Attributes attributes;
    attributes.next_hop = client_address(client);
    attributes.local_pref = 100;
    attributes.med = set;
    encode_reach(Afi::v4, prefixes, attributes, SessionTraits{}, out);
  }
  const auto end = encode_end_of_rib(Afi::v4);
  out.insert(out.end(), end.begin(), end.end());
  return out;
}

/// Calls `told` with the number of each route that an UPDATE announces (IPv4, in the body: RFC 4271 section 4.3).
template <class Told>
void routes_of(Bytes update, Told told) {
  size_t at = kHeaderSize;
  at += 2 + (size_t{update[at]} << 8 | update[at + 1]);
  at += 2 + (size_t{update[at]} << 8 | update[at + 1]);
  while (at < update.size()) {
    const size_t bytes = (update[at] + 7u) / 8;
    uint32_t address = 0;
    for (size_t i = 0; i < 4; ++i) address = address << 8 | (i < bytes ? update[at + 1 + i] : 0u);
    told((address - kFirstRoute) >> 6);
    at += 1 + bytes;
  }
}

class Clients {
 public:
  explicit Clients(const Load& load) : load_(load), epoll_(epoll_create1(EPOLL_CLOEXEC)), clients_(load.clients) {
    for (uint32_t i = 0; i < load.clients; ++i) {
      updates_.push_back(updates_of(i, load));
      clients_[i].wanted = size_t{load.senders} * load.routes - (i < load.senders ? load.routes : 0);
      clients_[i].has.resize(size_t{load.senders} * load.routes);
      waiting_ += clients_[i].wanted > 0;
    }
  }

  /// Brings every session up, then lets all clients tell their routes at once. Returns the seconds from that moment until
  /// all have all; negative if they never had.
  double run() {
    // One by one: bird's accept queue holds eight, and a SYN that is dropped there costs a second that says nothing.
    for (uint32_t i = 0; i < load_.clients; ++i) {
      dial(i);
      if (!work_until([&] { return clients_[i].established; })) return -1;
    }
    const auto start = Clock::now();
    for (uint32_t i = 0; i < load_.clients; ++i) {
      clients_[i].out = std::move(updates_[i]);
      clients_[i].sent = 0;
      turn(i);
    }
    return work_until([&] { return waiting_ == 0; }) ? seconds_since(start) : -1;
  }
  /// Routes told more than once, or to the client that they come from.
  size_t again() const {
    size_t sum = 0;
    for (const Client& client : clients_) sum += client.again + (client.got > client.wanted ? client.got - client.wanted : 0);
    return sum;
  }

 private:
  template <class Done>
  bool work_until(Done done) {
    std::array<epoll_event, 256> events;
    for (const auto start = Clock::now(); !done();) {
      if (seconds_since(start) > kPatience) return false;
      const int count = epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), 1000);
      for (int i = 0; i < count; ++i) turn(events[static_cast<size_t>(i)].data.u32);
    }
    return true;
  }

  void dial(uint32_t number) {
    Client& client = clients_[number];
    client.fd.reset(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    sockaddr_in at = socket_address(client_address(number), 0);
    const int on = 1;
    setsockopt(client.fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (bind(client.fd.get(), reinterpret_cast<sockaddr*>(&at), sizeof at) != 0) throw_errno(errno, "bind a client");
    at = socket_address(reflector_address(), kPort);
    if (connect(client.fd.get(), reinterpret_cast<sockaddr*>(&at), sizeof at) != 0 && errno != EINPROGRESS)
      throw_errno(errno, "dial the reflector");
    Open open;
    open.asn = kAsn;
    open.hold_time = 240;
    open.id = client_address(number).v4_value();
    open.capabilities.multiprotocol[0] = open.capabilities.four_octet_as = true;
    client.out = encode(open);
    epoll_event event{.events = EPOLLIN | EPOLLOUT | EPOLLET, .data = {.u32 = number}};
    epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, client.fd.get(), &event);
  }

  void turn(uint32_t number) {
    Client& client = clients_[number];
    for (;;) {
      const size_t had = client.in.size();
      client.in.resize(had + 65536);
      const ssize_t count = recv(client.fd.get(), client.in.data() + had, 65536, 0);
      client.in.resize(had + static_cast<size_t>(std::max<ssize_t>(count, 0)));
      if (count == 0) fail(ErrorKind::bug, "the reflector closed client {}", number);
      if (count < 0) break;
      take(number);
    }
    while (client.sent < client.out.size()) {
      const ssize_t count = send(client.fd.get(), client.out.data() + client.sent, client.out.size() - client.sent, MSG_NOSIGNAL);
      if (count < 0) return;
      client.sent += static_cast<size_t>(count);
    }
  }

  void take(uint32_t number) {
    Client& client = clients_[number];
    size_t at = 0;
    while (client.in.size() - at >= kHeaderSize) {
      const size_t size = size_t{client.in[at + 16]} << 8 | client.in[at + 17];
      if (client.in.size() - at < size) break;
      hear(number, Bytes(client.in).subspan(at, size));
      at += size;
    }
    client.in.erase(client.in.begin(), client.in.begin() + static_cast<std::ptrdiff_t>(at));
  }

  void hear(uint32_t number, Bytes message) {
    Client& client = clients_[number];
    const auto add = [&](const std::vector<uint8_t>& bytes) { client.out.insert(client.out.end(), bytes.begin(), bytes.end()); };
    switch (static_cast<MessageType>(message[kHeaderSize - 1])) {
      case MessageType::open: add(encode(Keepalive{})); break;
      case MessageType::keepalive: client.established = true; break;
      case MessageType::notification: fail(ErrorKind::bug, "the reflector refused client {}", number);
      case MessageType::update: {
        routes_of(message, [&](uint32_t route) {
          if (route >= client.has.size() || client.has[route]) {
            ++client.again;
            return;
          }
          client.has[route] = true;
          waiting_ -= ++client.got == client.wanted;
        });
        break;
      }
      case MessageType::route_refresh: break;
    }
  }

  Load load_;
  Fd epoll_;
  std::vector<Client> clients_;
  std::vector<std::vector<uint8_t>> updates_;
  size_t waiting_ = 0;
};

// --- runs

void wait_until_listening() {
  for (int i = 0; i < 1000; ++i) {
    const Fd probe(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in at = socket_address(reflector_address(), kPort);
    if (connect(probe.get(), reinterpret_cast<sockaddr*>(&at), sizeof at) == 0) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  fail(ErrorKind::kernel, "the reflector does not listen");
}

Figures measure(const Load& load, const std::vector<std::string>& words) {
  const Reflector reflector(words);
  wait_until_listening();
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  Figures figures;
  Clients clients(load);
  const double before = reflector.cpu();
  figures.wall = clients.run();
  figures.cpu = reflector.cpu() - before;
  figures.rss = reflector.memory("VmRSS:");
  figures.anonymous = reflector.memory("RssAnon:");
  figures.again = clients.again();
  return figures;
}

void print(const char* who, const Load& load, const Figures& figures) {
  const auto megabytes = [](long kilobytes) { return static_cast<double>(kilobytes) / 1024; };
  std::printf("%-20s %-5s %7.3f s  %6.2f s CPU  %6.1f MB (%.1f anonymous)", load.name, who, figures.wall, figures.cpu,
              megabytes(figures.rss), megabytes(figures.anonymous));
  if (figures.wall < 0) std::printf("  not all routes arrived in %.0f s", kPatience);
  if (figures.again > 0) std::printf("  %zu routes told needlessly", figures.again);
  std::printf("\n");
  std::fflush(stdout);
}

void own_network() {
  if (unshare(CLONE_NEWNET) != 0) throw_errno(errno, "make a network namespace (root is needed)");
  const char* steps =
      "ip link set lo up && ip link add d0 type veth peer name d1 && ip link set d1 up && ip addr add 10.98.255.1/16 dev d0 && "
      "ip link set d0 up && ip route add local 10.98.0.0/17 dev lo";
  if (std::system(steps) != 0) fail(ErrorKind::kernel, "the namespace's addresses can't be set");
}

int bench(bool with_bird) {
  own_network();
  static constexpr Load kLoads[] = {{"20 clients x 1,000", 20, 1'000, 20, 1},
                                    {"100 clients x 500", 100, 500, 100, 1},
                                    {"200 clients x 500", 200, 500, 200, 1},
                                    {"1 session x 100,000", 2, 100'000, 1, 100},
                                    {"10 clients x 1,000", 10, 1'000, 10, 1}};
  const bool bird = with_bird && std::system("command -v bird >/dev/null 2>&1") == 0;
  if (!bird) std::printf("bird is not installed or not wanted: no ratios\n");
  char directory[] = "/tmp/knet-bench-XXXXXX";
  if (mkdtemp(directory) == nullptr) throw_errno(errno, "make {}", directory);
  const Undo clear([&] {
    std::error_code ignored;
    std::filesystem::remove_all(directory, ignored);
  });
  bool right = true;
  for (const Load& load : kLoads) {
    const Figures ours = measure(load, {"bgp-reflector", "speaker", std::to_string(load.clients)});
    print("knet", load, ours);
    right = right && ours.wall >= 0 && ours.again == 0;
    if (!bird) continue;
    const std::string config = fmt::format("{}/bird.conf", directory);
    write_file(config, bird_config(load.clients));
    const Figures theirs = measure(load, {"bird", "-f", "-c", config, "-s", fmt::format("{}/bird.ctl", directory)});
    print("bird", load, theirs);
    std::printf("%-20s       wall 1/%.1f, CPU 1/%.1f, memory 1/%.1f\n", "", theirs.wall / ours.wall,
                theirs.cpu / std::max(ours.cpu, 0.01), static_cast<double>(theirs.rss) / static_cast<double>(ours.rss));
    std::fflush(stdout);
  }
  return right ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc == 3 && std::string_view(argv[1]) == "speaker") run_speaker(static_cast<uint32_t>(std::atoi(argv[2])));
    return bench(argc < 2 || std::string_view(argv[1]) != "alone");
  } catch (const Error& error) {
    std::fprintf(stderr, "bgp-reflector: %s\n", error.what());
    return 1;
  }
}
