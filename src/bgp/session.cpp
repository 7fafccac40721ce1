#include "bgp/session.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "bgp/message_parts.h"
#include "bgp/session_agree.h"

namespace knet::bgp {
namespace {

constexpr Millis kSecond = 1000;
constexpr Millis kLongestRetry = 15 * kSecond;
constexpr Millis kLongestIdle = 60 * kSecond;
constexpr Millis kOpenWait = 60 * kSecond;  // for their OPEN; RFC 4271 8.2.2 suggests minutes, but one that is
                                            // silent keeps a second connection of the peer away
constexpr Millis kLate = 1 * kSecond;
/// A connection that comes later than this after an established one is a peer that came back (RFC 4724 section 5),
/// not the other half of a collision.
constexpr Millis kFresh = 5 * kSecond;
constexpr Millis kStoodWell = 120 * kSecond;      // established for so long: earlier errors are forgotten
constexpr Millis kLeastSendHold = 480 * kSecond;  // RFC 9687: 8 minutes or twice the hold time, what is longer

Millis sooner(std::optional<Millis> one, Millis other) { return one ? std::min(*one, other) : other; }

}  // namespace

std::string_view to_string(SessionState state) {
  switch (state) {
    case SessionState::idle:
      return "idle";
    case SessionState::connect:
      return "connect";
    case SessionState::active:
      return "active";
    case SessionState::open_sent:
      return "open-sent";
    case SessionState::open_confirm:
      return "open-confirm";
    case SessionState::established:
      return "established";
  }
  return "";
}

Session::Session(SessionConfig config, IpAddr remote) : config_(config), remote_(remote) {}

SessionState Session::state() const { return state_; }
Millis Session::state_since() const { return state_since_; }
const std::string& Session::last_error() const { return last_error_; }
const std::optional<Agreed>& Session::agreed() const { return agreed_; }
const Session::Counters& Session::counters() const { return counters_; }
const SessionConfig& Session::config() const { return config_; }
std::deque<SessionAction> Session::take() { return std::exchange(actions_, {}); }

// --- connections

Session::Conn* Session::find(ConnId id) {
  const auto at = std::find_if(conns_.begin(), conns_.end(), [&](const Conn& conn) { return conn.id == id; });
  return at == conns_.end() ? nullptr : &*at;
}

Session::Conn* Session::other_than(ConnId id) {
  const auto at = std::find_if(conns_.begin(), conns_.end(), [&](const Conn& conn) { return conn.id != id; });
  return at == conns_.end() ? nullptr : &*at;
}

Session::Conn* Session::in_state(SessionState state) {
  const auto at = std::find_if(conns_.begin(), conns_.end(), [&](const Conn& conn) { return conn.state == state; });
  return at == conns_.end() ? nullptr : &*at;
}

Session::Conn* Session::established() { return in_state(SessionState::established); }

/// RFC 4271 6.8: of two the one stays that was dialled by the greater identifier; RFC 6286: or else by the greater AS.
bool Session::wins(const Conn& conn, const Open& theirs) const {
  const bool ours = config_.local_id != theirs.id ? config_.local_id > theirs.id : config_.local_as > theirs.asn;
  return conn.outgoing == ours;
}

void Session::send(Conn& conn, std::vector<uint8_t> bytes) {
  ++counters_.messages_out;
  actions_.push_back(Send{conn.id, std::move(bytes)});
}

void Session::send(Conn& conn, const Notification& notification) { send(conn, encode(notification)); }

void Session::add(ConnId id, bool outgoing, Millis now) {
  Conn& conn = conns_.emplace_back();
  conn.id = id;
  conn.outgoing = outgoing;
  conn.hold_at = now + kOpenWait;
  send(conn, encode(open_of(config_, restarting_, forwarding_kept_)));
  enter();
}

void Session::close(ConnId id, Millis now) {
  actions_.push_back(Close{id});
  remove(id, now);
}

void Session::remove(ConnId id, Millis now) {
  std::erase_if(conns_, [&](const Conn& conn) { return conn.id == id; });
  if (conns_.size() == 1 && conns_.front().confirmed) {
    establish(conns_.front(), now);
  } else {
    carry_on(now);
  }
}

/// Tells that the established session is over; its connection is the caller's to remove.
void Session::lose(const Conn& conn, std::string_view why, bool keep) {
  if (conn.state != SessionState::established) return;
  Down down{.why = std::string(why)};
  const auto& restart = conn.agreed.open.capabilities.graceful_restart;
  if (keep && restart && config_.restart_time > 0) {
    for (size_t i = 0; i < kAfis; ++i) {
      const auto& family = restart->families[i];
      if (!conn.agreed.families[i]) continue;
      down.llgr_time[i] = family.llgr_time;
      down.families[i] = (family.offered && restart->restart_time > 0) || family.llgr_time > 0;
      down.keep = down.keep || down.families[i];
    }
    if (down.keep) down.restart_time = restart->restart_time;
  }
  if (now_ - state_since_ >= kStoodWell) errors_ = 0;
  tries_ = 0;
  agreed_.reset();
  send_hold_at_.reset();
  actions_.push_back(std::move(down));
}

/// The answer to an error: NOTIFICATION, and the connection's end. With no other connection, a while in idle.
void Session::refuse(Conn& conn, const Notification& notification, std::string why, Millis now, bool keep) {
  const ConnId id = conn.id;
  send(conn, notification);
  lose(conn, why, keep);
  last_error_ = std::move(why);
  if (conns_.size() == 1) hold_idle(now);
  close(id, now);
}

// --- waiting

Millis Session::jittered(Millis delay, uint32_t round) const {
  uint64_t hash = 0xcbf29ce484222325 ^ config_.local_id;  // FNV-1a
  for (size_t i = 0; i < remote_.size(); ++i) hash = (hash ^ remote_.data()[i]) * 0x100000001b3;
  hash = (hash ^ round) * 0x100000001b3;
  return delay * static_cast<Millis>(750 + (hash >> 33) % 251) / 1000;  // RFC 4271 section 10
}

void Session::hold_idle(Millis now) {
  const Millis delay = std::min(kLongestIdle, kSecond << std::min(errors_, 6u));
  idle_until_ = now + jittered(delay, errors_++);
}

void Session::dial(Millis now) {
  retry_at_.reset();
  now_ = now;
  if (!wants_dial()) return;
  dialling_ = true;
  ++tries_;
  actions_.push_back(Dial{});
}

/// Also beside a connection of theirs that has said nothing yet: it may never do.
bool Session::wants_dial() const {
  if (!started_ || idle_until_ || dialling_ || config_.passive) return false;
  return std::none_of(conns_.begin(), conns_.end(),
                      [](const Conn& conn) { return conn.outgoing || conn.state != SessionState::open_sent; });
}

/// What comes next by itself.
void Session::carry_on(Millis now) {
  if (wants_dial() && !retry_at_) {
    const Millis delay = std::min(kLongestRetry, kSecond << std::min(tries_ > 0 ? tries_ - 1 : 0, 4u));
    retry_at_ = now + jittered(delay, tries_);
  }
  enter();
}

void Session::enter() {
  SessionState state = SessionState::active;
  if (!conns_.empty()) {
    for (const Conn& conn : conns_) state = std::max(state, conn.state);
  } else if (!started_ || idle_until_) {
    state = SessionState::idle;
  } else if (dialling_) {
    state = SessionState::connect;
  }
  if (state == state_) return;
  state_ = state;
  state_since_ = now_;
}

// --- what the caller says

void Session::start(Millis now, bool restarting) {
  now_ = now;
  set_restarting(restarting);
  forwarding_kept_ = forwarding_kept_ || restarting;
  idle_until_.reset();
  tries_ = errors_ = 0;
  started_ = true;
  dial(now);
  enter();
}

void Session::set_restarting(bool restarting) { restarting_ = restarting; }

void Session::stop(Millis now, const std::optional<Notification>& notification) {
  end_all(now, notification, notification ? "stopped here: " + describe(*notification) : "stopped here");
}

void Session::fail(Millis now, const Notification& notification, std::string why, bool retry) {
  if (!started_) return;
  end_all(now, notification, why);
  last_error_ = std::move(why);
  started_ = retry;
  if (retry) hold_idle(now);
}

void Session::end_all(Millis now, const std::optional<Notification>& notification, std::string_view why) {
  now_ = now;
  started_ = false;
  retry_at_.reset();
  idle_until_.reset();
  for (Conn& conn : conns_) {
    // What a peer that keeps routes past a NOTIFICATION shall not survive has to be said so.
    const bool hard = conn.state == SessionState::established && both_keep_by_notification(config_, conn.agreed);
    if (notification) send(conn, hard ? as_hard_reset(*notification) : *notification);
    lose(conn, why, false);
    actions_.push_back(Close{conn.id});
  }
  conns_.clear();
  enter();
}

void Session::on_connected(ConnId conn, Millis now) {
  now_ = now;
  dialling_ = false;
  const bool wanted = started_ && !idle_until_ && !established() && !in_state(SessionState::open_confirm);
  if (wanted) return add(conn, true, now);
  // No OPEN went out on it: what is further on has not met a collision.
  actions_.push_back(Close{conn});
  carry_on(now);
}

void Session::on_dial_failed(std::string_view why, Millis now) {
  now_ = now;
  dialling_ = false;
  if (started_ && conns_.empty() && !idle_until_) last_error_ = why;
  carry_on(now);
}

bool Session::restarts(const Agreed& agreed) const {
  const auto& restart = agreed.open.capabilities.graceful_restart;
  if (!restart || config_.restart_time == 0) return false;
  for (size_t i = 0; i < kAfis; ++i) {
    if (agreed.families[i] && (restart->families[i].offered || restart->families[i].llgr_time > 0)) return true;
  }
  return false;
}

bool Session::on_accepted(ConnId conn, Millis now) {
  now_ = now;
  if (!started_ || idle_until_) return false;
  for (const Conn& other : conns_) {
    const bool old = other.state == SessionState::established && restarts(other.agreed) && now - state_since_ >= kFresh;
    const bool new_too = other.state == SessionState::open_sent && other.outgoing;
    if (!old && !new_too) return false;
  }
  add(conn, false, now);
  return true;
}

void Session::on_closed(ConnId id, std::string_view why, Millis now) {
  now_ = now;
  Conn* conn = find(id);
  if (conn == nullptr) return;
  const bool alone = conns_.size() == 1;
  lose(*conn, why, true);
  if (conn->state == SessionState::established) {
    last_error_ = why;
  } else if (alone) {
    last_error_ = conn->state == SessionState::open_sent
                      ? fmt::format("closed before their OPEN: {} (do they know us as a peer?)", why)
                      : fmt::format("closed before it was established: {}", why);
  }
  remove(id, now);
}

void Session::on_sent(Millis now, bool waiting, bool moved) {
  now_ = now;
  Conn* conn = established();
  if (conn == nullptr) return;
  if (moved || !waiting) send_hold_at_.reset();
  if (waiting && !send_hold_at_) send_hold_at_ = now + std::max(kLeastSendHold, conn->agreed.hold_time * 2 * kSecond);
  if (moved && conn->keepalive_at) conn->keepalive_at = now + conn->agreed.hold_time * kSecond / 3;
}

// --- time

std::optional<Millis> Session::next_timer() const {
  std::optional<Millis> next;
  const auto take = [&](const std::optional<Millis>& at) {
    if (at) next = sooner(next, *at);
  };
  take(retry_at_);
  take(idle_until_);
  take(send_hold_at_);
  for (const Conn& conn : conns_) {
    take(conn.hold_at);
    take(conn.keepalive_at);
    take(conn.settle_at);
  }
  return next;
}

void Session::on_timer(Millis now) {
  now_ = now;
  const auto due = [&](const std::optional<Millis>& at) { return at && *at <= now; };
  if (due(idle_until_)) {
    idle_until_.reset();
    tries_ = 0;
    dial(now);
  }
  if (due(retry_at_)) dial(now);
  if (due(send_hold_at_)) {
    send_hold_at_.reset();
    if (Conn* conn = established()) {
      refuse(*conn, {static_cast<uint8_t>(ErrorCode::send_hold), 0, {}}, "send hold timer expired: they read nothing",
             now);
    }
  }
  std::vector<ConnId> ids;
  for (const Conn& conn : conns_) ids.push_back(conn.id);
  for (const ConnId id : ids) {
    Conn* conn = find(id);
    // If it was us who stood still, what they said meanwhile is still to be read.
    if (conn != nullptr && due(conn->hold_at) && now - *conn->hold_at > kLate) conn->hold_at = now + kLate;
    if (conn != nullptr && due(conn->hold_at)) {
      const bool open = conn->state == SessionState::open_sent;
      refuse(*conn, {static_cast<uint8_t>(ErrorCode::hold_timer), 0, {}},
             open ? fmt::format("no OPEN in {} s", kOpenWait / kSecond)
                  : fmt::format("hold timer expired: nothing heard for {} s", conn->agreed.hold_time),
             now, both_keep_by_notification(config_, conn->agreed));
      continue;
    }
    if (conn != nullptr && due(conn->keepalive_at)) {
      conn->keepalive_at = now + conn->agreed.hold_time * kSecond / 3;
      send(*conn, encode(Keepalive{}));
    }
    if (conn != nullptr && due(conn->settle_at)) establish(*conn, now);
  }
  enter();
}

}  // namespace knet::bgp
