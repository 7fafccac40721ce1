#include "kernel/bpf_tunnel.h"

#include <catch2/catch.hpp>

#include "kernel/rtnl_read.h"
#include "own_netns.h"

using namespace knet;
using namespace knet::test;

TEST_CASE("the programs load and pass the packet trial, or it is said what refused") {
  const std::string trouble = try_bpf_tunnel();
  if (!trouble.empty()) WARN("no BPF tunnels here: " << trouble);
  CHECK((trouble.empty() || trouble.find(": ") != std::string::npos));
  if (geteuid() == 0 && trouble.find("not permitted") == std::string::npos) CHECK(trouble == "");
}
