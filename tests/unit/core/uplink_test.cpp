#include "core/uplink.h"

#include <catch2/catch.hpp>

#include "tests/unit/core/test_modes.h"

using namespace knet;
using knet::test::error_of;
using Lines = std::vector<std::string>;

namespace {

/// A host: links with addresses, default routes.
struct Host {
  NetState net;
  int next_index = 1;

  Link& link(std::string_view name, std::initializer_list<std::string_view> addresses,
             LinkType type = LinkType::other) {
    Link link;
    link.name = DevName(name);
    link.type = type;
    link.mtu = 1500;
    link.index = next_index++;
    for (std::string_view text : addresses) {
      Address address;
      address.dev = link.name;
      address.prefix = *Prefix::parse(text);
      net.addresses.push_back(address);
    }
    net.links.push_back(link);
    return net.links.back();
  }
  Address& address(std::string_view text) {
    for (Address& address : net.addresses) {
      if (address.prefix.str() == text) return address;
    }
    throw std::runtime_error("no such address");
  }
  Route& route(std::string_view dev, uint32_t metric = 0, std::string_view dst = "0.0.0.0/0") {
    Route route;
    route.dst = *Prefix::parse(dst);
    route.dev = DevName(dev);
    route.metric = metric;
    net.routes.push_back(route);
    return net.routes.back();
  }
  UplinkChoice choose(const UplinkSelector& selector = {}, bool v4 = true, bool v6 = false,
                      std::optional<ReachAnswer> reach = {}) {
    NetState sorted = net;
    sort_by_key(sorted);
    return choose_uplink(sorted, selector, v4, v6, reach);
  }
  std::string error(const UplinkSelector& selector = {}, bool v4 = true, bool v6 = false,
                    ErrorKind want = ErrorKind::config) {
    ErrorKind kind{};
    const std::string text = error_of([&] { choose(selector, v4, v6); }, &kind);
    if (text != "no error") CHECK(kind == want);
    return text;
  }
};

UplinkSelector ifaces(std::vector<std::string> words) {
  UplinkSelector selector;
  selector.ifaces = std::move(words);
  return selector;
}
UplinkSelector regexes(std::vector<std::string> words) {
  UplinkSelector selector;
  selector.iface_regexes = std::move(words);
  return selector;
}

Host usual() {
  Host host;
  host.link("lo", {"127.0.0.1/8", "::1/128"}, LinkType::loopback);
  host.link("eth0", {"192.168.77.1/24", "fd00:77::1/64", "fe80::1/64"});
  host.link("eth1", {"10.9.0.5/16", "fd00:9::5/64"});
  host.link("docker0", {"172.17.0.1/16"}, LinkType::bridge);
  host.link("knet.1", {"10.244.1.0/32"}, LinkType::vxlan);
  host.link("knet0123456789a", {"10.244.1.9/32"}, LinkType::veth);
  return host;
}

}  // namespace

TEST_CASE("the default route's link, and what was passed over") {
  Host host = usual();
  host.route("eth0", 100);
  const UplinkChoice choice = host.choose();
  CHECK(choice.uplink.dev.view() == "eth0");
  CHECK(choice.uplink.index == 2);
  CHECK(choice.uplink.mtu == 1500);
  CHECK(choice.uplink.address.str() == "192.168.77.1/24");
  CHECK(choice.public_ip.str() == "192.168.77.1");
  CHECK(choice.why == "default route");
  CHECK(choice.passed_over == Lines{"eth1 10.9.0.5", "docker0 172.17.0.1"});
  CHECK(choice.tie.empty());
  CHECK_FALSE(choice.uplink6.dev);
  CHECK_FALSE(choice.public_ip6);
}

TEST_CASE("the lowest metric wins, then the lowest index, and a tie is said") {
  Host host = usual();
  host.route("eth0", 200);
  host.route("eth1", 100);
  CHECK(host.choose().uplink.dev.view() == "eth1");
  CHECK(host.choose().tie.empty());
  host.route("eth0", 100);
  CHECK(host.choose().uplink.dev.view() == "eth0");
  CHECK(host.choose().tie == "eth0 and eth1 have IPv4 default routes of the same metric 100: the lower index is taken");
}

TEST_CASE("routes that lead nowhere or over our own devices don't count") {
  Host host = usual();
  host.route("eth0", 0).dead = true;
  host.route("eth0", 1).table = 100;
  host.route("eth0", 2).type = RouteType::unreachable;
  host.route("knet.1", 3);
  host.route("eth0", 4, "0.0.0.0/1");
  host.route("eth1", 500);
  CHECK(host.choose().uplink.dev.view() == "eth1");
}

