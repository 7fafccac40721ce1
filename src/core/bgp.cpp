#include "core/bgp.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json.h"
#include "base/text.h"
#include "core/json_fields.h"
#include "core/records.h"
#include "core/selector.h"

namespace knet {
namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kMostAsn = 0xffffffff;
constexpr size_t kLongestPassword = 80;  // TCP_MD5SIG_MAXKEYLEN
constexpr size_t kLongestPeerName = 63;
constexpr size_t kMostRules = 256;

// A number of a record, within bounds; nothing if it is absent.
template <typename T>
void read(const RecordFields& fields, std::string_view what, const char* name, int64_t min, int64_t max, T& into) {
  const auto value = fields.integer(name);
  if (!value) return;
  if (*value < min || *value > max)
    fail(ErrorKind::config, "{}: {} is {}, not a number from {} to {}", what, name, *value, min, max);
  into = static_cast<T>(*value);
}
template <typename T>
void read(const RecordFields& fields, std::string_view what, const char* name, int64_t min, int64_t max,
          std::optional<T>& into) {
  if (!fields.integer(name)) return;
  into.emplace();
  read(fields, what, name, min, max, *into);
}
void read(const RecordFields& fields, const char* name, std::string& into) {
  if (auto text = fields.text(name)) into = *std::move(text);
}
void read(const RecordFields& fields, const char* name, bool& into) {
  if (const auto value = fields.boolean(name)) into = *value;
}

void read_password(const RecordFields& fields, std::string_view what, std::string& into) {
  read(fields, "password", into);
  if (into.size() > kLongestPassword)
    fail(ErrorKind::config, "{}: the password is longer than {} bytes (RFC 2385)", what, kLongestPassword);
}

void read_selector(const RecordFields& fields, std::string_view what, const char* name, std::string& into) {
  read(fields, name, into);
  try {
    Selector(into).matches({});
  } catch (const Error& error) {
    fail(ErrorKind::config, "{}: {}: {}", what, name, error.text);
  }
}

std::vector<BgpRule> read_rules(const RecordFields& fields, std::string_view what, const char* name) {
  std::vector<BgpRule> rules;
  for (const std::string& text : fields.texts(name)) {
    if (rules.size() == kMostRules) fail(ErrorKind::config, "{}: more than {} rules in {}", what, kMostRules, name);
    try {
      rules.push_back(parse_bgp_rule(text));
    } catch (const Error& error) {
      fail(ErrorKind::config, "{}: {}: {}", what, name, error.text);
    }
  }
  return rules;
}

Json texts(const std::vector<Prefix>& prefixes) {
  Json out = Json::array();
  for (const Prefix& prefix : prefixes) out.push_back(prefix.str());
  return out;
}
Json texts(const std::vector<BgpRule>& rules) {
  Json out = Json::array();
  for (const BgpRule& rule : rules) out.push_back(format(rule));
  return out;
}

Json with_schema() {
  Json record;
  record["schema"] = kSchema;
  return record;
}

std::string_view word(BgpNextHop next_hop) {
  switch (next_hop) {
    case BgpNextHop::automatic:
      return "auto";
    case BgpNextHop::self:
      return "self";
    case BgpNextHop::keep:
      break;
  }
  return "keep";
}

// --- rules

constexpr std::string_view kWellKnown[] = {"no-export", "no-advertise", "no-export-subconfed", "graceful-shutdown",
                                           "llgr-stale", "no-llgr"};

// "64512:7", "64512:1:2" or a well-known name, as it is stored.
std::string community(std::string_view word, std::string_view text) {
  if (std::find(std::begin(kWellKnown), std::end(kWellKnown), text) != std::end(kWellKnown)) return std::string(text);
  const auto parts = split(text, ':');
  const int64_t most = parts.size() == 2 ? 0xffff : kMostAsn;
  const bool numbers = std::all_of(parts.begin(), parts.end(), [&](std::string_view part) {
    const auto value = parse_int(part);
    return value && *value >= 0 && *value <= most;
  });
  if (!numbers || (parts.size() != 2 && parts.size() != 3))
    fail(ErrorKind::usage, "{} {}: give A:B (two of 0 to 65535), A:B:C (a large one) or a name like no-export", word,
         printable(text));
  return std::string(text);
}

int64_t number(std::string_view word, std::string_view text, int64_t min, int64_t max) {
  const auto value = parse_int(text);
  if (!value || *value < min || *value > max)
    fail(ErrorKind::usage, "{} {} is no number from {} to {}", word, printable(text), min, max);
  return *value;
}

// The words of a rule after accept or reject, one at a time.
class RuleWords {
 public:
  explicit RuleWords(std::string_view text) {
    size_t at = 0;
    while ((at = text.find_first_not_of(" \t", at)) != std::string_view::npos) {
      const size_t end = std::min(text.find_first_of(" \t", at), text.size());
      words_.push_back(text.substr(at, end - at));
      at = end;
    }
  }
  bool done() const { return next_ == words_.size(); }
  std::string_view next() { return words_[next_++]; }
  std::string_view value(std::string_view word) {
    if (done()) fail(ErrorKind::usage, "{} wants a value after it", word);
    return next();
  }

