// etcd v3's JSON gateway: the bodies of requests and what answers say. Pure. Keys and values travel as base64, int64 as
// strings or numbers, proto3 defaults are left out. Answers are read by SAX: thousands of items never become a tree.
// What comes from the server may be hostile: anything malformed is Error{store}.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "store/store.h"

namespace knet::etcd {

std::string get_request(const std::string& key);
/// At most `limit` keys of [from, end); `rev` 0: now.
std::string range_request(const std::string& from, const std::string& end, int64_t limit, Revision rev);
/// Compares as Store::commit's conditions say, puts and deletes if all hold. A swap must have `expected` > 0.
std::string commit_request(const std::vector<Store::Change>& changes);
std::string grant_request(std::chrono::seconds ttl);
std::string lease_request(LeaseId lease);
std::string authenticate_request(const std::string& user, const std::string& password);
std::string watch_request(const std::string& prefix, Revision from);

struct RangeAnswer {
  std::vector<KeyValue> items;
  bool more = false;
  Revision rev = 0;
};
RangeAnswer parse_range(std::string_view body);

struct CommitAnswer {
  bool succeeded = false;
  Revision rev = 0;
};
CommitAnswer parse_commit(std::string_view body);

struct LeaseAnswer {
  LeaseId id = 0;
  int64_t ttl = 0;  // seconds; 0 or less: there is no such lease
};
/// Of grant, keep-alive (with its "result" around it) and time-to-live.
LeaseAnswer parse_lease_answer(std::string_view body);
std::string parse_token(std::string_view body);

struct ErrorAnswer {
  std::string text;  // "etcdserver: user name is empty"
  int code = 0;      // of gRPC
};
/// Never throws: what is no such answer is given back as text, cut and made printable.
ErrorAnswer parse_error(std::string_view body);

struct WatchMessage {
  bool created = false;
  bool canceled = false;
  std::string cancel_reason;
  Revision compacted = 0;  // canceled, because what is before this is gone
  Revision rev = 0;        // of the header
  std::vector<StoreEvent> events;
  std::string error;       // the stream's end, as the server explains it
};
WatchMessage parse_watch_message(std::string_view line);

/// Cuts a stream into its lines, however the network cut it.
class LineSplitter {
 public:
  explicit LineSplitter(size_t limit) : limit_(limit) {}
  /// Calls `line` for each line that is complete, until it returns false. False: it did, or a line passed the limit.
  bool feed(std::string_view data, const std::function<bool(std::string_view)>& line);
  /// What came after the last newline: a server that ends sends its error so.
  std::string_view rest() const { return buffer_; }
  bool overflowed() const { return overflowed_; }

 private:
  size_t limit_;
  std::string buffer_;
  bool overflowed_ = false;
};

}  // namespace knet::etcd
