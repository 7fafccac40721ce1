// The flags that commands share: what is given goes over what this node joined with.
#include "commands/common/flags.h"

#include <unistd.h>

#include "commands/common/cli.h"
#include <catch2/catch.hpp>
#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "base/error.h"

using namespace knet;
using Catch::Matchers::Contains;

namespace {

template <typename Flags>
Flags parsed(std::vector<std::string> words) {
  CLI::App app;
  Flags flags;
  flags.declare(app);
  std::reverse(words.begin(), words.end());
  app.parse(words);
  return flags;
}

/// Options are asked after parsing, so the App has to live as long.
struct NodeWords {
  CLI::App app;
  NodeFlags flags;
  explicit NodeWords(std::vector<std::string> words) {
    flags.declare(app);
    std::reverse(words.begin(), words.end());
    app.parse(words);
  }
};
struct StoreWords {
  CLI::App app;
  StoreFlags flags;
  explicit StoreWords(std::vector<std::string> words) {
    flags.declare(app);
    std::reverse(words.begin(), words.end());
    app.parse(words);
  }
};

struct Setenv {
  const char* name;
  Setenv(const char* name, const char* value) : name(name) { ::setenv(name, value, 1); }
  ~Setenv() { ::unsetenv(name); }
};

template <typename Call>
std::string message(Call&& call) {
  try {
    call();
  } catch (const Error& error) {
    CHECK(error.kind == ErrorKind::usage);
    return error.text;
  }
  return "no error";
}

NodeSettings joined() {
  NodeSettings settings;
  settings.name = "n1";
  settings.uplink.ifaces = {"eth1"};
  settings.uplink.public_ip = *IpAddr::parse("203.0.113.1");
  settings.forward_accept = false;
  return settings;
}

}  // namespace

TEST_CASE("nothing given keeps what the node joined with") {
  const NodeWords words({});
  CHECK_FALSE(words.flags.given());
  const NodeSettings settings = words.flags.over(joined());
  CHECK(settings.name == "n1");
  CHECK(settings.uplink == joined().uplink);
  CHECK_FALSE(settings.forward_accept);
  CHECK(settings.masquerade);
}

TEST_CASE("a flag that chooses the address replaces the whole choice; others stand alone") {
  const NodeWords words({"--iface-regex", "^10\\.9\\.", "--iface-regex", "eth{1,2}"});
  CHECK(words.flags.given());
  const NodeSettings settings = words.flags.over(joined());
  CHECK(settings.uplink.ifaces.empty());
  CHECK(settings.uplink.iface_regexes == std::vector<std::string>{"^10\\.9\\.", "eth{1,2}"});
  CHECK_FALSE(settings.uplink.public_ip);
  CHECK(settings.name == "n1");

  const NodeSettings named = NodeWords({"--node-name", "n2", "--no-masquerade"}).flags.over(joined());
  CHECK(named.name == "n2");
  CHECK_FALSE(named.masquerade);
  CHECK(named.uplink == joined().uplink);
  CHECK(NodeWords({"--no-forward-accept=false"}).flags.over(joined()).forward_accept);
}

TEST_CASE("--iface is repeatable, and auto clears the choice") {
  CHECK(NodeWords({"--iface", "eth0", "--iface", "10.9.0.5"}).flags.over({}).uplink.ifaces ==
        std::vector<std::string>{"eth0", "10.9.0.5"});
  CHECK(NodeWords({"--iface", "auto"}).flags.over(joined()).uplink == UplinkSelector{});
}

TEST_CASE("node flags come from the environment too, and the command line wins") {
  const Setenv name("KNET_NODE_NAME", "from-env");
  const Setenv iface("KNET_NODE_IFACE", "eth7,eth8");
  const Setenv masquerade("KNET_NODE_NO_MASQUERADE", "true");
  const NodeSettings settings = NodeWords({}).flags.over(joined());
  CHECK(settings.name == "from-env");
  CHECK(settings.uplink.ifaces == std::vector<std::string>{"eth7", "eth8"});
  CHECK_FALSE(settings.masquerade);
  CHECK(NodeWords({"--node-name", "typed"}).flags.over({}).name == "typed");
}

TEST_CASE("addresses are of the family that the flag says") {
  CHECK_THAT(message([] { NodeWords({"--public-ip", "fd00::1"}).flags.over({}); }), Contains("--public-ip fd00::1 is no IPv4 address"));
  CHECK_THAT(message([] { NodeWords({"--public-ip6", "10.0.0.1"}).flags.over({}); }), Contains("--public-ip6 10.0.0.1 is no IPv6 address"));
  CHECK_THAT(message([] { NodeWords({"--iface-can-reach", "host"}).flags.over({}); }), Contains("is no IP address"));
}

TEST_CASE("the store: flag, else as joined, else embedded") {
  const std::filesystem::path dir = std::filesystem::temp_directory_path() / ("knet-flags-" + std::to_string(::getpid()));
  std::filesystem::create_directories(dir);
  NodePaths paths;
  paths.state_dir = dir;
  CHECK(StoreWords({}).flags.options(paths).url == StoreOptions{}.url);
  NodeSettings settings;
  settings.store.url = "https://10.0.0.1:2379";
  settings.store.prefix = "/mine";
  settings.store.ca_file = "/ca.pem";
  save_node_settings(paths, settings);
  const StoreOptions as_joined = StoreWords({"--timeout", "250ms"}).flags.options(paths);
  CHECK(as_joined.url == "https://10.0.0.1:2379");
  CHECK(as_joined.prefix == "/mine");
  CHECK(as_joined.ca_file == "/ca.pem");
  CHECK(as_joined.timeout == std::chrono::milliseconds(250));
  // Another store: what belonged to the joined one does not apply to it.
  const StoreOptions other = StoreWords({"--store", "http://10.0.0.2:2379"}).flags.options(paths);
  CHECK(other.prefix == StoreOptions{}.prefix);
  CHECK(other.ca_file.empty());
  std::filesystem::remove_all(dir);
}

TEST_CASE("prefixes begin with a slash and end without one") {
  CHECK(StoreWords({"--prefix", "/a/b//"}).flags.over({}).prefix == "/a/b");
  CHECK_THAT(message([] { StoreWords({"--prefix", "a"}).flags.over({}); }), Contains("--prefix a"));
  CHECK_THAT(message([] { StoreWords({"--timeout", "0"}).flags.over({}); }), Contains("--timeout 0 is no time"));
}

TEST_CASE("output and paths") {
  CHECK(parsed<OutputFlag>({"-o", "json"}).json());
  CHECK(parsed<OutputFlag>({"--output=wide"}).wide());
  CHECK(parsed<OutputFlag>({}).format() == Output::table);
  CHECK_THROWS_AS(parsed<OutputFlag>({"-o", "ip"}), CLI::ValidationError);
  CHECK(parsed<PathFlags>({"--state-dir", "/s"}).paths().state_dir == "/s");
  CHECK(parsed<PathFlags>({}).paths().run_dir == NodePaths{}.run_dir);
}
