// One neighbour's session as a pure state machine (RFC 4271 section 8): up to two connections while it is not decided
// which stays (6.8), OPEN and what was agreed, hold, keepalive, connect-retry and send-hold timers, graceful restart as
// far as the session knows it (RFC 4724, RFC 8538, RFC 9494), and the answer to every malformed message. No socket,
// clock or RIB: the caller brings bytes and the time, and carries out the actions. One thread; never throws for what a
// peer sends.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "bgp/message.h"

namespace knet::bgp {

using Millis = int64_t;   // of the caller's monotonic clock
using ConnId = uint32_t;  // a TCP connection; chosen by the caller, never used twice

struct SessionConfig {
  Asn local_as = 0;
  RouterId local_id = 0;
  Asn remote_as = 0;        // 0: any (dynamic neighbours of one prefix)
  uint16_t hold_time = 90;  // seconds, offered
  bool families[kAfis] = {true, false};
  bool extended_next_hop = false;  // RFC 8950 is offered: the session is over IPv6 and IPv4 is spoken
  bool passive = false;            // never dials
  uint16_t restart_time = 120;     // seconds that peers keep our routes for (RFC 4724); 0: not offered
  uint32_t llgr_time = 0;          // seconds (RFC 9494); 0: only understood
  bool operator==(const SessionConfig&) const = default;
};

enum class SessionState : uint8_t { idle, connect, active, open_sent, open_confirm, established };
std::string_view to_string(SessionState state);  // "open-sent"

/// What both sides agreed on.
struct Agreed {
  Open open;  // the peer's
  SessionTraits traits;
  bool families[kAfis] = {false, false};
  bool route_refresh = false, enhanced_refresh = false;
  bool long_lived = false;       // the peer understands LLGR_STALE
  bool outgoing = false;         // we dialled
  bool peer_restarting = false;  // R bit: it sends no end-of-RIB before it has ours
  uint16_t hold_time = 0;        // seconds; 0: no keepalives
  /// Families whose routes of an earlier session stay stale until end-of-RIB; the others' go at once (F bit, 4.2).
  bool kept[kAfis] = {false, false};
};

struct Dial {};  // connect to the peer; answer with on_connected or on_dial_failed, also after stop()
struct Send {
  ConnId conn;
  std::vector<uint8_t> bytes;
};
struct Close {
  ConnId conn;
};  // once what was to be sent is sent, as far as that goes without waiting
struct Up {
  ConnId conn;
  Agreed agreed;
};
/// The established session is over. keep: the peer's routes stay, stale, for `restart_time` seconds from now, and then
/// those of families with an llgr_time for that long, least preferred.
struct Down {
  std::string why;  // for people: "hold timer expired", "they say: cease, administrative reset"
  bool keep = false;
  bool families[kAfis] = {false, false};
  uint16_t restart_time = 0;
  uint32_t llgr_time[kAfis] = {0, 0};
};
/// Of the established session, in the order in which they came. Families that were not agreed on are left out already.
struct Routes {
  Update update;
};
struct Refresh {
  RouteRefresh refresh;
};
using SessionAction = std::variant<Dial, Send, Close, Up, Down, Routes, Refresh>;

class Session {
 public:
  Session(SessionConfig config, IpAddr remote);

  /// ManualStart; `restarting`: R bit in the OPENs that go out (we came back and kept forwarding).
  void start(Millis now, bool restarting);
  void set_restarting(bool restarting);  // selection is done: later OPENs go without R
  /// ManualStop: `notification` goes out on what is open (none: just closed, so that the peer keeps our routes).
  void stop(Millis now, const std::optional<Notification>& notification);
  /// The speaker's own reasons: maximum prefixes, reset by command, lost. It starts again by itself after a while
  /// (`retry` false: after start() only).
  void fail(Millis now, const Notification& notification, std::string why, bool retry = true);

