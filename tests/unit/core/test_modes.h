// A small registry of modes with options of every type, for tests of values; none of them plans anything.
#pragma once

#include "base/error.h"
#include "base/text.h"
#include "core/config.h"
#include "core/lease.h"
#include "core/mode.h"

namespace knet::test {

class OptionsMode : public Mode {
 public:
  OptionsMode(std::string_view name, std::span<const OptionSpec> options, bool v6)
      : name_(name), options_(options), v6_(v6) {}
  std::string_view name() const override { return name_; }
  std::string_view summary() const override { return "for tests"; }
  std::string_view description() const override { return "for tests"; }
  std::span<const OptionSpec> options() const override { return options_; }
  std::span<const std::string_view> ignored_options() const override {
    static constexpr std::string_view kIgnored[]{"GBP", "Learning", "MacPrefix", "Name"};
    return name_ == "vxlan" ? kIgnored : std::span<const std::string_view>{};
  }
  bool carries(Family family) const override { return family == Family::v4 || v6_; }
  std::optional<std::string> unsupported(const KernelFeatures&, const NetworkConfig&) const override { return std::nullopt; }
  void validate(const NetworkConfig& config) const override {
    if (config.option_int("MTU", 0) == 666) fail(ErrorKind::config, "MTU 666 is cursed");
  }
  ModeMtu mtu(const NetworkConfig&, const LocalNode&) const override { return {}; }
  LeaseData announce(const NetworkConfig&, const LocalNode&) const override { return {}; }
  void check_peer(const Lease& lease) const override {
    if (name_ == "vxlan" && lease.data.v4.find("VtepMAC") == std::string::npos && lease.data.v6.empty()) {
      fail(ErrorKind::config, "BackendData has no VtepMAC");
    }
  }
  void desired(const ClusterView&, const NetworkConfig&, PeerSpan, Receive, ModeState&) const override {}

 private:
  std::string_view name_;
  std::span<const OptionSpec> options_;
  bool v6_;
};

inline const ModeRegistry& modes() {
  static constexpr OptionSpec kVxlan[]{
      {"DirectRouting", OptionType::boolean, "false", 0, 0, "", false},
      {"MTU", OptionType::integer, "0", 0, 65535, "", true},
      {"Note", OptionType::text, "", 0, 0, "", true},
      {"Port", OptionType::integer, "8472", 1, 65535, "", false},
      {"VNI", OptionType::integer, "1", 1, 16777215, "", false},
  };
  static const OptionsMode alloc("alloc", {}, true), host_gw("host-gw", {}, true), udp("udp", {}, false),
      vxlan("vxlan", kVxlan, true);
  static const Mode* const kAll[]{&alloc, &host_gw, &udp, &vxlan};
  static const ModeRegistry registry(kAll);
  return registry;
}

/// The text of the Error that `work` throws; "no error" if none. `kind` gets its kind.
template <typename Work>
std::string error_of(Work&& work, ErrorKind* kind = nullptr) {
  try {
    work();
  } catch (const Error& error) {
    if (kind != nullptr) *kind = error.kind;
    return error.text;
  }
  return "no error";
}

}  // namespace knet::test
