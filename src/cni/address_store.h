// The pods' addresses of this node's subnet: which endpoint holds which. One symbolic link per address in
// <state-dir>/ipam/<boot id>/ ("10.244.1.2" -> endpoint id): made and removed atomically by one system call, readable
// by `ls -l`. Pods do not outlive a boot, so another boot's folder is void and is removed. A lock file keeps processes
// apart.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/ip.h"

namespace knet {

class AddressStore {
 public:
  /// Waits for the lock (Error{kernel} after 10 s); holds it for the object's life.
  explicit AddressStore(const std::filesystem::path& ipam_dir);

  /// The next free host address of the subnet after the last one given out, so that an address rests before it is used
  /// again; never the network's, the first (subnet.env's gateway, a bridge may own it) or the last. The endpoint that
  /// holds one in this subnet already gets the same. Error{conflict} naming the subnet when all are held.
  IpAddr take(const Prefix& subnet, const std::string& endpoint);
  /// Exactly this one. Error{conflict} naming the holder, Error{config} if it is outside.
  void take(const Prefix& subnet, const IpAddr& address, const std::string& endpoint);
  /// Gives back all that the endpoint holds.
  std::vector<IpAddr> release(const std::string& endpoint);
  std::optional<std::string> holder(const IpAddr& address) const;
  /// All held addresses with their endpoints, sorted by address.
  std::vector<std::pair<IpAddr, std::string>> held() const;

 private:
  std::optional<IpAddr> last_taken(Family family) const;
  bool claim(const IpAddr& address, const std::string& endpoint);

  std::filesystem::path dir_;
  Fd lock_;
};

}  // namespace knet
