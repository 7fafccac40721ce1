#include "core/uplink.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <regex>
#include <tuple>

#include "base/error.h"
#include "base/text.h"
#include "core/ownership.h"

namespace knet {
namespace {

constexpr size_t kLongestRegex = 256;
constexpr std::array kFamilies{Family::v4, Family::v6};

/// A link that may be chosen, with its usable addresses, best first.
struct Candidate {
  const Link* link;
  std::vector<const Address*> addresses;

  const Address* best(Family family) const {
    const auto found = std::find_if(addresses.begin(), addresses.end(),
                                    [&](const Address* a) { return a->prefix.family() == family; });
    return found == addresses.end() ? nullptr : *found;
  }
  const Address* find(const IpAddr& ip) const {
    const auto found =
        std::find_if(addresses.begin(), addresses.end(), [&](const Address* a) { return a->prefix.addr() == ip; });
    return found == addresses.end() ? nullptr : *found;
  }
};

/// One family's answer.
struct Pick {
  const Candidate* candidate = nullptr;
  const Address* address = nullptr;
  std::string why;
  explicit operator bool() const { return address != nullptr; }
};

std::string_view family_name(Family family) { return family == Family::v4 ? "IPv4" : "IPv6"; }

bool is_ours(const Link& link) {
  return link.ours || link.name.view().starts_with("knet.") || link.name.view().starts_with("knet6.") ||
         Ownership::is_pod_link(link.name.view());
}

/// A bridge that a container or VM tool made for its guests.
bool is_guest_bridge(const Link& link) {
  if (link.type != LinkType::bridge) return false;
  const std::string_view name = link.name.view();
  constexpr std::array<std::string_view, 8> kBeginnings{"docker", "br-",   "cni",   "cbr",
                                                        "podman", "virbr", "lxcbr", "lxdbr"};
  return std::any_of(kBeginnings.begin(), kBeginnings.end(),
                     [&](auto beginning) { return name.starts_with(beginning); });
}

/// Smaller is better: global before link-local; an IPv4 address alone in its prefix is most often a moving one (VRRP);
/// permanent before DHCP and SLAAC.
auto grade(const Address& address) {
  const IpAddr& ip = address.prefix.addr();
  return std::tuple{ip.is_link_local(), ip.is_v4() && address.prefix.is_host(), !address.permanent};
}

/// Peers off the link can't reach an IPv6 link-local address: only for who names it.
bool fits_peers(const IpAddr& ip, const UplinkSelector& selector) {
  if (ip.is_loopback() || ip.is_unspecified() || ip.is_multicast()) return false;
  if (ip.is_v4() || !ip.is_link_local() || selector.public_ip6 == ip) return true;
  return std::any_of(selector.ifaces.begin(), selector.ifaces.end(),
                     [&](const auto& word) { return IpAddr::parse(word) == ip; });
}

std::vector<Candidate> candidates_of(const NetState& observed, const UplinkSelector& selector) {
  std::vector<Candidate> result;
  for (const Link& link : observed.links) {
    if (link.type == LinkType::loopback || !link.up || is_ours(link) || Ownership::is_flannel_link(link)) continue;
    Candidate candidate{&link, {}};
    for (const Address& address : observed.addresses) {
      if (address.dev != link.name || !address.usable || !fits_peers(address.prefix.addr(), selector)) continue;
      candidate.addresses.push_back(&address);
    }
    if (candidate.addresses.empty()) continue;
    std::sort(candidate.addresses.begin(), candidate.addresses.end(), [](const auto* a, const auto* b) {
      return std::tuple{grade(*a), a->prefix} < std::tuple{grade(*b), b->prefix};
    });
    result.push_back(std::move(candidate));
  }
  std::sort(result.begin(), result.end(), [](const auto& a, const auto& b) { return a.link->index < b.link->index; });
  return result;
}

class Chooser {
 public:
  Chooser(const NetState& observed, const UplinkSelector& selector, const std::vector<Family>& wanted,
          const std::optional<ReachAnswer>& reach)
      : observed_(observed),
        selector_(selector),
        wanted_(wanted),
        reach_(reach),
        candidates_(candidates_of(observed, selector)) {}

