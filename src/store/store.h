// The Store contract: a small, revisioned key-value store with TTL leases and watches. Implementations: etcd v3 over its
// JSON gateway, sqlite (many processes on one machine), and MemStore for tests; one contract test runs against each.
// A Store object serves one thread at a time (its watch may run in another); calls block, at most `timeout`.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/lease.h"
#include "core/membership.h"

namespace knet {

struct KeyValue {
  std::string key;
  std::string value;
  LeaseId lease = 0;
  Revision create_rev = 0;
  Revision mod_rev = 0;
};

struct Listing {
  std::vector<KeyValue> items;  // sorted by key
  Revision rev = 0;             // the store's revision at which this listing is true
};

/// A watch's outcome when it ends by itself.
enum class WatchEnd {
  stopped,      // the caller asked
  compacted,    // the start revision is gone: list again
};

class Store {
 public:
  virtual ~Store() = default;

  virtual std::optional<KeyValue> get(const std::string& key) = 0;
  /// All keys that begin with `prefix`, at one revision; read in pages.
  virtual Listing list(const std::string& prefix) = 0;
  /// The same, item by item, without holding all of it. Returns the revision.
  virtual Revision for_each(const std::string& prefix, const std::function<void(KeyValue&&)>& visit) = 0;

  /// Create-if-absent. The mod revision, or nothing if the key exists.
  virtual std::optional<Revision> create(const std::string& key, const std::string& value, LeaseId lease = 0) = 0;
  /// Compare-and-swap on the mod revision. Nothing if the key has another revision or is gone. `lease` 0 detaches.
  virtual std::optional<Revision> swap(const std::string& key, const std::string& value, Revision expected, LeaseId lease = 0) = 0;
  /// Deletes if the mod revision is `expected` (0: whatever it is). False if it was not there or has another one.
  virtual bool remove(const std::string& key, Revision expected = 0) = 0;
  /// All or nothing: each `create` must be absent, each `swap`/`remove` at its revision. False: lost.
  struct Change {
    enum class What { create, swap, remove } what;
    std::string key;
    std::string value;
    Revision expected = 0;
    LeaseId lease = 0;
  };
  virtual std::optional<Revision> commit(const std::vector<Change>& changes) = 0;

  virtual LeaseId grant(std::chrono::seconds ttl) = 0;
  /// False: the lease is gone, and its keys with it.
  virtual bool keep_alive(LeaseId lease) = 0;
  /// Idempotent; its keys are deleted.
  virtual void revoke(LeaseId lease) = 0;
  /// Time left; nothing if it is gone.
  virtual std::optional<std::chrono::seconds> time_left(LeaseId lease) = 0;

  /// Calls `on_event` for every change of keys that begin with `prefix`, from revision `from` on, in order and without
  /// a gap, until `stop_watch()`. Events of one revision are delivered together, then `on_progress(rev)` (also when idle).
  /// Reconnects with backoff inside (1 s at most between tries at first, 15 s at last), telling `on_state(false, why)` and (true, "").
  /// Blocks; runs in its own thread on its own connection. Throws Error{store} only for what retrying can't mend.
  struct WatchSink {
    std::function<void(StoreEvent&&)> on_event;
    std::function<void(Revision)> on_progress;
    std::function<void(bool connected, const std::string& why)> on_state;
  };
  virtual WatchEnd watch(const std::string& prefix, Revision from, const WatchSink& sink) = 0;
  /// From any thread: makes a running or the next watch() return `stopped` soon (<100 ms).
  virtual void stop_watch() = 0;

  /// "http://192.168.77.1:2379" or "sqlite:///var/lib/knet/knet.db", without secrets; for people.
  virtual std::string where() const = 0;
  /// True where the cluster is this machine alone.
  virtual bool embedded() const = 0;
};

/// How to reach a store. Secrets only from files or the environment; never printed.
struct StoreOptions {
  std::string url = "sqlite:///var/lib/knet/knet.db";  // or "http://a:2379,http://b:2379", "https://..."
  std::string prefix = "/coreos.com/network";
  std::string cert_file, key_file, ca_file;
  std::string user;
  std::string password_file;   // or KNET_STORE_PASSWORD in the environment
  std::chrono::milliseconds timeout{5000};
};

/// Throws Error{usage} for a URL that makes no sense, naming it and giving an example. Does not connect.
std::unique_ptr<Store> open_store(const StoreOptions& options);

}  // namespace knet
