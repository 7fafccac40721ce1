// Runs a bench: a raw veth pair and one small lab for each path, all up at once, measured in turn, so that nothing but
// the path differs. Lives in namespaces of its own (user, mount with a /run of its own, network), from which nothing is
// seen outside: the process has entered them before and never leaves, and what it started ends with it. For a
// command's one thread.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "lab/bench_figures.h"
#include "lab/bench_plan.h"

namespace knet {

struct BenchPathResult {
  BenchSeries series;  // one value a round; empty if it failed
  std::string failed;  // why: it did not come up, or nothing arrives
};

struct BenchResult {
  BenchPlan plan;
  std::vector<BenchPathResult> paths;  // as plan.paths
};

/// Told before each step, for people: "round 2 of 5: vxlan, four TCP streams", and about how long it will still take.
using BenchProgress = std::function<void(const std::string& step, std::chrono::seconds left)>;

/// enter_private_space() first. A path that fails is told in its result; Error if the raw hop or host-gw does.
BenchResult run_bench(const BenchPlan& plan, const BenchProgress& progress);

}  // namespace knet
