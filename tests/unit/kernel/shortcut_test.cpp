// The shortcut on the kernel at hand: loads, hangs where it shall, is found again, gives way to others' filters.
#include "kernel/shortcut.h"

#include <errno.h>
#include <linux/netlink.h>

#include <catch2/catch.hpp>

#include "kernel/linux_plane.h"
#include "kernel/rtnl_read.h"
#include "kernel/sysctl.h"
#include "own_netns.h"

using namespace knet;
using namespace knet::test;

namespace {

/// Two devices, in a namespace of its own in which conntrack is asked.
struct Ground {
  OwnNetns netns;
  NlSocket socket{NETLINK_ROUTE};
  bool ready = false;

  Ground() {
    if (!netns.ready() || !has_program("nft") || !has_program("tc")) return;
    if (const std::string trouble = try_shortcut(); !trouble.empty()) {
      WARN("skip: no shortcut here: " << trouble);
      return;
    }
    run("ip link set lo up && ip link add up0 type veth peer name up1 && ip link set up0 up && ip link set up1 up");
    run("nft 'table inet t { chain c { type filter hook forward priority 0; ct state established accept; }\n}'");
    ready = true;
  }
  LinkIndex links() {
    std::vector<Link> all;
    CHECK(read_links(socket, all));
    return LinkIndex(all);
  }
  Shortcuts look() { return Shortcuts(socket, links()); }
};

Shortcut on(std::string_view dev) {
  Shortcut shortcut;
  shortcut.dev = DevName(dev);
  return shortcut;
}

Shortcut one(const Shortcuts& shortcuts, std::string_view dev) {
  for (const Shortcut& each : shortcuts.found())
    if (each.dev == DevName(dev)) return each;
  FAIL("nothing found of " << dev);
  return {};
}

std::vector<uint32_t> programs_on(const std::string& dev) {
  std::vector<uint32_t> ids;
  CHECK(bpf::ingress_programs(std::stoi(run("ip -o link show " + dev + " | cut -d: -f1")), ids));
  return ids;
}

}  // namespace

TEST_CASE("a shortcut hangs on its device, is found again as intact, and goes") {
  Ground ground;
  if (!ground.ready) return;
  CHECK(ground.look().found().empty());
  {
    Shortcuts shortcuts = ground.look();
    CHECK(shortcuts.put(on("up0")).error == 0);
    CHECK(shortcuts.put(on("up1")).error == 0);
    CHECK(shortcuts.put(on("up1")).error == 0);
    CHECK(shortcuts.put(on("nowhere")).error == ENODEV);
  }
  CHECK(read_sysctl("net/netfilter/nf_conntrack_tcp_be_liberal") == "1");
  Shortcuts again = ground.look();
  CHECK(again.whole());
  REQUIRE(again.found().size() == 2);
  for (const Shortcut& each : again.found()) {
    CHECK(each.intact);
    CHECK_FALSE(each.hindered);
  }
  CHECK(again.taken().packets == 0);
  CHECK(again.remove(on("up0")).error == 0);
  CHECK(again.remove(on("up0")).error == 0);
  const std::vector<Shortcut> left = ground.look().found();
  REQUIRE(left.size() == 1);
  CHECK(left[0].dev == DevName("up1"));
}

TEST_CASE("all devices share one program, also with one that is attached later") {
  Ground ground;
  if (!ground.ready) return;
  CHECK(ground.look().put(on("up0")).error == 0);
  CHECK(ground.look().put(on("up1")).error == 0);
  CHECK(programs_on("up0").size() == 1);
  CHECK(programs_on("up0") == programs_on("up1"));
}

TEST_CASE("a shortcut is not intact where conntrack checks TCP windows again, and is mended in place") {
  Ground ground;
  if (!ground.ready) return;
  CHECK(ground.look().put(on("up0")).error == 0);
  REQUIRE(write_sysctl("net/netfilter/nf_conntrack_tcp_be_liberal", "0") == 0);
  Shortcuts shortcuts = ground.look();
  REQUIRE(shortcuts.found().size() == 1);
  CHECK_FALSE(shortcuts.found()[0].intact);
  CHECK(shortcuts.put(on("up0")).error == 0);
  CHECK(ground.look().found().at(0).intact);
}

TEST_CASE("where somebody else's filters stand there is no shortcut") {
  Ground ground;
  if (!ground.ready) return;
  CHECK(ground.look().put(on("up0")).error == 0);
  run("tc qdisc add dev up0 clsact && tc qdisc add dev up1 ingress");
  Shortcuts shortcuts = ground.look();
  CHECK_FALSE(one(shortcuts, "up0").intact);  // attached before they came
  CHECK_FALSE(one(shortcuts, "up0").hindered);
  CHECK(one(shortcuts, "up1").hindered);
  CHECK(shortcuts.put(on("up0")).error == 0);
  CHECK(programs_on("up0").empty());
  CHECK(shortcuts.put(on("up1")).error == 0);
  CHECK(programs_on("up1").empty());
  for (const Shortcut& each : ground.look().found()) CHECK(each.hindered);
  run("tc qdisc del dev up0 clsact");
  CHECK(ground.look().put(on("up0")).error == 0);
  CHECK(one(ground.look(), "up0").intact);
}

TEST_CASE("others' ingress chains hinder the shortcut of their devices, IPsec policies all") {
  Ground ground;
  if (!ground.ready) return;
  CHECK(ground.look().put(on("up0")).error == 0);
  CHECK(ground.look().put(on("up1")).error == 0);
  if (succeeds("nft 'table netdev t { chain c { type filter hook ingress device up0 priority 0; }\n}'")) {
    CHECK_FALSE(one(ground.look(), "up0").intact);
    CHECK(one(ground.look(), "up1").intact);
    run("nft delete table netdev t");
    CHECK(one(ground.look(), "up0").intact);
  }
  if (succeeds("nft 'table inet u { chain c { type filter hook ingress device up1 priority 0; }\n}'")) {
    CHECK(one(ground.look(), "up0").intact);
    CHECK_FALSE(one(ground.look(), "up1").intact);
    run("nft delete table inet u");
  }
  if (succeeds("ip xfrm policy add src 10.1.0.0/16 dst 10.2.0.0/16 dir fwd tmpl proto esp mode tunnel")) {
    CHECK_FALSE(one(ground.look(), "up0").intact);
    CHECK_FALSE(one(ground.look(), "up1").intact);
    run("ip xfrm policy flush");
  }
  CHECK(one(ground.look(), "up0").intact);
}

TEST_CASE("a plane brings shortcuts about, keeps them and takes them away") {
  Ground ground;
  if (!ground.ready) return;
  LinuxPlane plane;
  DesiredState want;
  want.net.shortcuts = {on("up0"), on("up1")};
  const Ownership own;
  Observed seen = plane.observe(all_kinds());
  CHECK(plane.apply(diff(want, seen, own, only(Kind::shortcut))).empty());
  seen = plane.observe(all_kinds());
  CHECK(diff(want, seen, own, only(Kind::shortcut)).empty());
  want.net.shortcuts.clear();
  CHECK(plane.apply(diff(want, seen, own, only(Kind::shortcut))).empty());
  CHECK(plane.observe(only(Kind::shortcut)).net.shortcuts.empty());
}