 private:
  std::vector<std::string_view> words_;
  size_t next_ = 0;
};

[[noreturn]] void unknown_word(std::string_view word) {
  static const std::string known[] = {"ge", "le", "community", "set-local-pref", "set-med", "add-community"};
  const auto near = nearest(word, known);
  fail(ErrorKind::usage, "'{}' has no place in a rule{}; there are: a prefix or any, ge, le, community, set-local-pref, "
       "set-med, add-community", printable(word), near ? fmt::format("; did you mean {}?", *near) : "");
}

void check_lengths(const BgpRule& rule) {
  if (rule.ge == 0 && rule.le == 0) return;
  if (!rule.prefix) fail(ErrorKind::usage, "ge and le need a prefix before them");
  const int shortest = rule.prefix->length(), longest = rule.prefix->addr().bits();
  for (const auto& [word, length] : {std::pair{"ge", rule.ge}, std::pair{"le", rule.le}})
    if (length != 0 && (length < shortest || length > longest))
      fail(ErrorKind::usage, "{} {} is no length from {} to {} (of {})", word, length, shortest, longest,
           rule.prefix->str());
  if (rule.ge != 0 && rule.le != 0 && rule.ge > rule.le)
    fail(ErrorKind::usage, "ge {} is more than le {}", rule.ge, rule.le);
}

}  // namespace

BgpRule parse_bgp_rule(std::string_view text) {
  RuleWords words(text);
  if (words.done()) fail(ErrorKind::usage, "an empty rule; it begins with accept or reject");
  BgpRule rule;
  const std::string_view verdict = words.next();
  if (verdict != "accept" && verdict != "reject")
    fail(ErrorKind::usage, "'{}' begins no rule; it begins with accept or reject", printable(verdict));
  rule.accept = verdict == "accept";
  bool first = true;
  for (; !words.done(); first = false) {
    const std::string_view word = words.next();
    if (first && word == "any") continue;
    if (first) {
      if (const auto prefix = Prefix::parse(word)) {
        if (!prefix->is_masked())
          fail(ErrorKind::usage, "{} has bits set after its length; did you mean {}?", printable(word),
               prefix->masked().str());
        rule.prefix = *prefix;
        continue;
      }
    }
    if (word == "ge") {
      rule.ge = static_cast<int>(number(word, words.value(word), 1, 128));
    } else if (word == "le") {
      rule.le = static_cast<int>(number(word, words.value(word), 1, 128));
    } else if (word == "community") {
      rule.community = community(word, words.value(word));
    } else if (word == "set-local-pref") {
      rule.set_local_pref = static_cast<uint32_t>(number(word, words.value(word), 0, kMostAsn));
    } else if (word == "set-med") {
      rule.set_med = static_cast<uint32_t>(number(word, words.value(word), 0, kMostAsn));
    } else if (word == "add-community") {
      rule.add_communities.push_back(community(word, words.value(word)));
    } else {
      unknown_word(word);
    }
  }
  check_lengths(rule);
  if (!rule.accept && (rule.set_local_pref || rule.set_med || !rule.add_communities.empty()))
    fail(ErrorKind::usage, "a rule that rejects sets nothing");
  return rule;
}