  UplinkChoice choose() {
    if (!selector_.ifaces.empty()) try_ifaces();
    if (!selector_.iface_regexes.empty() && !complete()) try_regexes();
    if (selector_.can_reach && !complete()) try_reach();
    if (explicit_selector()) {
      follow_other_family();
      if (!complete()) fail_explicit();
    } else {
      try_public_ip();
      if (!complete()) try_default_routes();
      if (!complete()) follow_other_family();
      if (!complete()) try_only_link();
      if (!complete()) fail_automatic();
    }
    return answer();
  }

 private:
  static size_t slot(Family family) { return family == Family::v4 ? 0 : 1; }
  Pick& pick(Family family) { return picks_[slot(family)]; }
  bool complete() {
    return std::all_of(wanted_.begin(), wanted_.end(), [&](Family family) { return static_cast<bool>(pick(family)); });
  }
  bool explicit_selector() const {
    return !selector_.ifaces.empty() || !selector_.iface_regexes.empty() || selector_.can_reach.has_value();
  }
  const Candidate* find(const DevName& dev) const {
    const auto found =
        std::find_if(candidates_.begin(), candidates_.end(), [&](const auto& c) { return c.link->name == dev; });
    return found == candidates_.end() ? nullptr : &*found;
  }
  void say_tie(std::string text) { tie_ += (tie_.empty() ? "" : "; ") + text; }
  void take(Family family, const Candidate& candidate, const Address& address, std::string why) {
    pick(family) = {&candidate, &address, std::move(why)};
  }
  /// The link's best address. The kernel's order is lost in a sorted state, so equals are told apart by value; that is
  /// said.
  void take_best(Family family, const Candidate& candidate, std::string why) {
    const Address& best = *candidate.best(family);
    for (const Address* other : candidate.addresses) {
      if (other == &best || other->prefix.family() != family || grade(*other) != grade(best)) continue;
      say_tie(fmt::format("{} has {} and {}: the lower is taken", candidate.link->name.view(), best.prefix.addr().str(),
                          other->prefix.addr().str()));
      break;
    }
    take(family, candidate, best, std::move(why));
  }

  const Candidate* by_word(const std::string& word) const {
    const auto ip = IpAddr::parse(word);
    for (const Candidate& candidate : candidates_) {
      if (ip ? candidate.find(*ip) != nullptr : candidate.link->name.view() == word) return &candidate;
    }
    return nullptr;
  }

  /// The address of this link that --iface names.
  const Address* named_on(const Candidate& candidate, Family family) const {
    for (const std::string& word : selector_.ifaces) {
      const auto ip = IpAddr::parse(word);
      if (ip && ip->family() == family && candidate.find(*ip) != nullptr) return candidate.find(*ip);
    }
    return nullptr;
  }

  void try_ifaces() {
    for (Family family : wanted_) {
      for (const std::string& word : selector_.ifaces) {
        const Candidate* candidate = by_word(word);
        if (candidate == nullptr) continue;
        if (const Address* address = named_on(*candidate, family)) {
          take(family, *candidate, *address, "--iface " + word);
        } else if (candidate->best(family) != nullptr) {
          take_best(family, *candidate, "--iface " + word);
        }
        if (pick(family)) break;
      }
    }
  }

  static std::regex compile(const std::string& text) {
    if (text.size() > kLongestRegex) {
      fail(ErrorKind::usage, "--iface-regex {} has {} bytes; at most {} are allowed", printable(text), text.size(),
           kLongestRegex);
    }
    try {
      // libstdc++'s polynomial matcher: a hostile pattern must not take for ever. It has no back-references.
      return std::regex(text, std::regex::ECMAScript | std::regex_constants::__polynomial);
    } catch (const std::regex_error& error) {
      fail(ErrorKind::usage, "--iface-regex '{}' is not a regular expression that can be used: {}", printable(text),
           error.what());
    }
  }

  void try_regexes() {
    std::vector<std::regex> regexes;
    for (const std::string& text : selector_.iface_regexes) regexes.push_back(compile(text));
    for (Family family : wanted_) {
      for (size_t i = 0; i < regexes.size() && !pick(family); ++i) {
        const std::string why = fmt::format("--iface-regex '{}'", printable(selector_.iface_regexes[i]));
        try_regex(family, regexes[i], why);
      }
    }
  }

