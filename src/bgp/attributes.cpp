#include "bgp/attributes.h"

#include <algorithm>
#include <random>
#include <string_view>
#include <unordered_map>

namespace knet::bgp {
namespace {

/// A keyed hash of what is written into it: peers choose attributes, and must not be able to choose collisions.
class Mixer {
 public:
  explicit Mixer(uint64_t key) : state_(key) {}
  void add(uint64_t value) {
    // The product's halves folded: each bit of the input moves both.
    const auto wide = static_cast<unsigned __int128>(state_ ^ value) * 0x9e3779b97f4a7c15ULL;
    state_ = static_cast<uint64_t>(wide) ^ static_cast<uint64_t>(wide >> 64) ^ key_;
    key_ += 0xd1342543de82ef95ULL;
  }
  void add_bytes(const uint8_t* at, size_t count) {
    add(count);
    for (; count >= 8; at += 8, count -= 8) {
      uint64_t word;
      std::copy_n(at, 8, reinterpret_cast<uint8_t*>(&word));
      add(word);
    }
    uint64_t last = 0;
    std::copy_n(at, count, reinterpret_cast<uint8_t*>(&last));
    add(last);
  }
  uint64_t value() const { return state_; }

 private:
  uint64_t state_;
  uint64_t key_ = 0x2545f4914f6cdd1dULL;
};

template <typename T>
void add_words(Mixer& mixer, const std::vector<T>& values) {
  mixer.add_bytes(reinterpret_cast<const uint8_t*>(values.data()), values.size() * sizeof(T));
}

void add_address(Mixer& mixer, const IpAddr& address) {
  mixer.add(static_cast<uint64_t>(address.family()));
  mixer.add_bytes(address.data(), address.size());
}

uint64_t hash_of(const Attributes& a, uint64_t key) {
  Mixer mixer(key);
  // A field that is missing differs from one that is 0.
  mixer.add(static_cast<uint64_t>(a.origin) | uint64_t{a.atomic_aggregate} << 8 | uint64_t{a.med.has_value()} << 9 |
            uint64_t{a.local_pref.has_value()} << 10 | uint64_t{a.aggregator.has_value()} << 11 |
            uint64_t{a.originator_id.has_value()} << 12);
  mixer.add(uint64_t{a.med.value_or(0)} << 32 | a.local_pref.value_or(0));
  const Aggregator aggregator = a.aggregator.value_or(Aggregator{});
  mixer.add(uint64_t{aggregator.asn} << 32 | aggregator.id);
  mixer.add(a.originator_id.value_or(0));
  for (const AsSegment& segment : a.as_path) {
    mixer.add(static_cast<uint64_t>(segment.type));
    add_words(mixer, segment.asns);
  }
  add_address(mixer, a.next_hop);
  add_address(mixer, a.link_local);
  add_words(mixer, a.communities);
  add_words(mixer, a.large_communities);
  add_words(mixer, a.extended_communities);
  add_words(mixer, a.cluster_list);
  for (const UnknownAttribute& unknown : a.unknown) {
    mixer.add(uint64_t{unknown.flags} << 8 | unknown.type);
    add_words(mixer, unknown.value);
  }
  return mixer.value();
}

uint64_t random_key() {
  std::random_device device;
  return uint64_t{device()} << 32 | device();
}

struct Key {
  const Attributes* attributes;
  uint64_t hash;
  bool operator==(const Key& other) const {
    return attributes == other.attributes || (hash == other.hash && *attributes == *other.attributes);
  }
};
struct KeyHash {
  size_t operator()(const Key& key) const { return key.hash; }
};

}  // namespace

int path_length(const std::vector<AsSegment>& path) {
  size_t length = 0;
  for (const AsSegment& segment : path) {
    if (segment.type == AsSegment::Type::sequence) length += segment.asns.size();
    if (segment.type == AsSegment::Type::set) ++length;
  }
  return static_cast<int>(length);
}

bool Attributes::path_has(Asn asn) const {
  return std::any_of(as_path.begin(), as_path.end(), [&](const AsSegment& segment) {
    return std::find(segment.asns.begin(), segment.asns.end(), asn) != segment.asns.end();
  });
}

Asn Attributes::neighbor_as() const {
  for (const AsSegment& segment : as_path) {
    if (segment.type == AsSegment::Type::sequence && !segment.asns.empty()) return segment.asns.front();
    // Which one of a set it was is not told (RFC 4271 9.1.2.2 c).
    if (segment.type == AsSegment::Type::set) return 0;
  }
  return 0;
}

struct AttributeTable::State {
  uint64_t key = random_key();
  std::unordered_map<Key, std::weak_ptr<const Attributes>, KeyHash> sets;
};

AttributeTable::AttributeTable() : state_(std::make_shared<State>()) {}
AttributeTable::~AttributeTable() = default;

AttrRef AttributeTable::intern(Attributes attributes) {
  const uint64_t hash = hash_of(attributes, state_->key);
  if (const auto found = state_->sets.find(Key{&attributes, hash}); found != state_->sets.end()) {
    return found->second.lock();
  }
  const AttrRef made(new Attributes(std::move(attributes)), [state = state_, hash](const Attributes* gone) {
    state->sets.erase(Key{gone, hash});
    delete gone;
  });
  state_->sets.emplace(Key{made.get(), hash}, made);
  return made;
}

size_t AttributeTable::size() const { return state_->sets.size(); }

}  // namespace knet::bgp
