#include "core/rollover.h"

#include <algorithm>

namespace knet {

bool is_earlier(const NetworkConfig& config, std::string_view mode) {
  return std::any_of(config.earlier.begin(), config.earlier.end(),
                     [&](const auto& earlier) { return earlier.first == mode; });
}

const std::string& Rollover::to_announce(const NetworkConfig& config, const std::string& current, bool stands) {
  return stands || current.empty() || !is_earlier(config, current) ? config.mode : current;
}

std::vector<Rollover::Entry> Rollover::entries(std::vector<ReceivedMode> kept) {
  std::vector<Entry> made;
  for (ReceivedMode& mode : kept) made.push_back({std::move(mode), std::nullopt});
  return made;
}

void Rollover::announced(const std::string& before, const std::string& now, Revision rev, int64_t unix_now) {
  // Who has not heard yet may send by any mode that we ever announced since: each counts from its own last day.
  std::erase_if(received_, [&](const Entry& entry) { return entry.what.mode == now || entry.what.mode == before; });
  if (!before.empty() && before != now) received_.push_back({{before, rev, unix_now}, std::nullopt});
}

void Rollover::went_back(Revision rev) {
  for (Entry& entry : received_) {
    entry.what.rev = std::min(entry.what.rev, rev);
    entry.seen_at.reset();
  }
}

std::vector<std::string> Rollover::reap(const NetworkConfig& config, Revision seen_by_all, Time now) {
  std::vector<std::string> gone;
  std::erase_if(received_, [&](Entry& entry) {
    if (seen_by_all < entry.what.rev)
      entry.seen_at.reset();
    else if (!entry.seen_at)
      entry.seen_at = now;
    const bool over = !is_earlier(config, entry.what.mode) || (entry.seen_at && now >= *entry.seen_at + kAfterSeen);
    if (over) gone.push_back(entry.what.mode);
    return over;
  });
  return gone;
}

std::optional<Rollover::Time> Rollover::due() const {
  std::optional<Time> first;
  for (const Entry& entry : received_)
    if (entry.seen_at) first = first ? std::min(*first, *entry.seen_at + kAfterSeen) : *entry.seen_at + kAfterSeen;
  return first;
}

std::vector<ReceivedMode> Rollover::received() const {
  std::vector<ReceivedMode> out;
  for (const Entry& entry : received_) out.push_back(entry.what);
  return out;
}

std::vector<std::string> Rollover::modes() const {
  std::vector<std::string> out;
  for (const Entry& entry : received_) out.push_back(entry.what.mode);
  return out;
}

Revision Rollover::awaited() const {
  Revision latest = 0;
  for (const Entry& entry : received_) latest = std::max(latest, entry.what.rev);
  return latest;
}

}  // namespace knet
