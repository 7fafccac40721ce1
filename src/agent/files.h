// The files that join puts on a node: conflist and links for CNI, the systemd unit, rt_protos.d, what keeps
// NetworkManager and networkd off our devices. All are listed in installed.json; leave removes exactly those.
// One thread. A file that is not ours is never overwritten without `force`, and then a backup is kept.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "agent/node.h"

namespace knet {

struct FileSettings {
  std::filesystem::path root = "/";  // tests and images: everything below goes under it
  bool cni = true;
  bool cni_copy = false;  // --cni-link copy
  bool force = false;
  bool system = true;  // unit, rt_protos.d, NetworkManager and networkd drop-ins
  std::filesystem::path cni_bin_dir = "/opt/cni/bin";
  std::filesystem::path cni_conf_dir = "/etc/cni/net.d";
  std::string cni_conf_name = "05-knet.conflist";
  std::filesystem::path program;  // empty: this executable's file
};

struct CniReport {
  std::filesystem::path conflist;  // empty: none written
  std::filesystem::path bin_dir;
  size_t links = 0;
  std::string read_first;               // the conflist that a runtime reads first
  std::vector<std::string> read_after;  // the others, in their order
  std::vector<std::string> notices;
};

/// Conflist and links. Error{conflict} naming a real file in the way.
CniReport install_cni(const NodePaths& paths, const FileSettings& files);

struct SystemFiles {
  std::vector<std::string> written;  // whole paths, also those that were there already
  bool unit = false;                 // a systemd unit is in place, and systemd runs
};
/// Unit (where systemd runs), rt_protos.d, and the drop-ins for what is installed.
SystemFiles install_system(const NodePaths& paths, const FileSettings& files);

/// The network configs of a directory in the order in which a runtime reads them: .conf, .conflist, .json by name.
std::vector<std::string> cni_config_order(const std::filesystem::path& dir);

}  // namespace knet
