#include "store/etcd_store.h"

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/text.h"
#include "store/etcd_error.h"
#include "store/etcd_wire.h"
#include "store/key_range.h"

namespace knet {

namespace {

using Repeat = EtcdChannel::Repeat;
constexpr int64_t kPage = 500;  // some 170 kB of leases

}  // namespace

EtcdStore::EtcdStore(EtcdSettings settings)
    : settings_(std::move(settings)), where_(join(settings_.endpoints, ",")), calls_(settings_), watch_(settings_) {}

std::optional<KeyValue> EtcdStore::get(const std::string& key) {
  etcd::RangeAnswer answer = etcd::parse_range(calls_.call("/v3/kv/range", etcd::get_request(key), Repeat::safe));
  if (answer.items.empty()) return {};
  return std::move(answer.items.front());
}

Listing EtcdStore::list(const std::string& prefix) {
  for (int tries = 0;; ++tries) {
    Listing listing;
    try {
      listing.rev = for_each(prefix, [&](KeyValue&& item) { listing.items.push_back(std::move(item)); });
      return listing;
    } catch (const EtcdRefusal& refusal) {
      // Compacted away between two pages.
      if (!refusal.compacted() || tries == 3) throw;
    }
  }
}

Revision EtcdStore::for_each(const std::string& prefix, const std::function<void(KeyValue&&)>& visit) {
  std::string from = prefix.empty() ? std::string(1, '\0') : prefix, end = prefix_end(prefix);
  Revision rev = 0;
  for (int64_t limit = kPage;;) {
    etcd::RangeAnswer page;
    try {
      page = etcd::parse_range(calls_.call("/v3/kv/range", etcd::range_request(from, end, limit, rev), Repeat::safe));
    } catch (const EtcdRefusal& refusal) {
      if (refusal.said != "too large" || limit == 1) throw;
      limit = std::max<int64_t>(1, limit / 8);
      continue;
    }
    if (rev == 0) rev = page.rev;
    for (KeyValue& item : page.items) {
      if (item.key < from || item.key >= end)
        fail(ErrorKind::store, "{}: answered with a key that was not asked for: {}", where_, printable(item.key));
      from = item.key + '\0';
      visit(std::move(item));
    }
    if (!page.more || page.items.empty()) return rev;
  }
}

std::optional<Revision> EtcdStore::create(const std::string& key, const std::string& value, LeaseId lease) {
  return commit({{Change::What::create, key, value, 0, lease}});
}

std::optional<Revision> EtcdStore::swap(const std::string& key, const std::string& value, Revision expected, LeaseId lease) {
  return commit({{Change::What::swap, key, value, expected, lease}});
}

bool EtcdStore::remove(const std::string& key, Revision expected) {
  return commit({{Change::What::remove, key, "", expected, 0}}).has_value();
}

std::optional<Revision> EtcdStore::commit(const std::vector<Change>& changes) {
  for (const Change& change : changes)
    if (change.what == Change::What::swap && change.expected == 0) return {};
  try {
    etcd::CommitAnswer answer = etcd::parse_commit(calls_.call("/v3/kv/txn", etcd::commit_request(changes), Repeat::unsafe));
    if (!answer.succeeded) return {};
    return answer.rev;
  } catch (const EtcdRefusal& refusal) {
    if (!refusal.no_such_lease()) throw;
    fail(ErrorKind::store, "{}: {}: its TTL lease has ended; take a new one", where_, changes.front().key);
  }
}

LeaseId EtcdStore::grant(std::chrono::seconds ttl) {
  etcd::LeaseAnswer answer = etcd::parse_lease_answer(calls_.call("/v3/lease/grant", etcd::grant_request(ttl), Repeat::safe));
  if (answer.id == 0) fail(ErrorKind::store, "{}: granted a lease without an id", where_);
  return answer.id;
}

bool EtcdStore::keep_alive(LeaseId lease) {
  return etcd::parse_lease_answer(calls_.call("/v3/lease/keepalive", etcd::lease_request(lease), Repeat::safe)).ttl > 0;
}

void EtcdStore::revoke(LeaseId lease) {
  try {
    calls_.call("/v3/lease/revoke", etcd::lease_request(lease), Repeat::safe);
  } catch (const EtcdRefusal& refusal) {
    if (!refusal.no_such_lease()) throw;
  }
}

std::optional<std::chrono::seconds> EtcdStore::time_left(LeaseId lease) {
  etcd::LeaseAnswer answer = etcd::parse_lease_answer(calls_.call("/v3/lease/timetolive", etcd::lease_request(lease), Repeat::safe));
  if (answer.ttl < 0 || (answer.ttl == 0 && answer.id == 0)) return {};
  return std::chrono::seconds(answer.ttl);
}

}  // namespace knet
