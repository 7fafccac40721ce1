// The speaker's inside: connections, neighbours, and the loop that serves them. Everything but the queue of calls and
// the troubles belongs to the speaker's one thread. speaker.cpp: calls and the loop; speaker_config.cpp: what is wanted;
// speaker_peers.cpp: what sessions ask for; speaker_learned.cpp: what came of it; speaker_io.cpp: sockets;
// speaker_show.cpp: what people ask. Private to src/bgp/speaker*.cpp.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <thread>
#include <unordered_map>

#include "base/fd.h"
#include "bgp/speaker.h"
#include "bgp/tcp.h"

namespace knet::bgp {

/// Costs of next hops by the longest match; without any routes each is reachable at no cost.
class IgpTable {
 public:
  void set(const std::vector<IgpRoute>& routes);
  std::optional<uint32_t> cost(const IpAddr& next_hop) const;

 private:
  std::map<int, std::map<Prefix, uint32_t>, std::greater<>> by_length_;
};

struct Neighbor;

struct Connection {
  ConnId id = 0;
  Fd fd;
  Neighbor* neighbor = nullptr;    // null: only what is left to send, then it is closed
  bool connecting = false;
  bool goodbye = false;            // the last that was said is a NOTIFICATION: it shall be read
  bool blocked = false;            // the socket took no more: EPOLLOUT tells when it does again
  bool queued = false;             // in State::writable
  std::vector<uint8_t> control;    // the session's own messages
  size_t control_sent = 0;
  size_t message_at = 0;           // bytes sent of the RIB's message that is on its way: nothing may come between
  size_t message_size = 0;         // of it; known once its header is sent
  std::optional<Millis> deadline;  // to be connected, or to be rid of the rest
};

struct Neighbor {
  Neighbor(PeerId number, PeerConfig with, IpAddr remote, bool is_dynamic)
      : id(number), config(std::move(with)), address(remote), dynamic(is_dynamic), session(config.session, remote) {}

  const PeerId id;
  PeerConfig config;
  const IpAddr address;
  const bool dynamic;
  Session session;
  std::optional<ConnId> up;            // the established session's connection
  bool failed = false;                 // to be reset: what it still says does not count
  bool in_rib = false;                 // the RIB knows it
  bool ended[kAfis] = {false, false};  // end-of-RIB came in this session
  bool heard = false;                  // all its families' came since the start
  std::optional<Millis> stale_until;   // of routes that were kept
  std::optional<Millis> llgr_until[kAfis];
  uint32_t llgr_time[kAfis] = {0, 0};  // seconds, as the last session's end had it
  uint64_t rib_messages = 0;           // sent
  Millis down_since = 0;
  std::string told_error;              // as last logged
  Millis complaint_minute = -60'000;   // when the running one began: State::complain()
  int complaints = 0;                  // in it
  size_t untold = 0;                   // complaints that were not logged
  mutable Millis since = -1;           // what the next one was worked out for
  mutable int64_t since_wall = 0;      // Unix seconds
  std::optional<Millis> timer;         // as in State::timers
  bool touched = false;                // in State::touched
};

struct Speaker::State {
  State(OnLearned on_learned, bool was_restarted);
  ~State();

  struct Listener {
    IpAddr address;
    Fd fd;
    std::string trouble;
    std::map<Prefix, std::string> keys;  // MD5, as the socket has them
    std::map<Prefix, std::string> key_troubles;
    std::optional<Millis> paused;        // no descriptors are left
  };

  // --- speaker.cpp
  void run();
  void turn();
  int wait_time() const;
  void do_calls();
  void do_timers();
  void post(std::function<void()> call);
  void ask(const std::function<void()>& call);  // waits until it is done; throws what it throws
  void stop(std::string_view text);

  // --- speaker_config.cpp
  void configure(SpeakerConfig wanted);
  void configure_listeners();
  void configure_peers();
  void configure_originated(const std::vector<std::pair<Prefix, Attributes>>& before);
  void begin_again();
  void key_listener(Listener& listener, const std::map<Prefix, std::string>& wanted);
  std::map<Prefix, std::string> keys_for(Family family) const;
  bool has_key(const Listener& listener, const IpAddr& address, const std::string& password) const;
  void open_listeners();
  void tell_troubles();
  Neighbor& add_neighbor(PeerConfig wanted, const IpAddr& address, bool dynamic);
  void change_neighbor(Neighbor& neighbor, const PeerConfig& wanted);
  /// With what it is told; its routes go. The neighbour is no more.
  void remove_neighbor(Neighbor& neighbor, const std::optional<Notification>& notification);
  const PeerConfig* dynamic_range(const IpAddr& address) const;
  Neighbor* dynamic_neighbor(const IpAddr& address);  // null: not wanted, and said so

