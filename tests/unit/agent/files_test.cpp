#include "agent/files.h"

#include <catch2/catch.hpp>
#include <fstream>
#include <nlohmann/json.hpp>

#include "agent/installed.h"
#include "agent/subnet_env.h"
#include "base/error.h"
#include "base/file.h"
#include "tests/unit/agent/temporary.h"

using namespace knet;
namespace fs = std::filesystem;

namespace {

// A machine's root in a directory of its own, with a program to link to.
struct Machine {
  test::Temporary dir;
  NodePaths paths;
  FileSettings files;

  Machine() {
    paths.state_dir = dir.path() / "state";
    paths.run_dir = dir.path() / "run";
    files.root = dir.path() / "root";
    files.program = dir.path() / "knet";
    put(files.program, "program");
  }
  static void put(const fs::path& path, const std::string& text) {
    fs::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }
  fs::path at(const std::string& path) const { return files.root / path; }
  std::vector<std::string> leave() const {
    InstalledFiles installed(paths.installed());
    std::vector<std::string> done;
    const auto entries = installed.entries();
    for (const auto& entry : entries) done.push_back(installed.remove(entry.path));
    return done;
  }
};

size_t files_below(const fs::path& root) {
  size_t count = 0;
  for (const auto& item : fs::recursive_directory_iterator(root)) count += !item.is_directory();
  return count;
}

}  // namespace

TEST_CASE("conflist and link are written, and again without harm, and taken away") {
  Machine machine;
  for (int i = 0; i < 2; ++i) {
    const CniReport report = install_cni(machine.paths, machine.files);
    CHECK(report.conflist == "/etc/cni/net.d/05-knet.conflist");
    CHECK(report.links == 1);
    CHECK(report.read_first == "05-knet.conflist");
    CHECK(report.notices.empty());
  }
  CHECK(fs::read_symlink(machine.at("opt/cni/bin/knet")) == machine.files.program);
  const auto conflist = nlohmann::json::parse(*read_file(machine.at("etc/cni/net.d/05-knet.conflist")));
  CHECK(conflist["name"] == "knet");
  CHECK(conflist["cniVersion"] == "1.0.0");
  CHECK(conflist["plugins"][0]["type"] == "knet");
  CHECK(conflist["plugins"][0]["stateDir"] == machine.paths.state_dir.string());
  CHECK(conflist["plugins"][0]["runDir"] == machine.paths.run_dir.string());
  machine.leave();
  CHECK(files_below(machine.files.root) == 0);
}

TEST_CASE("a plugin of somebody else is not overwritten without force, and comes back") {
  Machine machine;
  Machine::put(machine.at("opt/cni/bin/knet"), "somebody's");
  ErrorKind kind = ErrorKind::bug;
  try {
    install_cni(machine.paths, machine.files);
  } catch (const Error& error) {
    kind = error.kind;
    CHECK(error.text.find("opt/cni/bin/knet") != std::string::npos);
    CHECK(error.text.find("--force") != std::string::npos);
  }
  CHECK(kind == ErrorKind::conflict);
  CHECK(*read_file(machine.at("opt/cni/bin/knet")) == "somebody's");

  machine.files.force = true;
  install_cni(machine.paths, machine.files);
  CHECK(fs::is_symlink(machine.at("opt/cni/bin/knet")));
  CHECK(*read_file(machine.at("opt/cni/bin/knet.before-knet")) == "somebody's");
  machine.leave();
  CHECK(*read_file(machine.at("opt/cni/bin/knet")) == "somebody's");
  CHECK_FALSE(fs::exists(machine.at("opt/cni/bin/knet.before-knet")));
}

TEST_CASE("a backup of an earlier time is not overwritten") {
  Machine machine;
  Machine::put(machine.at("opt/cni/bin/knet"), "second");
  Machine::put(machine.at("opt/cni/bin/knet.before-knet"), "first");
  machine.files.force = true;
  ErrorKind kind = ErrorKind::bug;
  try {
    install_cni(machine.paths, machine.files);
  } catch (const Error& error) {
    kind = error.kind;
    CHECK(error.text.find("knet.before-knet") != std::string::npos);
  }
  CHECK(kind == ErrorKind::conflict);
  CHECK(*read_file(machine.at("opt/cni/bin/knet")) == "second");
  CHECK(*read_file(machine.at("opt/cni/bin/knet.before-knet")) == "first");
}

