// `knet mode set` and `knet mode finish`: words and outputs. Only commands/mode.cpp calls them.
#pragma once

#include <string>
#include <vector>

#include "commands/common/flags.h"

namespace knet {

struct ModeChangeFlags {
  std::string mode;
  std::vector<std::string> options;
  bool wait = false;
  std::string timeout = "2m";
  bool force = false;
  bool dry_run = false;
};

int mode_set(const StoreOptions& store, const ModeChangeFlags& flags, const OutputFlag& output);
int mode_finish(const StoreOptions& store, const ModeChangeFlags& flags, const OutputFlag& output);

}  // namespace knet
