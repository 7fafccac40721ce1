// The flags that commands share, each group with its environment names. A group is declared on the command's App, lives
// as long as the action, and is asked for values afterwards; what was not given comes from the node's saved settings.
// Knows CLI11 by name only: files that declare words of their own include commands/common/cli.h.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/node.h"
#include "base/error.h"
#include "base/log.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace knet {

/// Names (without --) that knet.toml may set above its sections.
const std::vector<std::string>& shared_flags();
bool is_shared_flag(std::string_view name);

/// --state-dir, --run-dir.
class PathFlags {
 public:
  void declare(CLI::App& app);
  NodePaths paths() const;

 private:
  std::string state_dir_, run_dir_;
};

/// --store, --prefix, --cert, --key, --cacert, --user, --password-file, --timeout.
class StoreFlags {
 public:
  void declare(CLI::App& app);
  /// Given values over `base`. Throws Error{usage} for a --timeout that is none.
  StoreOptions over(const StoreOptions& base) const;
  /// Over the settings that this node joined with, else over the embedded default.
  StoreOptions options(const NodePaths& paths) const;
  bool given() const;

 private:
  std::string url_, prefix_, cert_, key_, cacert_, user_, password_file_, timeout_;
  std::vector<const CLI::Option*> options_;
};

/// What join and agent share: which address, which name, what the node does.
class NodeFlags {
 public:
  void declare(CLI::App& app);
  /// Given values over `base`; any flag that chooses the address replaces the whole choice. `--iface auto` clears it.
  NodeSettings over(NodeSettings base) const;
  bool given() const;

 private:
  std::string name_, can_reach_, public_ip_, public_ip6_;
  std::vector<std::string> ifaces_, iface_regexes_;
  bool no_masquerade_ = false, no_forward_accept_ = false, keep_rp_filter_ = false, no_pods_ = false;
  std::vector<const CLI::Option*> choosing_, others_;
  const CLI::Option *masquerade_option_ = nullptr, *forward_option_ = nullptr, *rp_filter_option_ = nullptr,
                    *pods_option_ = nullptr;
};

enum class Output { table, wide, json, ip };

/// -o, --output.
class OutputFlag {
 public:
  /// `ip` besides table, wide and json.
  void declare(CLI::App& app, bool with_ip = false);
  Output format() const;
  bool json() const { return format() == Output::json; }
  bool wide() const { return format() == Output::wide; }

 private:
  std::string word_ = "table";
};

/// --log LEVEL (KNET_LOG). Sets the level when the words are parsed; `otherwise` holds until then.
void declare_log(CLI::App& app, log::Level otherwise = log::Level::warning);

/// What nouns over the cluster begin with: the store, this node's files, how to print, what to log.
struct CommonFlags {
  StoreFlags store;
  PathFlags paths;
  OutputFlag output;

  void declare_common(CLI::App& app, bool with_ip = false);
  StoreOptions store_options() const { return store.options(paths.paths()); }
};

/// Whether the option was given at all, by words, environment or file.
bool given(const CLI::Option* option);

/// A duration typed for `flag`. Throws Error{usage}.
std::chrono::milliseconds duration_of(std::string_view flag, std::string_view text);
/// A whole number typed for `flag`, in these bounds. Throws Error{usage}.
uint64_t number_of(std::string_view flag, std::string_view text, uint64_t least, uint64_t most);
/// An AS number as "65001" or "1.10" (RFC 5396). Throws Error{usage} for one that no speaker may have (RFC 7607, 7300, 6793).
uint32_t asn_of(std::string_view flag, std::string_view text);
/// An address typed for `flag`, of that family unless none. Throws Error{usage}.
IpAddr address_of(std::string_view flag, std::string_view text, Family family = Family::none);

}  // namespace knet
