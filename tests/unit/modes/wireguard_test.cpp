// wireguard: devices by flannel's Mode, peers out of leases, keys that clash, secrets.
#include "core/wireguard_key.h"
#include "modes/common/wireguard_data.h"
#include "tests/unit/modes/mode_cases.h"

using namespace knet;
using namespace knet::test;

namespace {

WireguardKey key(uint8_t n) {
  WireguardKey made{};
  made.fill(n);
  return made;
}

std::string data(uint8_t n, int port = 51820) { return format_wireguard_data({key(n), static_cast<uint16_t>(port)}); }

ClusterView wireguard_view(bool dual = false) {
  ClusterView view = dual ? dual_view_of("wireguard") : view_of("wireguard");
  view.self.kernel.wireguard = true;
  view.self.wireguard_key = key(1);
  view.self.wireguard_key_file = "/state/wg.key";
  return view;
}

const WireguardPeer& only_peer(const DesiredState& state) {
  REQUIRE(state.net.wireguard_peers.size() == 1);
  return state.net.wireguard_peers[0];
}

}  // namespace

TEST_CASE("wireguard: device, and for each peer its key, endpoint, allowed prefix and route") {
  ClusterView view = wireguard_view();
  add_peer(view, 2, "wireguard", data(2, 4000));
  const DesiredState state = compose(view, mode_registry());
  REQUIRE(state.net.links.size() == 1);
  const Link& device = state.net.links[0];
  CHECK(device.name.view() == "knet.wg");
  CHECK(device.mtu == 1420);
  CHECK(device.wireguard->port == 51820);
  CHECK(device.wireguard->public_key == key(1));
  CHECK(device.wireguard->key_file == "/state/wg.key");
  const WireguardPeer& peer = only_peer(state);
  CHECK(peer.endpoint == ip("192.168.77.2"));
  CHECK(peer.port == 4000);
  CHECK(peer.allowed == std::vector<Prefix>{prefix("10.244.2.0/24")});
  CHECK_FALSE(peer.preshared_key);
  CHECK(has(texts(state.net.routes), "route 10.244.2.0/24 dev knet.wg"));
  CHECK(texts(state.net.addresses) == Lines{"address 10.244.1.0/32 dev knet.wg"});
  FakeKernel kernel = host();
  stands(view, kernel);
}

TEST_CASE("wireguard: what it announces is flannel's") {
  const ClusterView view = wireguard_view(true);
  const Mode& mode = mode_registry().get("wireguard");
  const LeaseData lease = mode.announce(view.config, view.self);
  CHECK(lease.data.v4 == R"({"PublicKey":"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=","Port":51820})");
  CHECK(lease.data.v6 == R"({"PublicKey":"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=","Port":51821})");
  ClusterView keyless = wireguard_view();
  keyless.self.wireguard_key = {};
  CHECK_THROWS_AS(mode.announce(keyless.config, keyless.self), Error);
  CHECK(has(compose(keyless, mode_registry()).blockers, "no key yet"));
}

TEST_CASE("wireguard: separate devices for the families, or one for both") {
  ClusterView view = wireguard_view(true);
  add_peer(view, 2, "wireguard", data(2, 0));
  FakeKernel kernel = host();
  SECTION("separate") {
    const DesiredState state = compose(view, mode_registry());
    REQUIRE(state.net.wireguard_peers.size() == 2);
    CHECK(has(texts(state.net.wireguard_peers), "dev knet.wg endpoint 192.168.77.2:51820 allowed-ips 10.244.2.0/24"));
    CHECK(has(texts(state.net.wireguard_peers), "dev knet.wg6 endpoint [fd00:77::2]:51821 allowed-ips fd10:0:0:2::/64"));
    CHECK(has(texts(state.net.routes), "route fd10:0:0:2::/64 dev knet.wg6"));
    stands(view, kernel);
  }
  SECTION("ipv6") {
    set(view, "Mode", std::string("ipv6"));
    const DesiredState state = compose(view, mode_registry());
    CHECK(only_peer(state).endpoint == ip("fd00:77::2"));
    CHECK(only_peer(state).port == 51820);
    CHECK(only_peer(state).allowed == std::vector<Prefix>{prefix("10.244.2.0/24"), prefix("fd10:0:0:2::/64")});
    CHECK(has(texts(state.net.routes), "route fd10:0:0:2::/64 dev knet.wg"));
    CHECK(texts(state.net.links).size() == 1);
    stands(view, kernel);
  }
  SECTION("auto takes what both have") {
    set(view, "Mode", std::string("auto"));
    CHECK(only_peer(compose(view, mode_registry())).endpoint == ip("192.168.77.2"));
    view.self.uplink = {};
    CHECK(only_peer(compose(view, mode_registry())).endpoint == ip("fd00:77::2"));
  }
  SECTION("ipv4 without an IPv4 uplink reaches nobody, and says so") {
    set(view, "Mode", std::string("ipv4"));
    view.self.uplink = {};
    const DesiredState state = compose(view, mode_registry());
    CHECK(state.net.wireguard_peers.empty());
    CHECK(has(state.notices, "n2 10.244.2.0/24"));
  }
}

