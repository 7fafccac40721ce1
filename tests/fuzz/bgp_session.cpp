// A BGP session under any order of events: connections come and go, bytes of the peer arrive in pieces, timers run late
// or never. Its promises to the speaker hold: what is sent goes to open connections and is whole messages, Up and Down
// alternate, routes come only in between and of agreed families, at most two connections are held, timers lie ahead.
// Input: a byte of configuration, then operations: a byte (low 3 bits: which; high bits: connection or amount), and for
// bytes of the peer a length and the bytes; a length of 0 stands for a proper message of the kind in the next byte.
#include <algorithm>
#include <map>

#include "bgp/session.h"
#include "tests/fuzz/fuzz_target.h"

using namespace knet;
using namespace knet::bgp;

namespace {

SessionConfig config_of(uint8_t bits) {
  SessionConfig config;
  config.local_as = bits & 1 ? 65001 : 65002;
  config.local_id = bits & 2 ? 3 : 1;
  config.remote_as = bits & 4 ? 0 : 65002;
  config.families[1] = (bits & 8) != 0;
  config.extended_next_hop = (bits & 8) != 0;
  config.passive = (bits & 16) != 0;
  config.restart_time = bits & 32 ? 0 : 120;
  config.llgr_time = bits & 64 ? 3600 : 0;
  config.hold_time = bits & 128 ? 3 : 90;
  return config;
}

std::vector<uint8_t> proper(uint8_t kind) {
  if (kind & 4) return encode(Keepalive{});
  if (kind & 2) return encode_end_of_rib(kind & 1 ? Afi::v6 : Afi::v4);
  if (kind & 1) return encode(cease(kind >> 4));
  Open open;
  open.asn = 65002;
  open.id = 2;
  open.hold_time = kind & 8 ? 0 : 90;
  open.capabilities.multiprotocol[0] = open.capabilities.four_octet_as = true;
  if (kind & 16) {
    auto& restart = open.capabilities.graceful_restart.emplace();
    restart.restart_time = 60;
    restart.notification = (kind & 32) != 0;
    restart.families[0].offered = true;
  }
  return encode(open);
}

/// The speaker's side of the contract, and its eyes.
struct Speaker {
  explicit Speaker(uint8_t bits) : config(config_of(bits)), session(config, *IpAddr::parse("192.0.2.2")) {}

  SessionConfig config;
  Session session;
  Millis now = 1000;
  std::map<ConnId, bool> open;  // whether it stands
  ConnId last = 0, up = 0;
  bool dialling = false;
  Agreed agreed;

  ConnId pick(uint8_t which) const {
    if (open.empty()) return 0;
    auto at = open.begin();
    std::advance(at, which % open.size());
    return at->first;
  }
  void whole(const std::vector<uint8_t>& bytes) {
    const Message message = decode(bytes, SessionTraits{});
    fuzz::hold(!std::holds_alternative<MessageError>(message));
  }
  void look() {
    for (SessionAction& action : session.take()) {
      if (std::holds_alternative<Dial>(action)) {
        fuzz::hold(!dialling && !config.passive && up == 0);
        dialling = true;
      } else if (const auto* send = std::get_if<Send>(&action)) {
        fuzz::hold(open.contains(send->conn));
        whole(send->bytes);
      } else if (const auto* close = std::get_if<Close>(&action)) {
        fuzz::hold(open.erase(close->conn) == 1 && close->conn != up);
      } else if (const auto* now_up = std::get_if<Up>(&action)) {
        fuzz::hold(up == 0 && open.contains(now_up->conn));
        up = now_up->conn;
        agreed = now_up->agreed;
        fuzz::hold(agreed.families[0] || agreed.families[1]);
      } else if (const auto* down = std::get_if<Down>(&action)) {
        fuzz::hold(up != 0 && !down->why.empty() && down->keep == (down->families[0] || down->families[1]));
        up = 0;
      } else if (const auto* routes = std::get_if<Routes>(&action)) {
        fuzz::hold(up != 0);
        for (const auto* prefixes :
             {&routes->update.withdrawn, &routes->update.reachable, &routes->update.mp_reachable}) {
          for (const Prefix& prefix : *prefixes) fuzz::hold(agreed.families[prefix.is_v4() ? 0 : 1]);
        }
      } else if (const auto* refresh = std::get_if<Refresh>(&action)) {
        fuzz::hold(up != 0 && agreed.families[static_cast<size_t>(refresh->refresh.afi)]);
      }
    }
    fuzz::hold(open.size() <= 2);
    fuzz::hold((session.state() == SessionState::established) == (up != 0));
    fuzz::hold(session.agreed().has_value() == (up != 0));
    fuzz::hold(session.last_error().size() < 2000);
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  size_t at = 0;
  const auto next = [&]() -> uint8_t { return at < size ? data[at++] : uint8_t{0}; };
  Speaker speaker(next());
  Session& session = speaker.session;
  while (at < size) {
    const uint8_t operation = next(), more = operation >> 3;
    switch (operation & 7) {
      case 0:
        session.start(speaker.now, more & 1);
        break;
      case 1:
        if (!speaker.dialling) break;
        speaker.dialling = false;
        if (more & 1) {
          session.on_dial_failed("refused", speaker.now);
        } else {
          speaker.open[++speaker.last] = true;
          session.on_connected(speaker.last, speaker.now);
        }
        break;
      case 2: {
        const ConnId conn = ++speaker.last;
        if (session.on_accepted(conn, speaker.now)) speaker.open[conn] = true;
        break;
      }
      case 3:
      case 4: {
        const size_t length = next();
        const std::vector<uint8_t> bytes =
            length == 0 ? proper(next()) : std::vector<uint8_t>(data + at, data + std::min(size, at + length));
        if (length != 0) at = std::min(size, at + length);
        session.on_bytes(speaker.pick(more), bytes, speaker.now);
        break;
      }
      case 5: {
        const ConnId conn = speaker.pick(more);
        if (conn == 0) break;
        session.on_closed(conn, "closed", speaker.now);
        // Nothing may be done with it any more, but to hear that its session is over.
        speaker.open.erase(conn);
        break;
      }
      case 6:
        if (const auto timer = session.next_timer()) {
          speaker.now = std::max(speaker.now, *timer + (more & 1 ? 5000 : 0));
          session.on_timer(speaker.now);
          fuzz::hold(session.next_timer().value_or(speaker.now + 1) > speaker.now);
        }
        break;
      case 7:
        if (more & 1) session.on_sent(speaker.now, more & 2, more & 4);
        if ((more & 9) == 8) session.fail(speaker.now, cease(1), "too many", more & 2);
        if ((more & 9) == 0) {
          session.stop(speaker.now, more & 2 ? std::optional(cease(2, "bye")) : std::nullopt);
          fuzz::hold(session.state() == SessionState::idle && !session.next_timer());
        }
        break;
    }
    speaker.look();
  }
  return 0;
}
