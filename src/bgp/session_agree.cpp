#include "bgp/session_agree.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "bgp/message_parts.h"

namespace knet::bgp {
namespace {

constexpr uint8_t kUnsupportedCapability = 7;                             // of OPEN errors (RFC 5492)
constexpr uint8_t kOtherChange = 6, kOutOfResources = 8, kHardReset = 9;  // of cease (RFC 4486, RFC 8538)

std::string families_text(const bool (&families)[kAfis]) {
  if (families[0] && families[1]) return "ipv4 and ipv6";
  return families[0] ? "ipv4" : families[1] ? "ipv6" : "neither ipv4 nor ipv6";
}

/// The capabilities that would have been needed (RFC 5492 section 5).
std::vector<uint8_t> wanted_families(const SessionConfig& config) {
  std::vector<uint8_t> out;
  for (const Afi afi : {Afi::v4, Afi::v6}) {
    if (!config.families[static_cast<size_t>(afi)]) continue;
    for (const uint8_t byte : {1, 4, 0, static_cast<int>(afi_number(afi)), 0, static_cast<int>(kUnicast)}) {
      out.push_back(byte);
    }
  }
  return out;
}

void drop_family(std::vector<Prefix>& prefixes, Family family) {
  std::erase_if(prefixes, [&](const Prefix& prefix) { return prefix.family() == family; });
}

bool says_nothing(const Update& update) {
  return update.withdrawn.empty() && update.reachable.empty() && !update.end_of_rib;
}

}  // namespace

Open open_of(const SessionConfig& config, bool restarting, bool kept) {
  Open open;
  open.asn = config.local_as;
  open.hold_time = config.hold_time;
  open.id = config.local_id;
  Capabilities& offer = open.capabilities;
  std::copy(std::begin(config.families), std::end(config.families), std::begin(offer.multiprotocol));
  offer.extended_next_hop = config.extended_next_hop;
  offer.route_refresh = offer.enhanced_refresh = offer.four_octet_as = true;
  if (config.restart_time == 0) return open;
  GracefulRestart& restart = offer.graceful_restart.emplace();
  restart.restarting = restarting;
  restart.notification = true;
  restart.restart_time = std::min<uint16_t>(config.restart_time, 0x0fff);
  restart.long_lived = true;
  for (size_t i = 0; i < kAfis; ++i) {
    if (config.families[i]) restart.families[i] = {true, kept, std::min<uint32_t>(config.llgr_time, 0xffffff)};
  }
  return open;
}

std::variant<Agreed, MessageError> agree(const SessionConfig& config, const Open& theirs, bool outgoing) {
  if (config.remote_as != 0 && theirs.asn != config.remote_as) {
    return error(ErrorCode::open, open_error::kPeerAs,
                 fmt::format("bad peer AS: they say {}, we expect {}", theirs.asn, config.remote_as));
  }
  const bool ebgp = theirs.asn != config.local_as;
  if (!ebgp && theirs.id == config.local_id) {  // between ASes it may be the same (RFC 6286)
    return error(ErrorCode::open, open_error::kIdentifier,
                 fmt::format("bad BGP identifier: they use ours, {}", IpAddr::v4(theirs.id).str()));
  }
  Agreed agreed;
  agreed.open = theirs;
  agreed.outgoing = outgoing;
  bool offered[kAfis];
  std::copy(std::begin(theirs.capabilities.multiprotocol), std::end(theirs.capabilities.multiprotocol), offered);
  // RFC 4760 section 8: an OPEN without any is for IPv4.
  if (!offered[0] && !offered[1] && !theirs.capabilities.other_families) offered[0] = true;
  for (size_t i = 0; i < kAfis; ++i) agreed.families[i] = offered[i] && config.families[i];
  if (!agreed.families[0] && !agreed.families[1]) {
    return error(ErrorCode::open, kUnsupportedCapability,
                 fmt::format("no family in common: they speak {}, we {}", families_text(offered),
                             families_text(config.families)),
                 wanted_families(config));
  }
  const Capabilities& offer = theirs.capabilities;
  agreed.traits = {.four_octet_as = offer.four_octet_as,
                   .extended_next_hop = offer.extended_next_hop && config.extended_next_hop,
                   .ebgp = ebgp,
                   .local_as = config.local_as};
  agreed.route_refresh = offer.route_refresh;
  agreed.enhanced_refresh = offer.enhanced_refresh && offer.route_refresh;
  agreed.hold_time = std::min(config.hold_time, theirs.hold_time);
  if (!offer.graceful_restart || config.restart_time == 0) return agreed;
  const GracefulRestart& restart = *offer.graceful_restart;
  agreed.long_lived = restart.long_lived;
  agreed.peer_restarting = restart.restarting;
  for (size_t i = 0; i < kAfis; ++i) {
    const auto& family = restart.families[i];
    agreed.kept[i] = agreed.families[i] && (family.offered || family.llgr_time > 0) && family.forwarding_kept;
  }
  return agreed;
}

bool keep_agreed(const Agreed& agreed, Update& update) {
  if (agreed.families[0] && agreed.families[1]) return true;
  const bool said = !says_nothing(update);
  for (const Afi afi : {Afi::v4, Afi::v6}) {
    if (agreed.families[static_cast<size_t>(afi)]) continue;
    drop_family(update.withdrawn, family_of(afi));
    drop_family(update.reachable, family_of(afi));
    drop_family(update.mp_reachable, family_of(afi));
    if (update.end_of_rib == afi) update.end_of_rib.reset();
  }
  if (update.reachable.empty() && !update.mp_reachable.empty()) {
    update.reachable = std::exchange(update.mp_reachable, {});
    if (update.attributes) {
      update.attributes->next_hop = update.mp_next_hop;
      update.attributes->link_local = update.mp_link_local;
    }
  }
  if (update.mp_reachable.empty()) update.mp_next_hop = update.mp_link_local = {};
  if (update.reachable.empty()) {
    update.attributes.reset();
    update.treat_as_withdraw.clear();
  }
  return !said || !says_nothing(update);
}

bool both_keep_by_notification(const SessionConfig& config, const Agreed& agreed) {
  const auto& theirs = agreed.open.capabilities.graceful_restart;
  return config.restart_time > 0 && theirs && theirs->notification;
}

Notification as_hard_reset(const Notification& notification) {
  const bool cease = notification.code == static_cast<uint8_t>(ErrorCode::cease);
  if (cease && (notification.subcode == kOtherChange || notification.subcode >= kOutOfResources)) return notification;
  Notification hard{static_cast<uint8_t>(ErrorCode::cease), kHardReset, {}};
  hard.data.resize(2 + notification.data.size());
  hard.data[0] = notification.code;
  hard.data[1] = notification.subcode;
  std::copy(notification.data.begin(), notification.data.end(), hard.data.begin() + 2);
  return hard;
}

bool is_hard_reset(const Notification& notification) {
  return notification.code == static_cast<uint8_t>(ErrorCode::cease) && notification.subcode == kHardReset;
}

}  // namespace knet::bgp
