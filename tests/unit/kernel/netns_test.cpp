#include "kernel/netns.h"

#include <unistd.h>

#include <catch2/catch.hpp>

#include "base/error.h"
#include "own_netns.h"

using namespace knet;
using namespace knet::test;

TEST_CASE("work in another namespace, and back also after an error") {
  OwnNetns netns;
  if (!netns.ready()) return;
  Fd other = new_netns();
  run("ip link add here type veth peer name here2");
  in_netns(other.get(), [] { CHECK_FALSE(succeeds("ip link show here")); });
  CHECK(succeeds("ip link show here"));
  CHECK_THROWS_AS(in_netns(other.get(), [] { fail(ErrorKind::kernel, "no"); }), Error);
  CHECK(succeeds("ip link show here"));
}

TEST_CASE("what is no namespace is told apart from what is gone") {
  CHECK_FALSE(open_netns_if_there("/run/netns/knet-there-is-none"));
  CHECK_FALSE(open_netns_if_there("/proc/1073741824/ns/net"));
  CHECK_FALSE(open_netns_if_there("/etc/hostname"));
  CHECK_THROWS_AS(open_netns("/run/netns/knet-there-is-none"), Error);
  CHECK(open_netns_if_there("/proc/self/ns/net"));
}

TEST_CASE("a named namespace is made, entered, refused twice and deleted") {
  if (geteuid() != 0 || access("/run/netns", W_OK) != 0) {
    WARN("skip: needs root and /run/netns");
    return;
  }
  std::string name = "knet-unit-" + std::to_string(getpid());
  Undo cleanup([&] {
    try {
      delete_named_netns(name);
    } catch (const Error&) {
    }
  });
  add_named_netns(name);
  CHECK(run("ip netns exec " + name + " ip -o link | wc -l") == "1");
  CHECK(open_netns(named_netns_path(name)));
  CHECK_THROWS_AS(add_named_netns(name), Error);
  CHECK(delete_named_netns(name));
  CHECK_FALSE(delete_named_netns(name));
  CHECK_FALSE(succeeds("ip netns list | grep -q " + name));
}
