// What `knet lab bench` measures: the words, the paths that they and this kernel allow, and why others are left out.
// Pure values.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "core/mode.h"
#include "lab/lab.h"

namespace knet {

struct BenchWords {
  std::vector<std::string> modes;      // "vxlan", "udp/user"; empty: all
  std::vector<std::string> options;    // "Key=Value", for each mode that knows the key
  double seconds = 1;                  // of one measurement
  int rounds = 5;
  std::string masquerade = "on";       // "off", "both"
  bool v6 = false;                     // between IPv6 addresses
};

/// One way from pod to pod; the raw veth hop has no mode.
struct BenchPath {
  std::string name;      // "raw", "host-gw", "udp/bpf", "vxlan, plain" (without masquerading where both are measured)
  std::string mode;
  std::string datapath;  // a value of the option Datapath; empty: nothing to choose
  bool masquerade = true;
  std::vector<std::string> options = {};  // "Key=Value" of the mode, the datapath among them
};

struct BenchLeftOut {
  std::string name;
  std::string why;
  bool asked = false;  // by name
};

struct BenchPlan {
  BenchWords words;
  std::vector<BenchPath> paths;  // raw first, then host-gw, then the others by name
  std::vector<BenchLeftOut> left_out;

  bool measures(std::string_view name) const;
};

inline constexpr std::string_view kRawPath = "raw";
inline constexpr std::string_view kReferenceMode = "host-gw";
inline constexpr std::string_view kReferenceDatapath = "kernel";  // the stack forwards
/// Whether it is what the others are compared with.
bool is_reference(std::string_view mode, std::string_view datapath);

/// Throws Error{usage} naming the flag for a number, mode, datapath or option that can't be.
BenchPlan plan_bench(const BenchWords& words, const ModeRegistry& modes, const KernelFeatures& kernel);
/// The lab in which a path is measured: two nodes, one pod on each. `number` makes its name.
LabWords lab_words(const BenchPath& path, const BenchWords& words, size_t number);
/// The row that a path is compared with as plain routes: with the same masquerading where there are two.
size_t reference_of(const BenchPlan& plan, size_t path);

/// Of each measurement: traffic that is not counted yet, and how long all will take without the clusters' start.
std::chrono::milliseconds bench_window(const BenchWords& words);
std::chrono::milliseconds bench_warmup(const BenchWords& words);
std::chrono::milliseconds bench_time(const BenchPlan& plan);
/// The command that does the same again: "knet lab bench --modes vxlan --seconds 1 --rounds 5".
std::string bench_command(const BenchWords& words);

}  // namespace knet