TEST_CASE("the address: the route's source, then global, wide, permanent, lowest") {
  Host host;
  host.link("eth0", {"169.254.3.3/16", "10.0.0.100/32", "10.0.0.9/24", "10.0.0.5/24", "10.0.0.7/24"});
  host.address("10.0.0.5/24").permanent = false;
  Route& route = host.route("eth0");
  CHECK(host.choose().public_ip.str() == "10.0.0.7");
  CHECK(host.choose().tie == "eth0 has 10.0.0.7 and 10.0.0.9: the lower is taken");
  route.src = *IpAddr::parse("10.0.0.9");
  CHECK(host.choose().public_ip.str() == "10.0.0.9");
  CHECK(host.choose().tie.empty());
  route.src = {};
  host.address("10.0.0.7/24").usable = false;
  host.address("10.0.0.9/24").usable = false;
  CHECK(host.choose().public_ip.str() == "10.0.0.5");
  host.address("10.0.0.5/24").usable = false;
  CHECK(host.choose().public_ip.str() == "10.0.0.100");
  host.address("10.0.0.100/32").usable = false;
  CHECK(host.choose().public_ip.str() == "169.254.3.3");
}

TEST_CASE("both families, over one link or two") {
  Host host = usual();
  host.route("eth0");
  host.route("eth1", 1024, "::/0");
  const UplinkChoice two = host.choose({}, true, true);
  CHECK(two.uplink.dev.view() == "eth0");
  CHECK(two.uplink6.dev.view() == "eth1");
  CHECK(two.public_ip6.str() == "fd00:9::5");
  CHECK(two.why == "default route; IPv6: default route");
  CHECK(two.passed_over == Lines{"docker0 172.17.0.1"});
  host.net.routes.pop_back();
  const UplinkChoice one = host.choose({}, true, true);
  CHECK(one.uplink6.dev.view() == "eth0");
  CHECK(one.public_ip6.str() == "fd00:77::1");
  CHECK(one.why == "default route");
  CHECK(one.passed_over == Lines{"eth1 10.9.0.5 fd00:9::5", "docker0 172.17.0.1"});
}

TEST_CASE("IPv6 only; link-local only if it is named") {
  Host host = usual();
  host.route("eth0", 1024, "::/0");
  const UplinkChoice choice = host.choose({}, false, true);
  CHECK_FALSE(choice.uplink.dev);
  CHECK(choice.uplink6.address.str() == "fd00:77::1/64");
  host.address("fd00:77::1/64").usable = false;
  CHECK(host.choose({}, false, true).why == "the only link with an address");
  host.address("fd00:9::5/64").usable = false;
  CHECK(host.error({}, false, true) ==
        "no default route to tell which IPv6 address other nodes reach this one by; no link that is up has one; give "
        "--iface");
  CHECK(host.choose(ifaces({"fe80::1"}), false, true).public_ip6.str() == "fe80::1");
}

TEST_CASE("without a default route: the only link with an address, else a list") {
  Host host;
  host.link("lo", {"127.0.0.1/8"}, LinkType::loopback);
  host.link("docker0", {"172.17.0.1/16"}, LinkType::bridge);
  CHECK(host.error() ==
        "no default route to tell which IPv4 address other nodes reach this one by; there are: docker0 172.17.0.1; "
        "give --iface");
  host.link("eth0", {"10.0.0.1/24"}, LinkType::veth);
  CHECK(host.choose().uplink.dev.view() == "eth0");
  CHECK(host.choose().why == "the only link with an address");
  CHECK(host.choose().passed_over == Lines{"docker0 172.17.0.1"});
  host.link("eth1", {"10.1.0.1/24"});
  CHECK(
      host.error() ==
      "no default route to tell which IPv4 address other nodes reach this one by; there are: docker0 172.17.0.1, eth0 "
      "10.0.0.1, eth1 10.1.0.1; give --iface");
}

TEST_CASE("a docker bridge with the default route, or named, is taken") {
  Host host = usual();
  host.route("docker0");
  CHECK(host.choose().uplink.dev.view() == "docker0");
  CHECK(host.choose(ifaces({"docker0"})).public_ip.str() == "172.17.0.1");
}

TEST_CASE("--iface: names and addresses, first that matches") {
  Host host = usual();
  host.route("eth0");
  CHECK(host.choose(ifaces({"eth9", "eth1", "eth0"})).uplink.dev.view() == "eth1");
  CHECK(host.choose(ifaces({"eth9", "eth1"})).why == "--iface eth1");
  CHECK(host.choose(ifaces({"10.9.0.5"})).why == "--iface 10.9.0.5");
  const UplinkChoice dual = host.choose(ifaces({"10.9.0.5"}), true, true);
  CHECK(dual.public_ip6.str() == "fd00:9::5");
  CHECK(dual.uplink6.dev.view() == "eth1");
  CHECK(host.error(ifaces({"eth9"})) ==
        "--iface eth9: no usable IPv4 address fits; there are: eth0 192.168.77.1, eth1 10.9.0.5, docker0 172.17.0.1");
  CHECK(host.error(ifaces({"lo"})).find("--iface lo: no usable IPv4 address fits") == 0);
  CHECK(host.error(ifaces({"knet.1", "knet0123456789a"})).find("no usable IPv4 address fits") != std::string::npos);
  CHECK(host.error(ifaces({"docker0"}), true, true).find("no usable IPv6 address fits") != std::string::npos);
  host.link("eth2", {"10.8.0.3/24", "10.8.0.4/24", "fd00:8::3/64", "fd00:8::4/64"});
  const UplinkChoice second = host.choose(ifaces({"eth2", "10.8.0.4", "fd00:8::4"}), true, true);
  CHECK(second.public_ip.str() == "10.8.0.4");
  CHECK(second.public_ip6.str() == "fd00:8::4");
  host.net.links[1].up = false;
  CHECK(host.error(ifaces({"eth0"})).find("--iface eth0: no usable IPv4 address fits") == 0);
}

