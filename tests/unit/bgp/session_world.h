// Sessions without sockets: two of them on wires of a world that delivers in any order, and one alone whose peer is the
// test itself. The clock is the test's.
#pragma once

#include <catch2/catch.hpp>

#include <deque>
#include <functional>
#include <list>
#include <string>
#include <vector>

#include "bgp/session.h"
#include "tests/unit/bgp/wire_bytes.h"

namespace knet::bgp::test {

inline SessionConfig config_of(Asn local_as, RouterId id, Asn remote_as) {
  SessionConfig config;
  config.local_as = local_as;
  config.local_id = id;
  config.remote_as = remote_as;
  return config;
}

inline Octets keepalive() { return encode(Keepalive{}); }
inline Octets v4_update() {
  // 10.1.0.0/16 by 192.0.2.2, AS_PATH empty, LOCAL_PREF 100
  return update("", "40010100 400200 400304c0000202 40050400000064", "100a01");
}

/// Two speakers, 192.0.2.1 and 192.0.2.2, and all connections between them.
class Wires {
 public:
  struct Side {
    Session session;
    std::vector<Up> ups;
    std::vector<Down> downs;
    std::vector<Update> routes;
    std::vector<RouteRefresh> refreshes;
    bool listens = true, reachable = true;
    ConnId up = 0;  // the connection that is established, 0: none
  };
  /// Which of so many possible events comes next.
  using Choose = std::function<size_t(size_t)>;

  Wires(
      SessionConfig one, SessionConfig two, Choose choose = [](size_t) { return size_t{0}; })
      : sides{{Session(one, *IpAddr::parse("192.0.2.2")), {}, {}, {}, {}},
              {Session(two, *IpAddr::parse("192.0.2.1")), {}, {}, {}, {}}},
        choose_(std::move(choose)) {}

  Side sides[2];
  Millis now = 1'000'000;

  void start(bool restarting = false) {
    for (int side : {0, 1}) sides[side].session.start(now, restarting);
    for (int side : {0, 1}) pump(side);
  }
  void pump(int side) {
    Side& own = sides[side];
    for (auto actions = own.session.take(); !actions.empty(); actions = own.session.take()) {
      for (SessionAction& action : actions) carry_out(side, action);
    }
  }
  /// One event, if there is one.
  bool step() {
    std::vector<std::function<void()>> events;
    for (Link& link : links_) {
      for (int side : {0, 1}) offer(link, side, events);
    }
    if (events.empty()) return false;
    const size_t which = choose_(events.size());
    events[which]();
    for (int side : {0, 1}) pump(side);
    return true;
  }
  void quiet() {
    int limit = 10'000;
    while (step()) REQUIRE(--limit > 0);
  }
  void advance(Millis time) {
    const Millis until = now + time;
    for (quiet();; quiet()) {
      Millis next = until;
      for (Side& side : sides) next = std::min(next, side.session.next_timer().value_or(until));
      const bool due = next < until || std::any_of(std::begin(sides), std::end(sides), [&](Side& side) {
                         return side.session.next_timer().value_or(until + 1) <= until;
                       });
      now = std::max(now, next);
      if (!due) return;
      for (int side : {0, 1}) {
        if (sides[side].session.next_timer().value_or(now + 1) <= now) sides[side].session.on_timer(now);
        REQUIRE(sides[side].session.next_timer().value_or(now + 1) > now);
        pump(side);
      }
    }
  }
  bool both_up() const {
    return sides[0].up != 0 && sides[0].up == sides[1].up && sides[0].session.state() == SessionState::established &&
           sides[1].session.state() == SessionState::established;
  }
  size_t open_ends() const {
    size_t count = 0;
    for (const Link& link : links_) count += link.ends[0].open + link.ends[1].open;
    return count;
  }
  /// Nothing passes any more, and nobody is told: cable pulled.
  void cut() {
    for (Link& link : links_) link.cut = true;
  }
  /// One side's kernel closes everything: its process was killed.
  void kill(int side, SessionConfig config) {
    for (Link& link : links_) {
      if (link.ends[side].open || link.ends[side].pending) leave(link, side);
    }
    sides[side].session = Session(config, *IpAddr::parse(side == 0 ? "192.0.2.2" : "192.0.2.1"));
    sides[side].up = 0;
  }

 private:
  struct End {
    bool pending = true, open = false, peer_closed = false;
    std::deque<Octets> in;
  };
  struct Link {
    ConnId id;
    int dialler;
    End ends[2];
    bool cut = false;
  };