std::string format(const BgpRule& rule) {
  std::string out = rule.accept ? "accept" : "reject";
  out += ' ' + (rule.prefix ? rule.prefix->str() : "any");
  if (rule.ge != 0) out += fmt::format(" ge {}", rule.ge);
  if (rule.le != 0) out += fmt::format(" le {}", rule.le);
  if (!rule.community.empty()) out += " community " + rule.community;
  if (rule.set_local_pref) out += fmt::format(" set-local-pref {}", *rule.set_local_pref);
  if (rule.set_med) out += fmt::format(" set-med {}", *rule.set_med);
  for (const std::string& text : rule.add_communities) out += " add-community " + text;
  return out;
}

bool matches_prefix(const BgpRule& rule, const Prefix& prefix) {
  if (!rule.prefix) return true;
  if (!rule.prefix->contains(prefix)) return false;
  if (rule.ge == 0 && rule.le == 0) return prefix.length() == rule.prefix->length();
  // One bound alone: from the prefix's own length up to le, or from ge to a whole address.
  return prefix.length() >= (rule.ge != 0 ? rule.ge : rule.prefix->length()) &&
         prefix.length() <= (rule.le != 0 ? rule.le : prefix.addr().bits());
}

// --- the cluster's settings

std::string format_bgp_config(const BgpConfig& config) {
  Json record = with_schema();
  record["asn"] = config.asn;
  record["mesh"] = config.mesh;
  record["port"] = config.port;
  record["hold_time"] = config.hold_time;
  record["restart_time"] = config.restart_time;
  record["local_pref"] = config.local_pref;
  record["prefix_limit"] = config.prefix_limit;
  record["max_paths"] = config.max_paths;
  if (!config.password.empty()) record["password"] = config.password;
  if (!config.advertise.empty()) record["advertise"] = texts(config.advertise);
  if (!config.import.empty()) record["import"] = texts(config.import);
  return dump_record(record);
}

BgpConfig parse_bgp_config(std::string_view json) {
  constexpr std::string_view kWhat = "bgp/config";
  const auto tree = parse_json(json, kWhat);
  const RecordFields fields(tree, kWhat, kSchema);
  BgpConfig config;
  read(fields, kWhat, "asn", 1, kMostAsn - 1, config.asn);
  read(fields, "mesh", config.mesh);
  read(fields, kWhat, "port", 1, 65535, config.port);
  read(fields, kWhat, "hold_time", 3, 65535, config.hold_time);
  read(fields, kWhat, "restart_time", 0, 4095, config.restart_time);
  read(fields, kWhat, "local_pref", 0, kMostAsn, config.local_pref);
  read(fields, kWhat, "prefix_limit", 1, kMostAsn, config.prefix_limit);
  read(fields, kWhat, "max_paths", 1, 64, config.max_paths);
  read_password(fields, kWhat, config.password);
  config.advertise = fields.prefixes("advertise");
  config.import = fields.prefixes("import");
  return config;
}

// --- peers

void check_bgp_peer_name(std::string_view name) {
  const auto fits = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == ':' ||
           c == '_' || c == '-';
  };
  if (name.empty() || name.size() > kLongestPeerName || !std::all_of(name.begin(), name.end(), fits) || name == "." ||
      name == "..")
    fail(ErrorKind::usage, "\"{}\" is no name for a peer; it has 1 to {} letters, digits, and . : _ -", printable(name),
         kLongestPeerName);
}

std::string format_bgp_peer(const BgpPeerSpec& peer) {
  Json record = with_schema();
  record["remote"] = peer.remote.str();
  record["asn"] = peer.asn;
  if (!peer.node.empty()) record["node"] = peer.node;
  if (!peer.selector.empty()) record["selector"] = peer.selector;
  if (!peer.password.empty()) record["password"] = peer.password;
  for (const auto& [name, set] : {std::pair{"ttl_security", peer.ttl_security}, std::pair{"multihop", peer.multihop},
                                  std::pair{"passive", peer.passive}, std::pair{"client", peer.client}})
    if (set) record[name] = true;
  if (peer.port != 179) record["port"] = peer.port;
  if (peer.hold_time != 0) record["hold_time"] = peer.hold_time;
  if (peer.next_hop != BgpNextHop::automatic) record["next_hop"] = word(peer.next_hop);
  if (peer.prefix_limit) record["prefix_limit"] = *peer.prefix_limit;
  if (!peer.import.empty()) record["import"] = texts(peer.import);
  if (!peer.export_.empty()) record["export"] = texts(peer.export_);
  return dump_record(record);
}

