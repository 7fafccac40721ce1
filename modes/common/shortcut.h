// The shortcut of modes with plain routes: by the option Datapath, established TCP between pods' links and uplinks is
// carried past the stack (src/kernel/shortcut.h). Pure.
#pragma once

#include "core/mode.h"

namespace knet {

/// kernel: the stack forwards; bpf: what conntrack knows as established passes it by; auto: bpf where it runs and
/// conntrack is asked anyway, for masquerading.
inline constexpr std::string_view kShortcutDatapaths[] = {"auto", "bpf", "kernel"};
inline constexpr OptionSpec kShortcutOption = {
    "Datapath", OptionType::text,
    "auto",     0,
    0,          "kernel: the stack forwards every packet; bpf: established TCP past it; auto: bpf where it runs",
    true,       kShortcutDatapaths};

std::optional<std::string> shortcut_unsupported(const KernelFeatures& kernel, const NetworkConfig& config);
/// Nameless as long as the kernel was not asked.
Datapath shortcut_datapath(const KernelFeatures& kernel, const NetworkConfig& config);
/// On the uplinks and the pods' links.
void add_shortcuts(const ClusterView& view, const NetworkConfig& config, ModeState& out);

}  // namespace knet