TEST_CASE("wireguard: one key of two nodes, or ours: the older counts, the other is named") {
  ClusterView view = wireguard_view();
  add_peer(view, 2, "wireguard", data(9)).rev = 90;
  add_peer(view, 3, "wireguard", data(9));
  add_peer(view, 4, "wireguard", data(1));
  const DesiredState state = compose(view, mode_registry());
  CHECK(only_peer(state).endpoint == ip("192.168.77.3"));
  CHECK(has(state.notices, "n2 10.244.2.0/24 is left out: its PublicKey"));
  CHECK(has(state.notices, "is also that of this node"));
  CHECK_FALSE(has(texts(state.net.routes), "route 10.244.4.0/24"));
}

TEST_CASE("wireguard: PSK and keepalive go to every peer, and the PSK into no text") {
  ClusterView view = wireguard_view();
  const std::string psk = format_wireguard_key(key(7));
  set(view, "PSK", psk);
  set(view, "PersistentKeepaliveInterval", int64_t{25});
  add_peer(view, 2, "wireguard", data(2));
  const DesiredState state = compose(view, mode_registry());
  CHECK(only_peer(state).preshared_key == key(7));
  CHECK(only_peer(state).keepalive == 25);
  for (const std::string& line : texts(state.net.wireguard_peers)) CHECK(line.find(psk) == std::string::npos);
  CHECK(hide_secrets(format_network_config(view.config), mode_registry()).find(psk) == std::string::npos);
  NetworkConfig other = view.config;
  set(view, "MTU", int64_t{1400});
  other.options.clear();
  for (const ConfigChange& change : compare(view.config, other, mode_registry()))
    CHECK(change.what.find(psk) == std::string::npos);
}

TEST_CASE("wireguard: options that can't be kept are refused, without the secret in the message") {
  const Mode& mode = mode_registry().get("wireguard");
  ClusterView view = wireguard_view();
  CHECK_NOTHROW(mode.validate(view.config));
  SECTION("DirectRouting") {
    set(view, "DirectRouting", true);
    CHECK(message([&] { mode.validate(view.config); }).find("in the clear") != std::string::npos);
  }
  SECTION("PSK") {
    set(view, "PSK", std::string("hunter2"));
    const std::string text = message([&] { mode.validate(view.config); });
    CHECK(text.find("wg genpsk") != std::string::npos);
    CHECK(text.find("hunter2") == std::string::npos);
  }
  SECTION("a family that is off") {
    set(view, "Mode", std::string("ipv6"));
    CHECK(message([&] { mode.validate(view.config); }).find("needs an IPv6 network") != std::string::npos);
  }
  SECTION("one port for two devices") {
    ClusterView dual = wireguard_view(true);
    set(dual, "ListenPortV6", int64_t{51820});
    CHECK(message([&] { mode.validate(dual.config); }).find("both 51820") != std::string::npos);
  }
}

TEST_CASE("wireguard: the kernel must have the driver, as far as that is known") {
  const Mode& mode = mode_registry().get("wireguard");
  KernelFeatures kernel;
  CHECK(mode.unsupported(kernel, {}) == "this kernel has no wireguard driver");
  kernel.known = false;
  CHECK_FALSE(mode.unsupported(kernel, {}));
}

TEST_CASE("a wireguard peer's data: flannel's bytes, any order, any case; nothing else") {
  const WireguardData plain = parse_wireguard_data(data(5), "BackendData");
  CHECK(plain.public_key == key(5));
  CHECK(plain.port == 51820);
  const std::string text = format_wireguard_key(key(5));
  for (const std::string& json : {R"({"Port":null,"publickey":")" + text + "\"}", R"({"PublicKey":")" + text + R"(","More":{}})"}) {
    CHECK(parse_wireguard_data(json, "BackendData").public_key == key(5));
    CHECK(parse_wireguard_data(json, "BackendData").port == 0);
  }
  for (const std::string& json :
       {std::string(), std::string("null"), std::string("[]"), std::string("{}"), std::string("{"), std::string(R"({"PublicKey":7})"),
        std::string(R"({"PublicKey":"AQE="})"), R"({"PublicKey":")" + format_wireguard_key({}) + "\"}",
        R"({"Port":65536,"PublicKey":")" + text + "\"}", R"({"Port":-1,"PublicKey":")" + text + "\"}",
        R"({"Port":"1","PublicKey":")" + text + "\"}", R"({"PublicKey":")" + text + "\"}x"})
    CHECK_THROWS_AS(parse_wireguard_data(json, "BackendData"), Error);
}
