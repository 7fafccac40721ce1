#include "store/etcd_wire.h"

#include <limits>
#include <nlohmann/json.hpp>

#include "base/base64.h"
#include "base/error.h"
#include "base/text.h"
#include "store/key_range.h"

namespace knet::etcd {

namespace {

using What = Store::Change::What;
using nlohmann::json;

[[noreturn]] void malformed(std::string_view why) { fail(ErrorKind::store, "an answer that is not etcd's: {}", why); }

int64_t number_of(std::string_view text) {
  std::optional<int64_t> value = parse_int(text);
  if (!value) malformed("\"" + printable(text, 40) + "\" is not a number");
  return *value;
}

std::string bytes_of(std::string_view text) {
  std::optional<std::string> bytes = base64_decode(text);
  if (!bytes) malformed("\"" + printable(text, 40) + "\" is not base64");
  return std::move(*bytes);
}

/// Calls back for each scalar with its path, arrays leaving no trace: {"kvs":[{"key":"x"}]} gives ("/kvs/key", "x").
/// Numbers and booleans come as their text, null not at all.
class Scanner final : public nlohmann::json_sax<json> {
 public:
  std::function<void(const std::string& path, std::string& text)> scalar;
  std::function<void(const std::string& path)> object_end = {};

  void scan(std::string_view text) {
    // Not strict: the caller says what may follow. Errors arrive through parse_error.
    if (!json::sax_parse(text.begin(), text.end(), this)) malformed(why_);
  }

  bool null() override { return true; }
  bool boolean(bool value) override { return give(value ? "true" : "false"); }
  bool number_integer(number_integer_t value) override { return give(std::to_string(value)); }
  bool number_unsigned(number_unsigned_t value) override { return give(std::to_string(value)); }
  bool number_float(number_float_t, const string_t& text) override { return give(text); }
  bool string(string_t& text) override { return give(std::move(text)); }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override { return open(); }
  bool start_array(std::size_t) override { return open(); }
  bool key(string_t& name) override {
    path_.resize(starts_.back());
    path_ += '/';
    path_ += name.size() <= kLongestKey ? name : "?";
    return true;
  }
  bool end_object() override {
    path_.resize(starts_.back());
    if (object_end) object_end(path_);
    return end_array();
  }
  bool end_array() override {
    path_.resize(starts_.back());
    starts_.pop_back();
    return true;
  }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception&) override {
    why_ = "no JSON at byte " + std::to_string(position);
    return false;
  }

 private:
  static constexpr size_t kDeepest = 32;
  static constexpr size_t kLongestKey = 64;

  bool give(std::string text) {
    scalar(path_, text);
    return true;
  }
  bool open() {
    why_ = "nested too deep";
    starts_.push_back(path_.size());
    return starts_.size() <= kDeepest;
  }

  std::string path_;
  std::vector<size_t> starts_;  // the path's length where each open object or array began
  std::string why_ = "no JSON";
};

/// One field of a key-value; false if it is none that we keep.
bool take_field(KeyValue& item, std::string_view name, std::string& text) {
  if (name == "key") item.key = bytes_of(text);
  else if (name == "value") item.value = bytes_of(text);
  else if (name == "create_revision") item.create_rev = number_of(text);
  else if (name == "mod_revision") item.mod_rev = number_of(text);
  else if (name == "lease") item.lease = number_of(text);
  else return false;
  return true;
}

json compare(const std::string& key, const char* target, const char* result, const char* field, Revision value) {
  return {{"key", base64_encode(key)}, {"target", target}, {"result", result}, {field, std::to_string(value)}};
}

}  // namespace

std::string get_request(const std::string& key) { return json{{"key", base64_encode(key)}}.dump(); }

std::string range_request(const std::string& from, const std::string& end, int64_t limit, Revision rev) {
  json request{{"key", base64_encode(from)}, {"range_end", base64_encode(end)}, {"limit", std::to_string(limit)}};
  if (rev != 0) request["revision"] = std::to_string(rev);
  return request.dump();
}

std::string commit_request(const std::vector<Store::Change>& changes) {
  json compares = json::array(), writes = json::array();
  for (const Store::Change& change : changes) {
    if (change.what == What::create)
      compares.push_back(compare(change.key, "CREATE", "EQUAL", "create_revision", 0));
    else if (change.expected != 0)
      compares.push_back(compare(change.key, "MOD", "EQUAL", "mod_revision", change.expected));
    else
      compares.push_back(compare(change.key, "CREATE", "GREATER", "create_revision", 0));
    if (change.what == What::remove) {
      writes.push_back({{"request_delete_range", {{"key", base64_encode(change.key)}}}});
    } else {
      json put{{"key", base64_encode(change.key)}, {"value", base64_encode(change.value)}};
      if (change.lease != 0) put["lease"] = std::to_string(change.lease);
      writes.push_back({{"request_put", std::move(put)}});
    }
  }
  return json{{"compare", std::move(compares)}, {"success", std::move(writes)}}.dump();
}

std::string grant_request(std::chrono::seconds ttl) { return json{{"TTL", std::to_string(ttl.count())}}.dump(); }
std::string lease_request(LeaseId lease) { return json{{"ID", std::to_string(lease)}}.dump(); }

