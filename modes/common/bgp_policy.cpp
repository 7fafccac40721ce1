#include "modes/common/bgp_policy.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/text.h"

namespace knet {
namespace {

bool inside(const Prefix& prefix, const std::vector<Prefix>& networks) {
  return std::any_of(networks.begin(), networks.end(), [&](const Prefix& network) { return network.contains(prefix); });
}

// --- communities: a rule's words as numbers, once

struct Communities {
  std::vector<uint32_t> plain;
  std::vector<bgp::LargeCommunity> large;
};

uint32_t number(std::string_view text) { return static_cast<uint32_t>(parse_int(text).value_or(0)); }

void add(Communities& to, std::string_view text) {
  static constexpr std::pair<std::string_view, uint32_t> kNamed[] = {
      {"no-export", bgp::kNoExport},
      {"no-advertise", bgp::kNoAdvertise},
      {"no-export-subconfed", bgp::kNoExportSubconfed},
      {"graceful-shutdown", bgp::kGracefulShutdown},
      {"llgr-stale", bgp::kLlgrStale},
      {"no-llgr", bgp::kNoLlgr},
  };
  for (const auto& [name, value] : kNamed)
    if (text == name) return to.plain.push_back(value);
  const auto parts = split(text, ':');
  if (parts.size() == 2) to.plain.push_back(number(parts[0]) << 16 | (number(parts[1]) & 0xffff));
  if (parts.size() == 3) to.large.push_back({number(parts[0]), number(parts[1]), number(parts[2])});
}

template <typename T>
void merge(std::vector<T>& into, const std::vector<T>& more) {
  if (more.empty()) return;
  into.insert(into.end(), more.begin(), more.end());
  std::sort(into.begin(), into.end());
  into.erase(std::unique(into.begin(), into.end()), into.end());
}

template <typename T>
bool has_all(const std::vector<T>& sorted, const std::vector<T>& wanted) {
  return std::all_of(wanted.begin(), wanted.end(),
                     [&](const T& one) { return std::binary_search(sorted.begin(), sorted.end(), one); });
}

// --- rules

struct Rule {
  BgpRule rule;
  Communities wanted, added;
};

std::vector<Rule> compile(const std::vector<BgpRule>& rules) {
  std::vector<Rule> made;
  made.reserve(rules.size());
  for (const BgpRule& rule : rules) {
    Rule one{rule, {}, {}};
    if (!rule.community.empty()) add(one.wanted, rule.community);
    for (const std::string& community : rule.add_communities) add(one.added, community);
    made.push_back(std::move(one));
  }
  return made;
}

/// What the first rule that matches says; nothing where none does.
std::optional<bool> judge(const std::vector<Rule>& rules, const Prefix& prefix, bgp::Attributes& attributes) {
  for (const Rule& one : rules) {
    if (!matches_prefix(one.rule, prefix)) continue;
    if (!has_all(attributes.communities, one.wanted.plain) || !has_all(attributes.large_communities, one.wanted.large))
      continue;
    if (!one.rule.accept) return false;
    if (one.rule.set_local_pref) attributes.local_pref = one.rule.set_local_pref;
    if (one.rule.set_med) attributes.med = one.rule.set_med;
    merge(attributes.communities, one.added.plain);
    merge(attributes.large_communities, one.added.large);
    return true;
  }
  return std::nullopt;
}

/// Where no rule matches. Subnets that lie inside of our own are nobody else's; a single pod's address may have moved.
bool taken(const BgpBounds& bounds, const Prefix& prefix) {
  if (prefix.length() == 0) return false;
  if (!prefix.is_host() && inside(prefix, bounds.own)) return false;
  return inside(prefix, bounds.networks) || inside(prefix, bounds.more_import);
}

bool first_as_is(const bgp::Attributes& attributes, bgp::Asn asn) {
  return asn == 0 || attributes.neighbor_as() == asn;
}

// --- keys

std::string text(const std::vector<Prefix>& prefixes) {
  std::string out;
  for (const Prefix& prefix : prefixes) out += (out.empty() ? "" : " ") + prefix.str();
  return out;
}

std::string text(const std::vector<BgpRule>& rules) {
  std::string out;
  for (const BgpRule& rule : rules) out += format(rule) + "; ";
  return out;
}

}  // namespace

bgp::Policy cluster_import(const BgpBounds& bounds, bgp::Asn ebgp_from) { return outside_import(bounds, ebgp_from, {}); }

bgp::Policy outside_import(const BgpBounds& bounds, bgp::Asn ebgp_from, const std::vector<BgpRule>& rules) {
  bgp::Policy policy;
  policy.key = fmt::format("from AS {}: {}in {} or {}, not {}", ebgp_from, text(rules), text(bounds.networks),
                           text(bounds.more_import), text(bounds.own));
  policy.apply = [bounds, ebgp_from, compiled = compile(rules)](const Prefix& prefix, bgp::Attributes& attributes) {
    if (!first_as_is(attributes, ebgp_from)) return false;
    if (const auto verdict = judge(compiled, prefix, attributes)) return *verdict;
    return taken(bounds, prefix);
  };
  return policy;
}

bgp::Policy outside_export(const BgpBounds& bounds, const std::vector<BgpRule>& rules) {
  bgp::Policy policy;
  policy.key = fmt::format("to outside: {}in {} or {}", text(rules), text(bounds.networks), text(bounds.more_export));
  policy.apply = [bounds, compiled = compile(rules)](const Prefix& prefix, bgp::Attributes& attributes) {
    if (const auto verdict = judge(compiled, prefix, attributes)) return *verdict;
    return inside(prefix, bounds.networks) || inside(prefix, bounds.more_export);
  };
  return policy;
}

}  // namespace knet
