// A reflector in memory: N clients send M routes each, and all are told of all the others'; no sockets. Printed: time
// until the last has all, and the memory that it took. The reference of the same run is encoding each client's share of
// the table anew for each client, which is what a speaker without groups does.
#include <malloc.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "bgp/rib.h"

using namespace knet;
using namespace knet::bgp;

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

std::vector<Prefix> prefixes_of(uint32_t client, uint32_t routes) {
  std::vector<Prefix> out;
  for (uint32_t i = 0; i < routes; ++i) out.emplace_back(IpAddr::v4(0x0a000000 + ((client * routes + i) << 6)), 26);
  return out;
}

Attributes attributes_of(uint32_t client) {
  Attributes a;
  a.next_hop = IpAddr::v4(0xac100000 + client);
  a.local_pref = 100;
  return a;
}

/// What a peer would do, but for the kernel: reads in steps of a socket's buffer.
size_t drain(Rib& rib, PeerId id) {
  size_t bytes = 0;
  for (;;) {
    size_t got = 0;
    for (const Bytes& chunk : rib.pending(id, 256 << 10)) got += chunk.size();
    if (got == 0) return bytes;
    rib.consume(id, got);
    bytes += got;
  }
}

struct Run {
  double seconds = 0, encode = 0;
  size_t heap = 0, bytes = 0;
};

Run run(uint32_t clients, uint32_t routes) {
  Run out;
  const SessionTraits traits;
  std::vector<std::vector<uint8_t>> messages(clients);  // as they would come in
  for (uint32_t c = 0; c < clients; ++c)
    encode_reach(Afi::v4, prefixes_of(c, routes), attributes_of(c), traits, messages[c]);

  const size_t before = mallinfo2().uordblks;
  const auto start = Clock::now();
  RibSettings settings;
  settings.asn = 64512;
  settings.id = settings.cluster_id = 1;
  Rib rib(settings);
  for (uint32_t c = 0; c < clients; ++c) {
    RibPeer peer;
    peer.role = PeerRole::reflector_client;
    peer.id = 0xac100000 + c;
    peer.address = IpAddr::v4(0xac100000 + c);
    peer.local = IpAddr::v4(0xac1f0001);
    rib.add_peer(c, peer);
  }
  rib.settle();
  for (uint32_t c = 0; c < clients; ++c) {  // one reading turn per client, as an event loop has it
    Bytes left(messages[c]);
    while (!left.empty()) {
      const size_t size = std::get<size_t>(message_length(left));
      const Message message = decode(left.first(size), traits);
      rib.receive(c, std::get<Update>(message));
      left = left.subspan(size);
    }
    rib.settle();
    for (uint32_t to = 0; to < clients; ++to) out.bytes += drain(rib, to);
  }
  out.seconds = seconds_since(start);
  out.heap = mallinfo2().uordblks - before;
  for (uint32_t c = 0; c < clients; ++c) {
    if (rib.counts(c).advertised != size_t{routes} * (clients - 1) || rib.backlog(c) != 0) {
      std::fprintf(stderr, "client %u was told of %zu routes\n", c, rib.counts(c).advertised);
      std::exit(1);
    }
  }

  // The reference: the same messages made for each client by itself.
  const auto again = Clock::now();
  std::vector<uint8_t> scratch;
  std::vector<std::vector<Prefix>> shares;
  for (uint32_t c = 0; c < clients; ++c) shares.push_back(prefixes_of(c, routes));
  for (uint32_t to = 0; to < clients; ++to) {
    for (uint32_t c = 0; c < clients; ++c) {
      scratch.clear();
      if (c != to) encode_reach(Afi::v4, shares[c], attributes_of(c), traits, scratch);
    }
  }
  out.encode = seconds_since(again);
  return out;
}

}  // namespace

int main() {
  struct Load {
    uint32_t clients, routes;
  };
  for (const auto& [clients, routes] : {Load{20, 1000}, Load{100, 500}, Load{200, 500}}) {
    const Run r = run(clients, routes);
    std::printf(
        "%3u clients x %4u routes: all told in %.3f s, %.1f MB sent, %.1f MB of heap; "
        "encoding alone for each: %.3f s, ratio %.2f\n",
        clients, routes, r.seconds, static_cast<double>(r.bytes) / 1e6, static_cast<double>(r.heap) / 1e6, r.encode,
        r.seconds / r.encode);
  }
}