std::string authenticate_request(const std::string& user, const std::string& password) {
  return json{{"name", user}, {"password", password}}.dump(-1, ' ', false, json::error_handler_t::replace);
}

std::string watch_request(const std::string& prefix, Revision from) {
  return json{{"create_request",
               {{"key", base64_encode(prefix)},
                {"range_end", base64_encode(prefix_end(prefix))},
                {"start_revision", std::to_string(from)},
                {"progress_notify", true}}}}
      .dump();
}

RangeAnswer parse_range(std::string_view body) {
  RangeAnswer answer;
  KeyValue item;
  Scanner scanner;
  scanner.scalar = [&](const std::string& path, std::string& text) {
    if (path.starts_with("/kvs/")) take_field(item, std::string_view(path).substr(5), text);
    else if (path == "/more") answer.more = text == "true";
    else if (path == "/header/revision") answer.rev = number_of(text);
  };
  scanner.object_end = [&](const std::string& path) {
    if (path == "/kvs") answer.items.push_back(std::exchange(item, {}));
  };
  scanner.scan(body);
  if (answer.rev <= 0) malformed("no revision in it");
  return answer;
}

CommitAnswer parse_commit(std::string_view body) {
  CommitAnswer answer;
  Scanner scanner;
  scanner.scalar = [&](const std::string& path, std::string& text) {
    if (path == "/succeeded") answer.succeeded = text == "true";
    else if (path == "/header/revision") answer.rev = number_of(text);
  };
  scanner.scan(body);
  if (answer.rev <= 0) malformed("no revision in it");
  return answer;
}

LeaseAnswer parse_lease_answer(std::string_view body) {
  LeaseAnswer answer;
  Scanner scanner;
  scanner.scalar = [&](const std::string& path, std::string& text) {
    if (path == "/ID" || path == "/result/ID") answer.id = number_of(text);
    else if (path == "/TTL" || path == "/result/TTL") answer.ttl = number_of(text);
  };
  scanner.scan(trim(body));
  return answer;
}

std::string parse_token(std::string_view body) {
  std::string token;
  Scanner scanner;
  scanner.scalar = [&](const std::string& path, std::string& text) {
    if (path == "/token") token = std::move(text);
  };
  scanner.scan(body);
  // It goes into a header line.
  for (unsigned char c : token)
    if (c <= ' ' || c >= 0x7f) malformed("a token that is none");
  if (token.empty()) malformed("no token in it");
  return token;
}

ErrorAnswer parse_error(std::string_view body) {
  ErrorAnswer answer;
  try {
    Scanner scanner;
    scanner.scalar = [&](const std::string& path, std::string& text) {
      if (path == "/error" || path == "/error/message") answer.text = printable(text, 200);
      else if (path == "/code" || path == "/error/grpc_code") answer.code = static_cast<int>(parse_int(text).value_or(0) & 0xff);
    };
    scanner.scan(trim(body));
  } catch (const Error&) {
    answer.text.clear();
  }
  if (answer.text.empty()) answer.text = printable(trim(body), 120);
  return answer;
}

WatchMessage parse_watch_message(std::string_view line) {
  WatchMessage message;
  KeyValue item;
  bool deleted = false;
  Scanner scanner;
  scanner.scalar = [&](const std::string& path, std::string& text) {
    constexpr std::string_view kKv = "/result/events/kv/";
    if (path.starts_with(kKv)) take_field(item, std::string_view(path).substr(kKv.size()), text);
    else if (path == "/result/events/type") deleted = text == "DELETE" || text == "1";
    else if (path == "/result/header/revision") message.rev = number_of(text);
    else if (path == "/result/created") message.created = text == "true";
    else if (path == "/result/canceled") message.canceled = text == "true";
    else if (path == "/result/compact_revision") message.compacted = number_of(text);
    else if (path == "/result/cancel_reason") message.cancel_reason = printable(text, 200);
    else if (path == "/error" || path == "/error/message") message.error = printable(text, 200);
  };
  scanner.object_end = [&](const std::string& path) {
    if (path != "/result/events") return;
    if (item.mod_rev <= 0) malformed("an event without a revision");
    message.events.push_back({std::move(item.key), deleted ? "" : std::move(item.value), deleted, item.lease, item.mod_rev});
    item = {};
    deleted = false;
  };
  scanner.scan(line);
  for (size_t i = 1; i < message.events.size(); ++i)
    if (message.events[i].rev < message.events[i - 1].rev) malformed("events out of order");
  return message;
}

bool LineSplitter::feed(std::string_view data, const std::function<bool(std::string_view)>& line) {
  while (!data.empty()) {
    size_t end = data.find('\n');
    std::string_view piece = data.substr(0, end);
    if (buffer_.size() + piece.size() > limit_) {
      overflowed_ = true;
      return false;
    }
    if (end == std::string_view::npos) {
      buffer_ += piece;
      return true;
    }
    data.remove_prefix(end + 1);
    bool on = true;
    if (buffer_.empty()) {
      on = line(piece);
    } else {
      buffer_ += piece;
      // Taken out first: a big message must not keep its memory for the life of the watch.
      std::string whole = std::exchange(buffer_, {});
      on = line(whole);
    }
    if (!on) return false;
  }
  return true;
}

}  // namespace knet::etcd
