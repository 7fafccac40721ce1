// What the tests of the modes share: peers' data, a host, one plan and what it leaves, states as a person reads them.
#pragma once

#include <algorithm>
#include <catch2/catch.hpp>
#include <functional>
#include <string>
#include <vector>

#include "base/error.h"
#include "core/compose.h"
#include "modes/common/vtep_data.h"
#include "tests/support/fake_kernel.h"
#include "tests/support/make.h"

namespace knet::test {

using Lines = std::vector<std::string>;

inline std::string vtep(int n) {
  return R"({"VNI":1,"VtepMAC":"02:00:00:00:00:)" + std::string(n < 10 ? "0" : "") + std::to_string(n) + "\"}";
}

template <typename T>
Lines texts(const std::vector<T>& objects) {
  Lines lines;
  for (const T& object : objects) lines.push_back(describe(object));
  return lines;
}

inline bool has(const Lines& lines, const std::string& part) {
  return std::any_of(lines.begin(), lines.end(),
                     [&](const std::string& l) { return l.find(part) != std::string::npos; });
}

inline void set(ClusterView& view, const std::string& name, OptionValue value) {
  view.config.options.emplace_back(name, std::move(value));
  std::sort(view.config.options.begin(), view.config.options.end());
}

// One plan makes it so, and a second one finds nothing.
inline void stands(const ClusterView& view, FakeKernel& kernel) {
  const DesiredState want = compose(view, mode_registry());
  const Observed before = kernel.observe(all_kinds());
  const Plan plan = diff(want, before, ownership_of(view));
  for (const OpResult& result : kernel.apply(plan)) {
    UNSCOPED_INFO(describe(plan, plan.stages[result.stage].ops[result.op]) + ": " + result.reason);
    CHECK(result.error == 0);
  }
  const Observed after = kernel.observe(all_kinds());
  const Plan rest = diff(want, after, ownership_of(view));
  for (const std::string& line : describe(rest)) UNSCOPED_INFO("left: " + line);
  CHECK(rest.empty());
  CHECK(rest.foreign.empty());
  CHECK(rest.waiting.empty());
}

inline FakeKernel host() {
  FakeKernel kernel;
  kernel.add_nic("eth0", "192.168.77.1/24");
  kernel.add_nic("eth0", "fd00:77::1/64");
  kernel.set_sysctl("net/ipv4/ip_forward", "0");
  kernel.set_sysctl("net/ipv6/conf/all/forwarding", "0");
  return kernel;
}

inline std::string message(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    CHECK(error.kind == ErrorKind::config);
    return error.text;
  }
  return "no error";
}

}  // namespace knet::test
