// AS_PATH of two-octet speakers and AS4_PATH joined (RFC 6793 4.2.3).
#include "bgp/message_attributes.h"

namespace knet::bgp {
namespace {

constexpr size_t kLongestSegment = 255;

}  // namespace

std::vector<AsSegment> merge_as4_path(const std::vector<AsSegment>& path, const std::vector<AsSegment>& as4_path) {
  const int have = path_length(path), tail = path_length(as4_path);
  if (have < tail) return path;  // AS4_PATH was not kept up with: not to be believed
  std::vector<AsSegment> merged;
  size_t missing = static_cast<size_t>(have - tail);
  for (const AsSegment& segment : path) {
    if (is_confederation(segment)) {
      merged.push_back(segment);  // leading, or next to one that was taken whole
      continue;
    }
    if (missing == 0) break;
    if (segment.type == AsSegment::Type::set || segment.asns.size() <= missing) {
      missing -= segment.type == AsSegment::Type::set ? 1 : segment.asns.size();
      merged.push_back(segment);
      continue;
    }
    merged.push_back({segment.type, {segment.asns.begin(), segment.asns.begin() + static_cast<long>(missing)}});
    break;
  }
  auto rest = as4_path.begin();
  if (!merged.empty() && rest != as4_path.end() && merged.back().type == AsSegment::Type::sequence &&
      rest->type == AsSegment::Type::sequence && merged.back().asns.size() + rest->asns.size() <= kLongestSegment) {
    merged.back().asns.insert(merged.back().asns.end(), rest->asns.begin(), rest->asns.end());
    ++rest;
  }
  merged.insert(merged.end(), rest, as4_path.end());
  return merged;
}

}  // namespace knet::bgp
