// /etc/knet/knet.toml as CLI11's configuration: values for flags that were given neither on the command line nor by the
// environment. Above the first section: flags that commands share; in [COMMAND]: flags of that one. Flags that force,
// confirm or dry-run are never taken from it.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "commands/common/cli.h"

namespace knet {

class ConfigFile : public CLI::ConfigBase {
 public:
  /// Adds --config-file (or KNET_CONFIG_FILE) to the command, after all its flags were declared, and makes it read.
  static std::shared_ptr<ConfigFile> attach(CLI::App& app, const Command& command);

  std::vector<CLI::ConfigItem> from_config(std::istream& input) const override;

  /// What is wrong with the file, if anything: told after --help had its chance.
  const std::optional<std::string>& error() const { return error_; }
  /// As given, else the default one.
  std::string path() const;
  /// "/etc/knet/knet.toml line 4" if the file gave this option ("--network") its value; else empty.
  std::string place_of(const std::string& option) const;

 private:
  ConfigFile(CLI::App& app, const Command& command) : app_(app), command_(command) {}
  std::vector<CLI::ConfigItem> read(const std::string& text) const;

  CLI::App& app_;
  const Command& command_;
  CLI::Option* option_ = nullptr;
  mutable std::map<std::string, std::string> places_;
  mutable std::optional<std::string> error_;
};

}  // namespace knet
