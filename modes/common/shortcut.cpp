#include "modes/common/shortcut.h"

#include "modes/common/plain.h"

namespace knet {

namespace {

bool was_asked(const KernelFeatures& kernel) {
  return kernel.known && (kernel.shortcut || !kernel.shortcut_why.empty());
}

}  // namespace

std::optional<std::string> shortcut_unsupported(const KernelFeatures& kernel, const NetworkConfig& config) {
  if (!was_asked(kernel) || kernel.shortcut || config.option_text(kDatapathOption, "auto") != "bpf")
    return std::nullopt;
  return "Datapath bpf is refused: " + kernel.shortcut_why;
}

Datapath shortcut_datapath(const KernelFeatures& kernel, const NetworkConfig& config) {
  const std::string wanted = config.option_text(kDatapathOption, "auto");
  if (wanted != "auto") return {wanted == "bpf" ? "bpf" : "kernel", "by Datapath"};
  if (!was_asked(kernel)) return {};
  if (!kernel.shortcut) return {"kernel", "no shortcut: " + kernel.shortcut_why};
  if (!config.masquerade) return {"kernel", "without masquerading conntrack is not asked; Datapath=bpf has it asked"};
  return {"bpf", "established TCP passes the stack by"};
}

void add_shortcuts(const ClusterView& view, const NetworkConfig& config, ModeState& out) {
  const Datapath path = shortcut_datapath(view.self.kernel, config);
  if (path.name.empty()) return out.hold(Kind::shortcut);  // those of an agent before us stay until it is known
  if (path.name != "bpf") return;
  Shortcut shortcut;
  for (const Family family : {Family::v4, Family::v6}) {
    const Uplink& uplink = uplink_of(view.self, family);
    if (!enabled(config, family) || !uplink.dev || uplink.dev == shortcut.dev) continue;
    shortcut.dev = uplink.dev;
    out.add(shortcut);
  }
  for (const Endpoint& endpoint : view.endpoints) {
    shortcut.dev = endpoint.host_dev;
    out.add(shortcut);
  }
  // What nobody tracks, nobody knows as established.
  if (!config.masquerade) out.add(NftHook::forward, {"track", {NftEstablished{}, NftAccept{}}});
}

}  // namespace knet