TEST_CASE("copies instead of links; a new program replaces our old copy") {
  Machine machine;
  machine.files.cni_copy = true;
  install_cni(machine.paths, machine.files);
  CHECK_FALSE(fs::is_symlink(machine.at("opt/cni/bin/knet")));
  CHECK((fs::status(machine.at("opt/cni/bin/knet")).permissions() & fs::perms::owner_exec) != fs::perms::none);
  Machine::put(machine.files.program, "program 2");
  install_cni(machine.paths, machine.files);
  CHECK(*read_file(machine.at("opt/cni/bin/knet")) == "program 2");
  machine.files.cni_copy = false;
  install_cni(machine.paths, machine.files);
  CHECK(fs::is_symlink(machine.at("opt/cni/bin/knet")));
}

TEST_CASE("which conflist a runtime reads first") {
  Machine machine;
  Machine::put(machine.at("etc/cni/net.d/10-flannel.conflist"), "{}");
  Machine::put(machine.at("etc/cni/net.d/99-loopback.conf"), "{}");
  Machine::put(machine.at("etc/cni/net.d/00-notes.txt"), "");
  CniReport report = install_cni(machine.paths, machine.files);
  CHECK(report.read_first == "05-knet.conflist");
  CHECK(report.read_after == std::vector<std::string>{"10-flannel.conflist", "99-loopback.conf"});
  CHECK(report.notices.empty());

  Machine::put(machine.at("etc/cni/net.d/01-other.json"), "{}");
  report = install_cni(machine.paths, machine.files);
  CHECK(report.read_first == "01-other.json");
  REQUIRE(report.notices.size() == 1);
  CHECK(report.notices[0].find("01-other.json") != std::string::npos);
}

TEST_CASE("a conflist name that no runtime reads is refused") {
  Machine machine;
  for (const char* name : {"knet", "knet.conf", "../x.conflist"}) {
    machine.files.cni_conf_name = name;
    CHECK_THROWS_AS(install_cni(machine.paths, machine.files), Error);
  }
}

TEST_CASE("system files only for what is installed") {
  Machine machine;
  CHECK(install_system(machine.paths, machine.files).written.empty());
  for (const char* dir : {"run/systemd/system", "etc/iproute2", "etc/NetworkManager", "run/systemd/netif"})
    fs::create_directories(machine.at(dir));
  Machine::put(machine.at("run/udev/control"), "");
  const SystemFiles report = install_system(machine.paths, machine.files);
  CHECK(report.unit);
  CHECK(report.written.size() == 6);
  for (const std::string& path : report.written) CHECK(fs::exists(path));
  const std::string unit = *read_file(machine.at("etc/systemd/system/knet.service"));
  CHECK(unit.find("Type=notify\n") != std::string::npos);
  CHECK(unit.find("Before=containerd.service") != std::string::npos);
  CHECK(unit.find("ExecStart=" + machine.files.program.string() + " agent --state-dir " +
                  machine.paths.state_dir.string()) != std::string::npos);
  CHECK(read_file(machine.at("etc/iproute2/rt_protos.d/knet.conf"))->find("107 knet\n") != std::string::npos);
  machine.leave();
  for (const std::string& path : report.written) CHECK_FALSE(fs::exists(path));
}

TEST_CASE("the unit's command line is one to systemd too") {
  Machine machine;
  fs::create_directories(machine.at("run/systemd/system"));
  const std::string dir = machine.dir.path().string();
  machine.paths.state_dir = dir + "/knet 100%/$state";
  machine.paths.run_dir = dir + "/\"run\"";
  machine.files.program = "/opt/k net/knet";
  install_system(machine.paths, machine.files);
  const std::string unit = *read_file(machine.at("etc/systemd/system/knet.service"));
  CHECK(unit.find("ExecStart=\"/opt/k net/knet\" agent --state-dir \"" + dir +
                  "/knet 100%%/$$state\" --run-dir \"" + dir + "/\\\"run\\\"\"\n") != std::string::npos);
}

TEST_CASE("a file of ours that was changed since is left by leave, and said so") {
  Machine machine;
  install_cni(machine.paths, machine.files);
  Machine::put(machine.at("etc/cni/net.d/05-knet.conflist"), "{\"edited\":true}");
  const auto done = machine.leave();
  CHECK(fs::exists(machine.at("etc/cni/net.d/05-knet.conflist")));
  CHECK_FALSE(fs::exists(fs::symlink_status(machine.at("opt/cni/bin/knet"))));
  bool said = false;
  for (const std::string& line : done) said = said || line.find("changed since") != std::string::npos;
  CHECK(said);
}