  // --- speaker_peers.cpp
  Neighbor* find(const IpAddr& address);
  void touch(Neighbor& neighbor);
  /// Carries out what the session asks for.
  void drain(Neighbor& neighbor);
  void give_up_dial(Neighbor& neighbor);
  void on_up(Neighbor& neighbor, const Up& up);
  void on_down(Neighbor& neighbor, const Down& down);
  /// A line on what is wrong with its UPDATEs; no more than some a minute, the others are counted.
  void complain(Neighbor& neighbor, std::string_view what);
  void on_routes(Neighbor& neighbor, const Update& update);
  void on_refresh(Neighbor& neighbor, const RouteRefresh& refresh);
  void fail(Neighbor& neighbor, const Notification& notification, std::string why);
  void too_many_prefixes(Neighbor& neighbor);
  void restart_time_over(Neighbor& neighbor, Afi afi);
  void neighbor_timers(Neighbor& neighbor);
  void after_touch();  // timers, errors, dynamic neighbours that are no more
  RibPeer rib_peer(const Neighbor& neighbor) const;

  // --- speaker_learned.cpp
  void settle();
  void consider_start_over();
  void note_changes();
  void hand_over_changed();
  void tell_learned();

  // --- speaker_io.cpp
  void begin_dial(Neighbor& neighbor);
  Connection& add_connection(Fd fd, Neighbor& neighbor, bool connecting);
  void accept_some(size_t listener);
  void stranger(const IpAddr& address, std::string_view why);
  void on_event(uint64_t key, uint32_t events);
  void on_connecting(Connection& connection);
  void read(Connection& connection);
  void say(Connection& connection, Bytes bytes);  // one message
  void queue(Connection& connection);
  void queue_all();  // who the RIB has something for
  void write_queued();
  void write(Connection& connection);  // which may end by it
  struct Sent {
    size_t bytes = 0;
    bool blocked = false;
    int error = 0;
  };
  Sent write_once(Connection& connection, Neighbor* neighbor);
  void lost(Connection& connection, int error);  // 0: its end was read
  /// A write failed: what they said before they closed is read first, as it tells why (a NOTIFICATION).
  void broken(Connection& connection, int error);
  void set_deadline(Connection& connection, std::optional<Millis> at);
  TcpNeeds needs(const PeerConfig& peer) const;
  void finish(ConnId id);              // closed once its rest is out
  void remove(ConnId id);
  void watch(Connection& connection, bool out);
  Connection* connection(ConnId id);

  // --- speaker_show.cpp
  PeerStatus status(const Neighbor& neighbor);
  std::vector<RouteStatus> routes(const RouteQuery& query);
  std::vector<Neighbor*> asked(const std::optional<IpAddr>& peer);
  void reset(const std::optional<IpAddr>& peer, ResetKind kind);

  // --- any thread's
  std::mutex mutex;  // guards the two below
  std::vector<std::function<void()>> calls;
  std::vector<std::string> troubles;
  Fd bell;
  std::atomic<bool> quit{false};

  // --- the thread's own
  OnLearned learned;
  bool restarting;         // selection after a restart is not done: R bit
  bool stopped = false;    // stop() was called: nothing new begins
  bool configured = false;
  Millis now = 0, began = 0, last_news = 0;
  SpeakerConfig config;
  Fd epoll;
  std::vector<Listener> listeners;
  std::optional<Millis> listen_again;

  IgpTable igp;
  std::unique_ptr<Rib> rib;
  bool rib_changed = false;
  bool deferring = false;  // nothing is decided yet
  std::map<IpAddr, std::unique_ptr<Neighbor>> neighbors;
  std::vector<Neighbor*> by_id;  // PeerId
  std::vector<Neighbor*> touched;
  std::set<std::pair<Millis, PeerId>> timers;

  std::unordered_map<ConnId, std::unique_ptr<Connection>> connections;
  std::vector<ConnId> writable;
  std::set<std::pair<Millis, ConnId>> deadlines;
  ConnId last_connection = 0;
  std::vector<uint8_t> buffer;

  std::map<Prefix, std::optional<LearnedRoute>> changes;  // not handed over yet
  std::shared_ptr<const std::vector<LearnedRoute>> told;
  bool whole = false, told_whole = false;
  std::optional<Millis> tell_at, tell_latest;

  uint64_t strangers = 0;  // not told of
  int stranger_lines = 0;
  Millis stranger_minute = 0;

  std::thread thread;  // the last: it works on all of the above
};

Millis monotonic();

/// After a start: for how long nothing new may come until what is there counts as all, and for how long at most.
inline constexpr Millis kQuietStart = 5'000, kLongestStart = 60'000;

/// What an event of epoll is about: 0 is the bell, the rest a listener or a connection.
inline constexpr uint64_t kListenerEvent = uint64_t{1} << 32, kConnectionEvent = uint64_t{2} << 32;
inline uint64_t listener_key(size_t index) { return kListenerEvent + index; }

/// Words for the log: "n2 192.168.77.2".
std::string name_of(const Neighbor& neighbor);

}  // namespace knet::bgp
