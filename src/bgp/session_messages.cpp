// What the peer's messages do to a session: the stream cut into messages, and each of them by its state.
#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "bgp/message_parts.h"
#include "bgp/session.h"
#include "bgp/session_agree.h"

namespace knet::bgp {
namespace {

constexpr Millis kSecond = 1000;
constexpr Millis kSettle = 3 * kSecond;  // that a connection waits for another one which would win
constexpr uint8_t kCollision = 7;        // subcode of cease (RFC 4486)

/// A connection that was only one too many: no error.
bool is_collision(const Notification& notification) {
  return notification.code == static_cast<uint8_t>(ErrorCode::cease) && notification.subcode == kCollision;
}

}  // namespace

void Session::on_bytes(ConnId id, Bytes bytes, Millis now) {
  now_ = now;
  Conn* conn = find(id);
  while (conn != nullptr && !bytes.empty()) {
    std::vector<uint8_t>& tail = conn->tail;
    const size_t had = tail.size();
    // Whole messages are read where they are; only what is cut is put together here.
    if (had > 0) {
      const size_t head = std::min(bytes.size(), had < kHeaderSize ? kHeaderSize - had : 0);
      tail.insert(tail.end(), bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(head));
      bytes = bytes.subspan(head);
    }
    const auto length = message_length(had > 0 ? Bytes(tail) : bytes);
    if (const auto* wrong = std::get_if<MessageError>(&length)) {
      return refuse(*conn, wrong->notification, wrong->why, now);
    }
    const size_t told = std::get<size_t>(length);
    if (had == 0 && (told == 0 || told > bytes.size())) {
      tail.assign(bytes.begin(), bytes.end());
      return;
    }
    if (had == 0) {
      on_whole(id, bytes.first(told), now);
      bytes = bytes.subspan(told);
    } else {
      if (told == 0) return;
      const size_t rest = std::min(bytes.size(), told - tail.size());
      tail.insert(tail.end(), bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(rest));
      bytes = bytes.subspan(rest);
      if (tail.size() < told) return;
      const std::vector<uint8_t> whole = std::exchange(tail, {});
      on_whole(id, whole, now);
    }
    conn = find(id);
  }
}

void Session::on_whole(ConnId id, Bytes bytes, Millis now) {
  Conn& conn = *find(id);
  ++counters_.messages_in;
  Message message = decode(bytes, conn.agreed.traits);
  const auto type = static_cast<MessageType>(bytes[kHeaderSize - 1]);
  const bool early = conn.state == SessionState::open_sent;
  if (auto* wrong = std::get_if<MessageError>(&message)) {
    // What is wrong with a message counts only where the message may come at all.
    const bool body = wrong->notification.code != static_cast<uint8_t>(ErrorCode::header);
    const bool ready = conn.state == SessionState::established || conn.confirmed;
    if (body && (type == MessageType::open ? !early : !ready)) return unexpected(conn, bytes[kHeaderSize - 1], now);
    return refuse(conn, wrong->notification, std::move(wrong->why), now);
  }
  if (const auto* told = std::get_if<Notification>(&message)) return on_notification(conn, *told, now);
  if (const auto* open = std::get_if<Open>(&message); open != nullptr && early) return on_open(conn, *open, now);
  if (type == MessageType::open || early) return unexpected(conn, bytes[kHeaderSize - 1], now);
  if (type == MessageType::keepalive) return on_keepalive(conn, now);
  // They have it established, so it is the one that stays, whatever the other connection would come to.
  if (conn.state == SessionState::open_confirm && conn.confirmed) establish(conn, now);
  Conn* stays = find(id);
  if (stays == nullptr) return;
  if (stays->state != SessionState::established) return unexpected(*stays, bytes[kHeaderSize - 1], now);
  heard(*stays, now);
  if (auto* update = std::get_if<Update>(&message)) on_update(*stays, std::move(*update));
  if (const auto* refresh = std::get_if<RouteRefresh>(&message)) on_refresh(*stays, *refresh);
}

void Session::heard(Conn& conn, Millis now) {
  if (conn.hold_at) conn.hold_at = now + conn.agreed.hold_time * kSecond;
}

/// RFC 6608: which state it was, and the type of what came.
void Session::unexpected(Conn& conn, uint8_t type, Millis now) {
  static constexpr std::string_view kNames[] = {"", "OPEN", "UPDATE", "NOTIFICATION", "KEEPALIVE", "ROUTE-REFRESH"};
  const auto subcode =
      static_cast<uint8_t>(static_cast<int>(conn.state) - static_cast<int>(SessionState::open_sent) + 1);
  refuse(conn, {static_cast<uint8_t>(ErrorCode::state), subcode, {type}},
         fmt::format("unexpected {} in {}", kNames[std::min<size_t>(type, 5)], to_string(conn.state)), now);
}

void Session::on_open(Conn& conn, const Open& open, Millis now) {
  const ConnId id = conn.id;
  auto answer = agree(config_, open, conn.outgoing);
  if (auto* wrong = std::get_if<MessageError>(&answer)) {
    return refuse(conn, wrong->notification, std::move(wrong->why), now);
  }
  if (Conn* other = other_than(id); other != nullptr) {
    if (other->state == SessionState::established) {
      // RFC 4724 section 5: the peer came back before its end was seen; the old connection is not told.
      lose(*other, "the peer came back", true);
      actions_.push_back(Close{other->id});
      std::erase_if(conns_, [&](const Conn& old) { return old.id != id; });
    } else if (other->state == SessionState::open_confirm) {
      Conn& loser = wins(conn, open) ? *other : conn;
      const ConnId gone = loser.id;
      send(loser, cease(kCollision));
      close(gone, now);
      if (gone == id) return;
    }
  }
  Conn& stays = *find(id);
  stays.agreed = std::get<Agreed>(std::move(answer));
  stays.state = SessionState::open_confirm;
  stays.hold_at.reset();
  if (stays.agreed.hold_time > 0) {
    stays.hold_at = now + stays.agreed.hold_time * kSecond;
    stays.keepalive_at = now + stays.agreed.hold_time * kSecond / 3;
  }
  send(stays, encode(Keepalive{}));
  enter();
}

void Session::on_keepalive(Conn& conn, Millis now) {
  heard(conn, now);
  if (conn.state != SessionState::open_confirm || conn.confirmed) return;
  conn.confirmed = true;
  // Were it established at once, both sides could end the one that the other has kept.
  const Conn* other = other_than(conn.id);
  if (other != nullptr && wins(*other, conn.agreed.open)) {
    conn.settle_at = now + kSettle;
  } else {
    establish(conn, now);
  }
}

void Session::establish(Conn& conn, Millis now) {
  const ConnId id = conn.id;
  conn.state = SessionState::established;
  conn.confirmed = false;
  conn.settle_at.reset();
  while (Conn* other = other_than(id)) {
    send(*other, cease(kCollision));
    close(other->id, now);
  }
  Conn& stays = *find(id);
  forwarding_kept_ = true;
  tries_ = 0;
  retry_at_.reset();
  send_hold_at_.reset();
  last_error_.clear();
  ++counters_.established;
  agreed_ = stays.agreed;
  actions_.push_back(Up{id, stays.agreed});
  enter();
}

void Session::on_update(Conn& conn, Update update) {
  ++counters_.updates_in;
  if (!update.treat_as_withdraw.empty()) ++counters_.treated_as_withdraw;
  if (keep_agreed(conn.agreed, update)) actions_.push_back(Routes{std::move(update)});
}

void Session::on_refresh(Conn& conn, const RouteRefresh& refresh) {
  if (!conn.agreed.families[static_cast<size_t>(refresh.afi)]) return;
  if (refresh.kind != RouteRefresh::Kind::request && !conn.agreed.enhanced_refresh) return;
  actions_.push_back(Refresh{refresh});
}

void Session::on_notification(Conn& conn, const Notification& notification, Millis now) {
  const ConnId id = conn.id;
  const bool alone = conns_.size() == 1;
  const bool keep = both_keep_by_notification(config_, conn.agreed) && !is_hard_reset(notification);
  const std::string why = "they say: " + describe(notification);
  const bool was_established = conn.state == SessionState::established;
  lose(conn, why, keep);
  if (was_established || alone) last_error_ = why;
  if (alone && !is_collision(notification)) hold_idle(now);
  close(id, now);
}

}  // namespace knet::bgp
