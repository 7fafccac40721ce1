// alloc: a subnet for each node, and nothing else; somebody else routes.
#include "modes/common/plain.h"

namespace knet {

namespace {

class Alloc : public Mode {
 public:
  std::string_view name() const override { return "alloc"; }
  std::string_view summary() const override { return "subnets only; nothing is routed"; }
  std::string_view description() const override {
    return "Each node takes a subnet and holds its lease; no device, no route to peers. For networks that already "
           "route "
           "the pods' addresses, or where another program does it. The own subnet's blackhole route, pods' host routes "
           "and masquerading are as in every mode.";
  }
  std::span<const OptionSpec> options() const override { return {}; }
  bool carries(Family) const override { return true; }
  bool moves_packets() const override { return false; }
  std::optional<std::string> unsupported(const KernelFeatures&, const NetworkConfig&) const override { return std::nullopt; }
  ModeMtu mtu(const NetworkConfig& config, const LocalNode& self) const override { return plain_mtu(config, self); }
  LeaseData announce(const NetworkConfig&, const LocalNode&) const override { return {"alloc", {}}; }
  void desired(const ClusterView&, const NetworkConfig&, PeerSpan, Receive, ModeState&) const override {}
};

}  // namespace

const Mode& alloc_mode() {
  static const Alloc mode;
  return mode;
}

}  // namespace knet
