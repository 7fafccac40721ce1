// Store events, one a line: key, tab, value ("-key" is a delete, "!" lists anew all that stands). Followed event by
// event and listed at once, a membership must come out the same.
#include "core/membership.h"

#include <algorithm>
#include <map>

#include "base/text.h"
#include "core/mode.h"
#include "tests/fuzz/fuzz_target.h"

using namespace knet;

namespace {

bool same(const Membership& a, const Membership& b) {
  return a.nodes() == b.nodes() && a.reservations() == b.reservations() && a.config_json() == b.config_json() &&
         std::equal(a.leases().begin(), a.leases().end(), b.leases().begin(), b.leases().end(),
                    [](const Lease& x, const Lease& y) { return x.same_content(y) && x.rev == y.rev; });
}

std::vector<StoreEvent> listing(const std::map<std::string, StoreEvent>& store) {
  std::vector<StoreEvent> all;
  for (const auto& [key, event] : store) all.push_back(event);
  return all;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Membership followed(StorePaths{"/p"}, mode_registry());
  std::map<std::string, StoreEvent> store;
  Lease own;
  own.subnet = *Prefix::parse("10.5.1.0/24");
  Revision rev = 0;
  for (std::string_view line : split(fuzz::text(data, size), '\n')) {
    ++rev;
    if (line == "!") {
      followed.replace(listing(store), rev, own);
      continue;
    }
    StoreEvent event;
    event.rev = rev;
    event.deleted = line.starts_with('-');
    if (event.deleted) line.remove_prefix(1);
    const size_t tab = std::min(line.find('\t'), line.size());
    event.key = "/p/" + std::string(line.substr(0, tab));
    if (!event.deleted && tab < line.size()) event.value = line.substr(tab + 1);
    if (event.deleted) {
      store.erase(event.key);
    } else {
      store[event.key] = event;
    }
    followed.apply(event, own);
    fuzz::hold(std::is_sorted(followed.leases().begin(), followed.leases().end(), [](const Lease& a, const Lease& b) {
      return std::tie(a.subnet, a.subnet6) < std::tie(b.subnet, b.subnet6);
    }));
  }
  Membership listed(StorePaths{"/p"}, mode_registry());
  listed.replace(listing(store), rev, own);
  fuzz::hold(same(followed, listed));
  fuzz::hold(followed.problems() == listed.problems());
  ClusterView view;
  followed.fill(view);
  fuzz::hold(view.leases.size() == view.names.size());
  auto taken = followed.taken("n1"), taken_listed = listed.taken("n1");
  fuzz::hold(taken == taken_listed);
  return 0;
}