  void leave(Link& link, int side) {
    link.ends[side].open = link.ends[side].pending = false;
    link.ends[side].in.clear();
    link.ends[1 - side].peer_closed = true;
  }
  void carry_out(int side, SessionAction& action) {
    Side& own = sides[side];
    const auto link_of = [&](ConnId id) -> Link& {
      for (Link& link : links_) {
        if (link.id == id) return link;
      }
      throw std::runtime_error("no such connection");
    };
    if (std::holds_alternative<Dial>(action)) {
      if (!sides[1 - side].listens) return own.session.on_dial_failed("refused", now);
      links_.push_back({++last_id_, side, {}, false});
    } else if (auto* sent = std::get_if<Send>(&action)) {
      Link& link = link_of(sent->conn);
      REQUIRE(link.ends[side].open);
      End& theirs = link.ends[1 - side];
      if (theirs.open || theirs.pending) theirs.in.push_back(std::move(sent->bytes));
    } else if (const auto* close = std::get_if<Close>(&action)) {
      leave(link_of(close->conn), side);
    } else if (auto* up = std::get_if<Up>(&action)) {
      REQUIRE(own.up == 0);
      own.up = up->conn;
      own.ups.push_back(*up);
    } else if (auto* down = std::get_if<Down>(&action)) {
      REQUIRE(own.up != 0);
      REQUIRE(!down->why.empty());
      own.up = 0;
      own.downs.push_back(*down);
    } else if (auto* routes = std::get_if<Routes>(&action)) {
      REQUIRE(own.up != 0);
      own.routes.push_back(std::move(routes->update));
    } else if (auto* refresh = std::get_if<Refresh>(&action)) {
      own.refreshes.push_back(refresh->refresh);
    }
  }
  void offer(Link& link, int side, std::vector<std::function<void()>>& events) {
    End& end = link.ends[side];
    if (link.cut) return;
    if (end.pending) {
      events.push_back([this, &link, &end, side] {
        end.pending = false;
        end.open = true;
        Session& session = sides[side].session;
        if (link.dialler == side) {
          session.on_connected(link.id, now);
        } else if (!session.on_accepted(link.id, now)) {
          leave(link, side);
        }
      });
    } else if (end.open && !end.in.empty()) {
      events.push_back([this, &link, &end, side] {
        const Octets bytes = std::move(end.in.front());
        end.in.pop_front();
        sides[side].session.on_bytes(link.id, bytes, now);
      });
    } else if (end.open && end.peer_closed) {
      events.push_back([this, &link, &end, side] {
        end.open = false;
        link.ends[1 - side].peer_closed = true;
        sides[side].session.on_closed(link.id, "connection closed by the peer", now);
      });
    }
  }

  Choose choose_;
  std::list<Link> links_;
  ConnId last_id_ = 0;
};

/// One session; the test says what its peer, 192.0.2.2 of AS 65002 with this identifier, does.
class Solo {
 public:
  explicit Solo(SessionConfig config = config_of(65001, 1, 65002), bool start = true)
      : session(config, *IpAddr::parse("192.0.2.2")) {
    theirs.asn = 65002;
    theirs.id = 2;
    theirs.hold_time = 90;
    theirs.capabilities.multiprotocol[0] = true;
    theirs.capabilities.four_octet_as = theirs.capabilities.route_refresh = true;
    theirs.capabilities.enhanced_refresh = true;
    if (start) session.start(now, false);
    look();
  }
  Session session;
  Open theirs;
  Millis now = 5'000'000;

  // All since the last look().
  std::vector<Message> sent;
  std::vector<ConnId> sent_on, closed;
  std::vector<Up> ups;
  std::vector<Down> downs;
  std::vector<Update> routes;
  std::vector<RouteRefresh> refreshes;
  int dials = 0;

  void look() {
    sent.clear(), sent_on.clear(), closed.clear(), ups.clear(), downs.clear(), routes.clear(), refreshes.clear();
    dials = 0;
    for (SessionAction& action : session.take()) {
      if (std::holds_alternative<Dial>(action)) ++dials;
      if (auto* send = std::get_if<Send>(&action)) {
        for (Message& message : decode_all(send->bytes, SessionTraits{})) {
          sent.push_back(std::move(message));
          sent_on.push_back(send->conn);
        }
      }
      if (auto* close = std::get_if<Close>(&action)) closed.push_back(close->conn);
      if (auto* up = std::get_if<Up>(&action)) ups.push_back(*up);
      if (auto* down = std::get_if<Down>(&action)) downs.push_back(*down);
      if (auto* update = std::get_if<Routes>(&action)) routes.push_back(update->update);
      if (auto* refresh = std::get_if<Refresh>(&action)) refreshes.push_back(refresh->refresh);
    }
  }
  void feed(const Octets& bytes, ConnId conn = 1) {
    session.on_bytes(conn, bytes, now);
    look();
  }
  void connect(ConnId conn = 1) {
    session.on_connected(conn, now);
    look();
  }
  bool accept(ConnId conn) {
    const bool taken = session.on_accepted(conn, now);
    look();
    return taken;
  }
  void establish(ConnId conn = 1) {
    connect(conn);
    feed(encode(theirs), conn);
    feed(keepalive(), conn);
    REQUIRE(session.state() == SessionState::established);
    REQUIRE(ups.size() == 1);
  }
  /// To the next timer; how long that took.
  Millis wait() {
    const auto next = session.next_timer();
    REQUIRE(next.has_value());
    const Millis took = *next - now;
    now = *next;
    session.on_timer(now);
    look();
    return took;
  }
  void wait_until(Millis time) {
    while (session.next_timer() && *session.next_timer() <= time) {
      const Millis before = *session.next_timer();
      wait();
      REQUIRE(session.next_timer().value_or(before + 1) > before);
    }
    now = time;
  }
  /// The one NOTIFICATION among what was sent.
  Notification notification() const {
    std::vector<Notification> found;
    for (const Message& message : sent) {
      if (const auto* one = std::get_if<Notification>(&message)) found.push_back(*one);
    }
    REQUIRE(found.size() == 1);
    return found.front();
  }
};

}  // namespace knet::bgp::test
