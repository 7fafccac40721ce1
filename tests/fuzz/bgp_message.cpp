// What a BGP peer sends. Whatever comes is answered without a throw; what was understood says the same after it was
// encoded and decoded again; texts for the log have no control characters.
// Input: a byte of session traits (8: the rest is the body of a message of the type in the next byte), then the
// message.
#include <algorithm>
#include <cstdint>
#include <vector>

#include "bgp/message.h"
#include "tests/fuzz/fuzz_target.h"

using namespace knet;
using namespace knet::bgp;

namespace {

void hold_printable(const std::string& text) {
  fuzz::hold(!text.empty() && text.size() < 2000);
  fuzz::hold(std::none_of(text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }));
}

bool has_confederation(const Attributes& attributes) {
  return std::any_of(attributes.as_path.begin(), attributes.as_path.end(), [](const AsSegment& segment) {
    return segment.type == AsSegment::Type::confed_sequence || segment.type == AsSegment::Type::confed_set;
  });
}

/// Prefixes with their attributes, sent on to a peer of the same kind.
void send_on(const std::vector<Prefix>& prefixes, const Attributes& attributes, const SessionTraits& traits) {
  // AS4_PATH has no confederation segments (RFC 6793 section 3): such a path comes back without them.
  if (prefixes.empty() || (!traits.four_octet_as && has_confederation(attributes))) return;
  const Afi afi = prefixes.front().is_v4() ? Afi::v4 : Afi::v6;
  std::vector<uint8_t> out;
  if (encode_reach(afi, prefixes, attributes, traits, out) == 0) return;  // no room: AS numbers grew
  std::vector<Prefix> back;
  for (Bytes rest = out; !rest.empty();) {
    const auto length = message_length(rest);
    fuzz::hold(std::holds_alternative<size_t>(length) && std::get<size_t>(length) <= rest.size());
    const Message message = decode(rest.first(std::get<size_t>(length)), traits);
    rest = rest.subspan(std::get<size_t>(length));
    fuzz::hold(std::holds_alternative<Update>(message));
    const auto& update = std::get<Update>(message);
    fuzz::hold(update.treat_as_withdraw.empty() && update.discarded.empty() && update.attributes == attributes);
    back.insert(back.end(), update.reachable.begin(), update.reachable.end());
  }
  fuzz::hold(back == prefixes);
}

void check(const Update& update, const SessionTraits& traits) {
  const bool routes = !update.reachable.empty();
  fuzz::hold(routes || update.mp_reachable.empty());
  fuzz::hold(routes == (update.attributes.has_value() || !update.treat_as_withdraw.empty()));
  fuzz::hold(!update.end_of_rib || (!routes && update.withdrawn.empty()));
  for (const auto* prefixes : {&update.withdrawn, &update.reachable, &update.mp_reachable}) {
    fuzz::hold(prefixes->size() <= kMaxMessage);
    for (const Prefix& prefix : *prefixes) fuzz::hold(prefix && prefix.is_masked());
  }
  for (const std::string& text : update.discarded) hold_printable(text);
  if (!update.treat_as_withdraw.empty()) hold_printable(update.treat_as_withdraw);
  if (!update.attributes) return;
  send_on(update.reachable, *update.attributes, traits);
  Attributes other = *update.attributes;
  other.next_hop = update.mp_next_hop;
  other.link_local = update.mp_link_local;
  send_on(update.mp_reachable, other, traits);
  AttributeTable table;
  fuzz::hold(table.intern(*update.attributes) == table.intern(*update.attributes));
}

template <typename T>
void check_back(const T& value, const SessionTraits& traits) {
  const auto bytes = encode(value);
  fuzz::hold(bytes.size() <= kMaxMessage);
  const Message back = decode(bytes, traits);
  fuzz::hold(std::holds_alternative<T>(back) && std::get<T>(back) == value);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const uint8_t bits = data[0];
  const SessionTraits traits{
      .four_octet_as = (bits & 1) == 0, .extended_next_hop = (bits & 2) != 0, .ebgp = (bits & 4) != 0};
  std::vector<uint8_t> bytes;
  if (bits & 8) {
    const size_t length = std::min(size - 2, kMaxMessage - kHeaderSize);
    bytes.assign(16, 0xff);
    bytes.push_back(static_cast<uint8_t>((kHeaderSize + length) >> 8));
    bytes.push_back(static_cast<uint8_t>(kHeaderSize + length));
    bytes.push_back(data[1]);
    bytes.insert(bytes.end(), data + 2, data + 2 + length);
  } else {
    bytes.assign(data + 1, data + size);
  }
  (void)message_length(bytes);
  const Message message = decode(bytes, traits);
  if (const auto* update = std::get_if<Update>(&message)) check(*update, traits);
  if (const auto* refresh = std::get_if<RouteRefresh>(&message)) check_back(*refresh, traits);
  if (const auto* notification = std::get_if<Notification>(&message)) {
    hold_printable(describe(*notification));
    check_back(*notification, traits);
  }
  if (const auto* error = std::get_if<MessageError>(&message)) {
    hold_printable(error->why);
    hold_printable(describe(error->notification));
    check_back(error->notification, traits);
  }
  if (const auto* open = std::get_if<Open>(&message)) {
    Open known = *open;
    known.capabilities.unknown.clear();
    check_back(known, traits);
  }
  return 0;
}