  void try_regex(Family family, const std::regex& regex, const std::string& why) {
    const auto choose_by = [&](auto&& match) {
      for (const Candidate& candidate : candidates_) {
        const Address* address = match(candidate);
        if (address == nullptr) continue;
        if (!pick(family)) {
          take(family, candidate, *address, why);
        } else {
          say_tie(fmt::format("{} fits {} {} too: the lowest index is taken", why, candidate.link->name.view(),
                              address->prefix.addr().str()));
          return;
        }
      }
    };
    choose_by([&](const Candidate& candidate) -> const Address* {
      for (const Address* address : candidate.addresses) {
        if (address->prefix.family() == family && std::regex_search(address->prefix.addr().str(), regex))
          return address;
      }
      return nullptr;
    });
    if (pick(family)) return;
    choose_by([&](const Candidate& candidate) -> const Address* {
      return std::regex_search(candidate.link->name.str(), regex) ? candidate.best(family) : nullptr;
    });
  }

  void try_reach() {
    const std::string why = "--iface-can-reach " + selector_.can_reach->str();
    const Candidate* candidate = reach_ ? find(reach_->dev) : nullptr;
    if (candidate == nullptr) return;
    for (Family family : wanted_) {
      if (pick(family)) continue;
      const Address* source = reach_->src.family() == family ? candidate->find(reach_->src) : nullptr;
      if (source != nullptr) {
        take(family, *candidate, *source, why);
      } else if (candidate->best(family) != nullptr) {
        take_best(family, *candidate, why);
      }
    }
  }

  void try_public_ip() {
    for (const auto& [family, ip, flag] : {std::tuple{Family::v4, selector_.public_ip, "--public-ip "},
                                           std::tuple{Family::v6, selector_.public_ip6, "--public-ip6 "}}) {
      if (!ip || std::find(wanted_.begin(), wanted_.end(), family) == wanted_.end()) continue;
      for (const Candidate& candidate : candidates_) {
        if (const Address* address = candidate.find(ip)) {
          take(family, candidate, *address, flag + ip.str());
          break;
        }
      }
    }
  }

  struct DefaultRoute {
    const Route* route;
    const Candidate* candidate;
    uint32_t metric;
  };
  std::vector<DefaultRoute> default_routes(Family family) const {
    std::vector<DefaultRoute> result;
    for (const Route& route : observed_.routes) {
      if (route.dst.family() != family || route.dst.length() != 0 || route.type != RouteType::unicast ||
          route.table != Route::kMainTable || route.dead || !route.dev) {
        continue;
      }
      const Candidate* candidate = find(route.dev);
      if (candidate != nullptr && candidate->best(family) != nullptr)
        result.push_back({&route, candidate, route.metric});
    }
    std::sort(result.begin(), result.end(), [](const auto& a, const auto& b) {
      return std::tuple{a.metric, a.candidate->link->index} < std::tuple{b.metric, b.candidate->link->index};
    });
    return result;
  }

  void try_default_routes() {
    for (Family family : wanted_) {
      if (pick(family)) continue;
      const auto routes = default_routes(family);
      if (routes.empty()) continue;
      const auto& first = routes.front();
      if (const Address* source = first.candidate->find(first.route->src)) {
        take(family, *first.candidate, *source, "default route");
      } else {
        take_best(family, *first.candidate, "default route");
      }
      for (const auto& other : routes) {
        if (other.metric != first.metric || other.candidate == first.candidate) continue;
        say_tie(fmt::format("{} and {} have {} default routes of the same metric {}: the lower index is taken",
                            first.candidate->link->name.view(), other.candidate->link->name.view(), family_name(family),
                            first.metric));
        break;
      }
    }
  }

  /// A family that nothing speaks for goes over the other family's link, if it has an address there.
  void follow_other_family() {
    for (Family family : wanted_) {
      const Pick& other = pick(family == Family::v4 ? Family::v6 : Family::v4);
      if (pick(family) || !other) continue;
      if (other.candidate->best(family) != nullptr) take_best(family, *other.candidate, other.why);
    }
  }