TEST_CASE("a damaged list of installed files is refused, not taken as empty") {
  Machine machine;
  Machine::put(machine.paths.installed(), "{\"files\":[{}]}");
  CHECK_THROWS_AS(InstalledFiles(machine.paths.installed()), Error);
  Machine::put(machine.paths.installed(), "x");
  CHECK_THROWS_AS(InstalledFiles(machine.paths.installed()), Error);
}

TEST_CASE("node settings: saved and read, without secrets; damaged is refused") {
  Machine machine;
  CHECK_FALSE(load_node_settings(machine.paths));
  NodeSettings settings;
  settings.store.url = "https://a:2379,https://b:2379";
  settings.store.prefix = "/net";
  settings.store.user = "root";
  settings.store.password_file = "/etc/knet/password";
  settings.name = "n1";
  settings.uplink.ifaces = {"eth1", "10.9.0.5"};
  settings.uplink.iface_regexes = {"^eth"};
  settings.uplink.can_reach = IpAddr::parse("10.0.0.1");
  settings.uplink.public_ip = IpAddr::parse("203.0.113.7").value();
  settings.masquerade = false;
  settings.forward_accept = false;
  save_node_settings(machine.paths, settings);
  const auto read = load_node_settings(machine.paths);
  REQUIRE(read);
  CHECK(read->store.url == settings.store.url);
  CHECK(read->store.prefix == "/net");
  CHECK(read->store.user == "root");
  CHECK(read->store.password_file == "/etc/knet/password");
  CHECK(read->name == "n1");
  CHECK(read->uplink == settings.uplink);
  CHECK_FALSE(read->masquerade);
  CHECK_FALSE(read->forward_accept);
  CHECK(read->lower_rp_filter);
  Machine::put(machine.paths.node_file(), "[]");
  CHECK_THROWS_AS(load_node_settings(machine.paths), Error);
}

TEST_CASE("the node's name: given, persisted, checked") {
  Machine machine;
  CHECK(resolve_node_name(machine.paths, "n7") == "n7");
  CHECK_THROWS_AS(resolve_node_name(machine.paths, "N 7"), Error);
  Machine::put(machine.paths.node_name(), "n3\n");
  CHECK(resolve_node_name(machine.paths, "") == "n3");
  CHECK(resolve_node_name(machine.paths, "n4") == "n4");
}

TEST_CASE("the machine's instance is known, and the same when asked again") {
  const std::string instance = machine_instance();
  CHECK(instance.size() == 16);
  CHECK(machine_instance() == instance);
}

TEST_CASE("the machine id: the state dir's before the machine's") {
  Machine machine;
  const std::string machines = resolve_machine_id(machine.paths, false);
  CHECK_FALSE(machines.empty());
  Machine::put(machine.paths.machine_id(), "0123456789abcdef0123456789abcdef\n");
  CHECK(resolve_machine_id(machine.paths, false) == "0123456789abcdef0123456789abcdef");
}

TEST_CASE("the agent's line quotes what a shell would split") {
  NodePaths paths;
  NodeSettings settings;
  settings.store.url = "http://192.168.77.1:2379";
  CHECK(agent_line(paths, settings) == "knet agent --store http://192.168.77.1:2379");
  paths.state_dir = "/tmp/a b";
  CHECK(agent_line(paths, settings) == "knet agent --state-dir '/tmp/a b' --store http://192.168.77.1:2379");
}

TEST_CASE("subnet.env is written in flannel's words") {
  Machine machine;
  NetworkConfig config;
  config.network = Prefix::parse("10.5.0.0/16").value();
  Lease lease;
  lease.subnet = Prefix::parse("10.5.70.0/24").value();
  CHECK(write_subnet_env(machine.paths, config, lease, {1450, 0}));
  CHECK(*read_file(machine.paths.subnet_env()) ==
        "FLANNEL_NETWORK=10.5.0.0/16\nFLANNEL_SUBNET=10.5.70.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n");
  CHECK_FALSE(write_subnet_env(machine.paths, config, lease, {1450, 0}));
}