BgpPeerSpec parse_bgp_peer(std::string_view name, std::string_view json) {
  check_bgp_peer_name(name);
  const std::string what = fmt::format("bgp/peers/{}", name);
  const auto tree = parse_json(json, what);
  const RecordFields fields(tree, what, kSchema);
  BgpPeerSpec peer;
  peer.name = name;
  const std::string remote = fields.needed_text("remote");
  if (const auto prefix = Prefix::parse(remote); prefix && prefix->is_masked())
    peer.remote = *prefix;
  else
    fail(ErrorKind::config, "{}: remote is \"{}\", not an address or prefix", what, printable(remote));
  const bool dynamic = peer.remote.length() != peer.remote.addr().bits();
  read(fields, what, "asn", dynamic ? 0 : 1, kMostAsn - 1, peer.asn);
  if (!dynamic && peer.asn == 0) fail(ErrorKind::config, "{}: asn is missing", what);
  read(fields, "node", peer.node);
  read_selector(fields, what, "selector", peer.selector);
  read_password(fields, what, peer.password);
  read(fields, "ttl_security", peer.ttl_security);
  read(fields, "multihop", peer.multihop);
  read(fields, "passive", peer.passive);
  read(fields, "client", peer.client);
  read(fields, what, "port", 1, 65535, peer.port);
  read(fields, what, "hold_time", 3, 65535, peer.hold_time);
  if (const auto text = fields.text("next_hop")) {
    if (*text == "self")
      peer.next_hop = BgpNextHop::self;
    else if (*text == "keep")
      peer.next_hop = BgpNextHop::keep;
    else if (*text != "auto")
      fail(ErrorKind::config, "{}: next_hop is \"{}\", none of auto, self, keep", what, printable(*text));
  }
  read(fields, what, "prefix_limit", 1, kMostAsn, peer.prefix_limit);
  peer.import = read_rules(fields, what, "import");
  peer.export_ = read_rules(fields, what, "export");
  return peer;
}

// --- single nodes

std::string format_node_spec(const NodeSpec& spec) {
  Json record = with_schema();
  if (spec.asn) record["asn"] = *spec.asn;
  if (spec.reflector) record["reflector"] = format_cluster_id(*spec.reflector);
  if (!spec.clients.empty()) record["clients"] = spec.clients;
  for (const auto& [name, value] : spec.labels) record["labels"][name] = value;
  if (!spec.pods) record["pods"] = false;
  return dump_record(record);
}

NodeSpec parse_node_spec(std::string_view node, std::string_view json) {
  const std::string what = fmt::format("specs/{}", printable(node));
  const auto tree = parse_json(json, what);
  const RecordFields fields(tree, what, kSchema);
  NodeSpec spec;
  spec.node = node;
  read(fields, what, "asn", 1, kMostAsn - 1, spec.asn);
  if (const auto text = fields.text("reflector")) {
    try {
      spec.reflector = parse_cluster_id(*text);
    } catch (const Error& error) {
      fail(ErrorKind::config, "{}: {}", what, error.text);
    }
  }
  read_selector(fields, what, "clients", spec.clients);
  spec.labels = fields.labels("labels");
  read(fields, "pods", spec.pods);
  return spec;
}

uint32_t parse_cluster_id(std::string_view text) {
  if (const auto address = IpAddr::parse(text); address && address->is_v4() && address->v4_value() != 0)
    return address->v4_value();
  const auto value = parse_int(text);
  if (value && *value > 0 && *value <= kMostAsn) return static_cast<uint32_t>(*value);
  fail(ErrorKind::usage, "\"{}\" is no cluster id; give one like 1.0.0.1, or a number from 1 on", printable(text));
}

std::string format_cluster_id(uint32_t id) { return IpAddr::v4(id).str(); }

const NodeSpec* BgpView::spec(std::string_view node) const {
  const auto at = std::lower_bound(specs.begin(), specs.end(), node,
                                   [](const NodeSpec& spec, std::string_view name) { return spec.node < name; });
  return at != specs.end() && at->node == node ? &*at : nullptr;
}

}  // namespace knet