  void try_only_link() {
    for (Family family : wanted_) {
      if (pick(family)) continue;
      const auto has = [&](const Candidate& candidate) {
        return candidate.best(family) != nullptr && !is_guest_bridge(*candidate.link);
      };
      if (std::count_if(candidates_.begin(), candidates_.end(), has) != 1) continue;
      const auto only = std::find_if(candidates_.begin(), candidates_.end(), has);
      take_best(family, *only, "the only link with an address");
    }
  }

  std::string shown(const Candidate& candidate) const {
    std::string text = candidate.link->name.str();
    for (Family family : wanted_) {
      if (const Address* address = candidate.best(family)) text += " " + address->prefix.addr().str();
    }
    return text;
  }
  std::string candidates_text() const {
    std::vector<std::string> parts;
    for (const Candidate& candidate : candidates_) {
      std::string text = shown(candidate);
      if (text != candidate.link->name.view()) parts.push_back(std::move(text));
    }
    return parts.empty() ? "no link that is up has one" : "there are: " + join(parts, ", ");
  }
  std::string_view missing() {
    for (Family family : wanted_) {
      if (!pick(family)) return family_name(family);
    }
    return "";
  }

  [[noreturn]] void fail_explicit() {
    std::vector<std::string> words;
    for (const auto& word : selector_.ifaces) words.push_back("--iface " + printable(word));
    for (const auto& word : selector_.iface_regexes) words.push_back("--iface-regex '" + printable(word) + "'");
    if (selector_.can_reach) words.push_back("--iface-can-reach " + selector_.can_reach->str());
    std::string why;
    if (words.size() == 1 && selector_.can_reach)
      why = reach_ ? fmt::format(" (the route goes over {})", reach_->dev.view()) : " (no route)";
    fail(ErrorKind::config, "{}{}: no usable {} address fits; {}", join(words, ", "), why, missing(),
         candidates_text());
  }
  [[noreturn]] void fail_automatic() {
    fail(ErrorKind::config, "no default route to tell which {} address other nodes reach this one by; {}; give --iface",
         missing(), candidates_text());
  }

  UplinkChoice answer() {
    UplinkChoice choice;
    for (Family family : wanted_) {
      const Pick& picked = pick(family);
      const Link& link = *picked.candidate->link;
      Uplink& uplink = family == Family::v4 ? choice.uplink : choice.uplink6;
      uplink = {link.name, link.index, link.mtu, picked.address->prefix};
      const IpAddr& given = family == Family::v4 ? selector_.public_ip : selector_.public_ip6;
      (family == Family::v4 ? choice.public_ip : choice.public_ip6) = given ? given : uplink.address.addr();
      if (choice.why.empty()) {
        choice.why = picked.why;
      } else if (choice.why != picked.why || choice.uplink.dev != choice.uplink6.dev) {
        choice.why += fmt::format("; IPv6: {}", picked.why);
      }
    }
    choice.tie = tie_;
    for (const Candidate& candidate : candidates_) {
      if (candidate.link->name == choice.uplink.dev || candidate.link->name == choice.uplink6.dev) continue;
      std::string text = shown(candidate);
      if (text != candidate.link->name.view()) choice.passed_over.push_back(std::move(text));
    }
    return choice;
  }

  const NetState& observed_;
  const UplinkSelector& selector_;
  const std::vector<Family>& wanted_;
  const std::optional<ReachAnswer>& reach_;
  std::vector<Candidate> candidates_;
  std::array<Pick, 2> picks_;
  std::string tie_;
};

}  // namespace

UplinkChoice choose_uplink(const NetState& observed, const UplinkSelector& selector, bool want_v4, bool want_v6,
                           const std::optional<ReachAnswer>& reach) {
  std::vector<Family> wanted;
  for (Family family : kFamilies) {
    if (family == Family::v4 ? want_v4 : want_v6) wanted.push_back(family);
  }
  if (wanted.empty()) fail(ErrorKind::bug, "choose_uplink: neither IPv4 nor IPv6 is wanted");
  return Chooser(observed, selector, wanted, reach).choose();
}

}  // namespace knet