  void on_connected(ConnId conn, Millis now);
  void on_dial_failed(std::string_view why, Millis now);
  /// False: not wanted now (idle, or another of this direction is there): the caller closes it.
  bool on_accepted(ConnId conn, Millis now);
  /// Any piece of the stream.
  void on_bytes(ConnId conn, Bytes bytes, Millis now);
  /// The connection is gone, by the peer or by an error; no Close follows.
  void on_closed(ConnId conn, std::string_view why, Millis now);
  /// UPDATEs of the RIB left, or a part of what waits: they stand for keepalives, and the send-hold timer (RFC 9687)
  /// begins anew. `waiting`: something is still to be sent, of whatever kind. `moved` false: the socket took nothing;
  /// that only begins the time (the longer of 8 minutes and twice the hold time) that it may take nothing.
  void on_sent(Millis now, bool waiting, bool moved = true);

  /// When on_timer() is next due; nothing: no timer runs. Connect-retry and idle-hold are jittered by the address and
  /// the number of tries, so that it is the same in every run.
  std::optional<Millis> next_timer() const;
  void on_timer(Millis now);

  /// What is to be done since the last call, in order.
  std::deque<SessionAction> take();

  SessionState state() const;
  Millis state_since() const;
  const std::string& last_error() const;  // "" if there was none; stays until it is established
  const std::optional<Agreed>& agreed() const;
  struct Counters {
    uint64_t messages_in = 0, messages_out = 0, updates_in = 0, treated_as_withdraw = 0, established = 0;
  };
  const Counters& counters() const;
  const SessionConfig& config() const;

 private:
  /// One TCP connection on its way: OPEN went out when it came.
  struct Conn {
    ConnId id = 0;
    bool outgoing = false;
    SessionState state = SessionState::open_sent;  // and on
    bool confirmed = false;                        // their KEEPALIVE came, but one that may win is still open
    Agreed agreed;                                 // from open_confirm on
    std::vector<uint8_t> tail;                     // of a message that is not whole yet
    std::optional<Millis> hold_at, keepalive_at, settle_at;
  };

  Conn* find(ConnId id);
  Conn* other_than(ConnId id);
  Conn* established();
  Conn* in_state(SessionState state);
  bool wins(const Conn& conn, const Open& theirs) const;
  bool restarts(const Agreed& agreed) const;

  void add(ConnId id, bool outgoing, Millis now);
  void send(Conn& conn, std::vector<uint8_t> bytes);
  void send(Conn& conn, const Notification& notification);
  void close(ConnId id, Millis now);
  void remove(ConnId id, Millis now);
  void lose(const Conn& conn, std::string_view why, bool keep);
  void refuse(Conn& conn, const Notification& notification, std::string why, Millis now, bool keep = false);
  void end_all(Millis now, const std::optional<Notification>& notification, std::string_view why);
  void hold_idle(Millis now);
  void carry_on(Millis now);
  bool wants_dial() const;
  void dial(Millis now);
  void enter();
  Millis jittered(Millis delay, uint32_t round) const;

  void on_whole(ConnId id, Bytes message, Millis now);
  void on_open(Conn& conn, const Open& open, Millis now);
  void on_keepalive(Conn& conn, Millis now);
  void on_update(Conn& conn, Update update);
  void on_refresh(Conn& conn, const RouteRefresh& refresh);
  void on_notification(Conn& conn, const Notification& notification, Millis now);
  void establish(Conn& conn, Millis now);
  void unexpected(Conn& conn, uint8_t type, Millis now);
  void heard(Conn& conn, Millis now);

  SessionConfig config_;
  IpAddr remote_;
  bool started_ = false, restarting_ = false, forwarding_kept_ = false;
  bool dialling_ = false;    // a Dial was not answered yet
  std::vector<Conn> conns_;  // two at most
  std::optional<Millis> retry_at_, idle_until_, send_hold_at_;
  uint32_t tries_ = 0;   // dials since it was last established
  uint32_t errors_ = 0;  // that led to idle hold, since it last stood for long
  SessionState state_ = SessionState::idle;
  Millis state_since_ = 0, now_ = 0;
  std::string last_error_;
  std::optional<Agreed> agreed_;
  Counters counters_;
  std::deque<SessionAction> actions_;
};

}  // namespace knet::bgp
