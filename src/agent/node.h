// A node's own settings and files: the flags that join and agent share, and the paths of design.md 5. Values.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "core/uplink.h"
#include "store/store.h"

namespace knet {

struct NodePaths {
  std::filesystem::path state_dir = "/var/lib/knet";
  std::filesystem::path run_dir = "/run/knet";
  std::filesystem::path subnet_file;  // empty: run_dir/subnet.env (the flanneld applet: /run/flannel/subnet.env)

  std::filesystem::path subnet_env() const { return subnet_file.empty() ? run_dir / "subnet.env" : subnet_file; }
  /// There while this node runs no pods, and why: CNI refuses them.
  std::filesystem::path no_pods() const { return run_dir / "no-pods"; }
  /// There since a BGP speaker of this node ran in this boot: peers may hold its routes still.
  std::filesystem::path bgp_ran() const { return run_dir / "bgp-ran"; }
  std::filesystem::path endpoints() const { return run_dir / "endpoints"; }
  std::filesystem::path agent_socket() const { return run_dir / "agent.sock"; }    // root and group knet; full
  std::filesystem::path status_socket() const { return run_dir / "status.sock"; }  // read-only, for all
  std::filesystem::path node_name() const { return state_dir / "node-name"; }
  std::filesystem::path machine_id() const { return state_dir / "machine-id"; }  // where /etc/machine-id won't do
  std::filesystem::path node_file() const { return state_dir / "node.json"; }    // NodeSettings as enrolled
  std::filesystem::path wireguard_key() const { return state_dir / "wg.key"; }   // private: 0600
  std::filesystem::path view_cache() const { return state_dir / "view.cache"; }
  std::filesystem::path ipam() const { return state_dir / "ipam"; }
  std::filesystem::path installed() const { return state_dir / "installed.json"; }
};

/// What the user chose for this node; saved by join in node.json (never secrets), read by a later agent.
struct NodeSettings {
  StoreOptions store;
  std::string name;  // empty: persisted one, else the host's name
  UplinkSelector uplink;
  bool masquerade = true;      // and the cluster's config says so too
  bool forward_accept = true;  // --no-forward-accept clears it
  bool lower_rp_filter = true;
  bool pods = true;
};

/// The settings as last enrolled; nothing if this node never was. Throws Error{config} naming the file if it is
/// damaged.
std::optional<NodeSettings> load_node_settings(const NodePaths& paths);
void save_node_settings(const NodePaths& paths, const NodeSettings& settings);

/// The name given, else the persisted one, else the host's name in lower case; checked. Throws Error{usage}.
std::string resolve_node_name(const NodePaths& paths, const std::string& given);
/// <state-dir>/machine-id, else /etc/machine-id, else a new one; `keep` writes a new one down.
std::string resolve_machine_id(const NodePaths& paths, bool keep);

/// 16 hex out of the kernel's boot id and this network namespace: the same over restarts of the agent, another one after
/// a reboot and on a clone of the machine. "" if they can't be read.
std::string machine_instance();

/// The words of a `knet agent` line that runs this node with these paths and settings; never a secret.
std::string agent_line(const NodePaths& paths, const NodeSettings& settings);

}  // namespace knet