TEST_CASE("--iface-regex: addresses of every link first, then names; ties said") {
  Host host = usual();
  host.route("eth0");
  host.link("n10.9", {"192.0.2.1/24"});
  CHECK(host.choose(regexes({"10\\.9"})).uplink.dev.view() == "eth1");
  CHECK(host.choose(regexes({"^10\\."})).why == "--iface-regex '^10\\.'");
  CHECK(host.choose(regexes({"^nothing", "eth1"})).uplink.dev.view() == "eth1");
  const UplinkChoice tie = host.choose(regexes({"^eth"}));
  CHECK(tie.uplink.dev.view() == "eth0");
  CHECK(tie.tie == "--iface-regex '^eth' fits eth1 10.9.0.5 too: the lowest index is taken");
  CHECK(host.choose(regexes({"^10\\.9"}), true, true).public_ip6.str() == "fd00:9::5");
  CHECK(host.error(regexes({"^11\\."})).find("--iface-regex '^11\\.': no usable IPv4 address fits; there are: eth0") ==
        0);
  UplinkSelector both = regexes({"eth1"});
  both.ifaces = {"eth0"};
  CHECK(host.choose(both).uplink.dev.view() == "eth0");
  both.ifaces = {"eth9"};
  CHECK(host.choose(both).uplink.dev.view() == "eth1");
}

TEST_CASE("hostile regular expressions are refused, or matched in bounded time") {
  Host host = usual();
  host.link("aaaaaaaaaaaaaa", {"fd00:aaaa:aaaa:aaaa:aaaa:aaaa:aaaa:aaaa/64"});
  for (std::string bad : {std::string("("), std::string("[z-a]"), std::string("a{99999999}"), std::string("\\"),
                          std::string("(a)\\1"), std::string(1000, '('), std::string("*")}) {
    CAPTURE(bad);
    CHECK(host.error(regexes({bad}), true, false, ErrorKind::usage).find("--iface-regex") == 0);
  }
  CHECK(host.error(regexes({"^(([a-f0-9:]+)+)+$x"}), false, true).find("no usable IPv6 address fits") !=
        std::string::npos);
  CHECK(host.error(regexes({std::string("a\0b", 3)})).find("no usable") != std::string::npos);
}

TEST_CASE("--iface-can-reach takes the kernel's answer") {
  Host host = usual();
  host.route("eth0");
  UplinkSelector selector;
  selector.can_reach = *IpAddr::parse("10.9.3.3");
  const ReachAnswer answer{DevName("eth1"), *IpAddr::parse("10.9.0.5")};
  const UplinkChoice choice = host.choose(selector, true, true, answer);
  CHECK(choice.uplink.dev.view() == "eth1");
  CHECK(choice.public_ip6.str() == "fd00:9::5");
  CHECK(choice.why == "--iface-can-reach 10.9.3.3");
  CHECK(host.error(selector).find("--iface-can-reach 10.9.3.3 (no route): no usable IPv4 address fits; there are:") ==
        0);
  const ReachAnswer ours{DevName("knet.1"), *IpAddr::parse("10.244.1.0")};
  CHECK(error_of([&] { host.choose(selector, true, false, ours); }).find("(the route goes over knet.1)") !=
        std::string::npos);
}

TEST_CASE("--public-ip: its link if it is here, else only what is announced") {
  Host host = usual();
  host.route("eth0");
  UplinkSelector selector;
  selector.public_ip = *IpAddr::parse("10.9.0.5");
  CHECK(host.choose(selector).uplink.dev.view() == "eth1");
  CHECK(host.choose(selector).why == "--public-ip 10.9.0.5");
  CHECK(host.choose(selector, true, true).public_ip6.str() == "fd00:9::5");
  selector.public_ip = *IpAddr::parse("203.0.113.7");
  const UplinkChoice nat = host.choose(selector);
  CHECK(nat.uplink.address.str() == "192.168.77.1/24");
  CHECK(nat.public_ip.str() == "203.0.113.7");
  CHECK(nat.why == "default route");
  selector.ifaces = {"eth1"};
  CHECK(host.choose(selector).uplink.dev.view() == "eth1");
  CHECK(host.choose(selector).public_ip.str() == "203.0.113.7");
}

TEST_CASE("flannel's devices are never the uplink") {
  Host host;
  Link& flannel = host.link("flannel.1", {"10.5.70.0/32"}, LinkType::vxlan);
  flannel.vxlan = VxlanAttrs{};
  flannel.vxlan->vni = 1;
  CHECK(host.error().find("no link that is up has one") != std::string::npos);
}
