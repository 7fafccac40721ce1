#include <catch2/catch.hpp>
#include <fstream>

#include "agent/endpoint_watch.h"
#include "agent/enrol.h"
#include "base/error.h"
#include "base/file.h"
#include "tests/support/fake_kernel.h"
#include "tests/support/make.h"
#include "tests/unit/agent/temporary.h"

using namespace knet;
using namespace knet::test;

TEST_CASE("a node describes itself from what the host has") {
  FakeKernel kernel;
  kernel.add_nic("eth0", "192.168.77.1/24");
  kernel.set_sysctl("net/ipv4/conf/all/rp_filter", "1\n");
  NodeSettings settings;
  settings.forward_accept = false;
  settings.pods = false;
  NetworkConfig config;
  config.network = prefix("10.244.0.0/16");
  settings.uplink.ifaces = {"eth0"};
  const LocalNode self = describe_self({"n1", "m1", "0123"}, settings, config, kernel.observe(all_kinds()), std::nullopt);
  CHECK(self.name == "n1");
  CHECK(self.machine_id == "m1");
  CHECK(self.public_ip == ip("192.168.77.1"));
  CHECK(self.uplink.dev == dev("eth0"));
  CHECK(self.uplink.address == prefix("192.168.77.1/24"));
  CHECK(self.rp_filter_all == 1);
  CHECK_FALSE(self.forward_accept);
  CHECK_FALSE(self.runs_pods);
  const NodeRecord record = node_record(self);
  CHECK(record.name == "n1");
  CHECK(record.public_ip == self.public_ip);
  CHECK(record.subnets.empty());
  CHECK_FALSE(record.version.empty());
}

TEST_CASE("without an address the candidates are named") {
  FakeKernel kernel;
  kernel.add_nic("eth0", "192.168.77.1/24");
  NodeSettings settings;
  settings.uplink.ifaces = {"eth9"};
  NetworkConfig config;
  config.network = prefix("10.244.0.0/16");
  try {
    describe_self({"n1", "m1", "0123"}, settings, config, kernel.observe(all_kinds()), std::nullopt);
    FAIL("no error");
  } catch (const Error& error) {
    CHECK(error.kind == ErrorKind::config);
    CHECK(error.text.find("eth0") != std::string::npos);
  }
}

TEST_CASE("endpoint records come, change and go") {
  Temporary dir;
  Endpoint endpoint;
  endpoint.network = "knet";
  endpoint.container = "c1";
  endpoint.ifname = "eth0";
  endpoint.id = endpoint_id("knet", "c1", "eth0");
  endpoint.host_dev = pod_link_name(endpoint.id);
  endpoint.addresses = {ip("10.244.1.2")};
  const auto file = dir.path() / "endpoints" / (endpoint.id + ".json");

  EndpointWatch watch(dir.path() / "endpoints");
  CHECK_FALSE(watch.drain());
  CHECK(watch.endpoints().empty());
  write_file(file, format_endpoint(endpoint));
  CHECK(watch.drain());
  REQUIRE(watch.endpoints().size() == 1);
  CHECK(watch.endpoints()[0] == endpoint);
  CHECK_FALSE(watch.drain());

  endpoint.addresses = {ip("10.244.1.3")};
  write_file(file, format_endpoint(endpoint));
  CHECK(watch.drain());
  CHECK(watch.endpoints()[0].addresses[0] == ip("10.244.1.3"));

  write_file(dir.path() / "endpoints" / "broken.json", "{");
  CHECK(watch.drain());
  CHECK(watch.endpoints().size() == 1);
  REQUIRE(watch.problems().size() == 1);
  CHECK(watch.problems()[0].find("broken.json") != std::string::npos);
  std::vector<std::string> problems;
  CHECK(read_endpoints(dir.path() / "endpoints", &problems).size() == 1);
  CHECK(problems.size() == 1);

  remove_file(dir.path() / "endpoints" / "broken.json");
  remove_file(file);
  CHECK(watch.drain());
  CHECK(watch.endpoints().empty());
  CHECK(watch.problems().empty());
}

TEST_CASE("records that were there before are read at start; an absent directory has none") {
  Temporary dir;
  Endpoint endpoint;
  endpoint.network = "knet";
  endpoint.container = "c1";
  endpoint.ifname = "eth0";
  endpoint.id = endpoint_id("knet", "c1", "eth0");
  endpoint.host_dev = pod_link_name(endpoint.id);
  endpoint.addresses = {ip("10.244.1.2")};
  CHECK(read_endpoints(dir.path() / "endpoints").empty());
  write_file(dir.path() / "endpoints" / (endpoint.id + ".json"), format_endpoint(endpoint));
  CHECK(EndpointWatch(dir.path() / "endpoints").size() == 1);
}

TEST_CASE("the pods' records are watched on when their directory was removed and made again") {
  Temporary dir;
  const auto records = dir.path() / "endpoints";
  EndpointWatch watch(records);
  Endpoint endpoint;
  endpoint.id = "5e1c0a9b7d2";
  endpoint.host_dev = dev("knet5e1c0a9b7d2");
  endpoint.container = "c";
  endpoint.ifname = "eth0";
  endpoint.addresses = {ip("10.244.1.2")};
  write_file(records / "5e1c0a9b7d2.json", format_endpoint(endpoint));
  CHECK(watch.drain());
  CHECK(watch.size() == 1);
  std::filesystem::remove_all(records);
  CHECK(watch.drain());
  CHECK(watch.size() == 0);
  write_file(records / "5e1c0a9b7d2.json", format_endpoint(endpoint));
  CHECK(watch.drain());
  CHECK(watch.size() == 1);
}
