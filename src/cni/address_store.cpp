#include "cni/address_store.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"

namespace knet {
namespace {

namespace fs = std::filesystem;

std::string boot_id() {
  const auto text = read_file("/proc/sys/kernel/random/boot_id", 128);
  const std::string id(text ? trim(*text) : std::string_view());
  return id.empty() ? "boot" : id;
}

std::optional<std::string> read_link(const fs::path& path) {
  std::array<char, 256> target{};
  const ssize_t size = ::readlink(path.c_str(), target.data(), target.size());
  if (size < 0) return std::nullopt;
  return std::string(target.data(), size);
}

const char* last_name(Family family) { return family == Family::v4 ? "last4" : "last6"; }

}  // namespace

AddressStore::AddressStore(const fs::path& ipam_dir) {
  make_directories(ipam_dir);
  lock_ = lock_file(ipam_dir / "lock");
  const std::string boot = boot_id();
  dir_ = ipam_dir / boot;
  if (fs::exists(dir_)) return;
  make_directories(dir_);
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(ipam_dir, ignored)) {
    if (entry.is_directory(ignored) && entry.path().filename() != boot) fs::remove_all(entry.path(), ignored);
  }
}

std::optional<std::string> AddressStore::holder(const IpAddr& address) const { return read_link(dir_ / address.str()); }

std::vector<std::pair<IpAddr, std::string>> AddressStore::held() const {
  std::vector<std::pair<IpAddr, std::string>> result;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(dir_, ignored)) {
    const auto address = IpAddr::parse(entry.path().filename().string());
    if (!address) continue;
    if (auto endpoint = read_link(entry.path())) result.emplace_back(*address, std::move(*endpoint));
  }
  std::sort(result.begin(), result.end());
  return result;
}

std::optional<IpAddr> AddressStore::last_taken(Family family) const {
  const auto text = read_link(dir_ / last_name(family));
  return text ? IpAddr::parse(*text) : std::nullopt;
}

bool AddressStore::claim(const IpAddr& address, const std::string& endpoint) {
  const fs::path path = dir_ / address.str();
  if (::symlink(endpoint.c_str(), path.c_str()) != 0) {
    if (errno == EEXIST) return false;
    throw_errno(errno, "hold address {} in {}", address.str(), dir_.string());
  }
  const fs::path last = dir_ / last_name(address.family());
  const fs::path fresh = dir_ / ".last";
  ::unlink(fresh.c_str());
  // Where the next search begins is a hint: losing it costs nothing but an early reuse.
  if (::symlink(address.str().c_str(), fresh.c_str()) == 0) ::rename(fresh.c_str(), last.c_str());
  return true;
}

IpAddr AddressStore::take(const Prefix& subnet, const std::string& endpoint) {
  const auto taken = held();
  for (const auto& [address, owner] : taken) {
    if (owner == endpoint && subnet.contains(address)) return address;
  }
  const IpAddr first = subnet.masked().addr().plus(2);
  const IpAddr end = subnet.last();
  if (!subnet.contains(first) || first >= end) {
    fail(ErrorKind::config, "subnet {} has no room for pods", subnet.str());
  }
  auto is_held = [&](const IpAddr& address) {
    const auto at = std::lower_bound(taken.begin(), taken.end(), address,
                                     [](const auto& entry, const IpAddr& wanted) { return entry.first < wanted; });
    return at != taken.end() && at->first == address;
  };
  const auto last = last_taken(subnet.family());
  IpAddr candidate = last && subnet.contains(*last) ? last->plus(1) : first;
  // Among one more candidate than there are holders one is free, unless the subnet is smaller than that.
  for (size_t tries = 0; tries <= taken.size() + 1; ++tries) {
    if (candidate < first || candidate >= end || !subnet.contains(candidate)) candidate = first;
    if (!is_held(candidate) && claim(candidate, endpoint)) return candidate;
    candidate = candidate.plus(1);
  }
  fail(ErrorKind::conflict, "all pod addresses of {} are held ({}); remove pods, or give nodes larger subnets",
       subnet.str(), taken.size());
}

void AddressStore::take(const Prefix& subnet, const IpAddr& address, const std::string& endpoint) {
  if (!subnet.contains(address))
    fail(ErrorKind::config, "the wanted address {} is not in this node's subnet {}", address.str(), subnet.str());
  if (claim(address, endpoint)) return;
  const auto owner = holder(address);
  if (owner == endpoint) return;
  fail(ErrorKind::conflict, "the wanted address {} is held by endpoint {}", address.str(), owner.value_or("?"));
}

std::vector<IpAddr> AddressStore::release(const std::string& endpoint) {
  std::vector<IpAddr> released;
  for (const auto& [address, owner] : held()) {
    if (owner != endpoint) continue;
    ::unlink((dir_ / address.str()).c_str());
    released.push_back(address);
  }
  return released;
}

}  // namespace knet
