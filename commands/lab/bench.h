// `knet lab bench`: its words, and what it prints. Only commands/lab.cpp calls it.
#pragma once

#include <string>

#include "commands/common/flags.h"
#include "lab/bench_plan.h"

namespace knet {

struct BenchFlags {
  BenchWords words;
  std::string svg;  // a file for the picture
  bool dry_run = false;
};

CLI::App* declare_bench(CLI::App& noun, BenchFlags& flags);
int lab_bench(const BenchFlags& flags, const OutputFlag& output);

}  // namespace knet
