// Flags as Go programs take them, for the flanneld applet.
#include "commands/common/go_flags.h"

#include <catch2/catch.hpp>

#include "base/error.h"

using namespace knet;
using Catch::Matchers::Contains;

namespace {

constexpr GoFlag kTable[] = {
    {"etcd-prefix", GoFlag::Kind::text, "/coreos.com/network", ""},
    {"ip-masq", GoFlag::Kind::boolean, "false", ""},
    {"forward", GoFlag::Kind::boolean, "true", ""},
    {"healthz-port", GoFlag::Kind::integer, "0", ""},
    {"iface", GoFlag::Kind::list, "", ""},
};

using Env = std::map<std::string, std::string>;

GoFlags parse(std::vector<std::string> words, const Env& env = {}) {
  return GoFlags(kTable, words, "FLANNELD", [&](const std::string& name) -> std::optional<std::string> {
    const auto found = env.find(name);
    return found == env.end() ? std::nullopt : std::optional<std::string>(found->second);
  });
}

std::string message(std::vector<std::string> words, const Env& env = {}) {
  try {
    parse(std::move(words), env);
  } catch (const Error& error) {
    CHECK(error.kind == ErrorKind::usage);
    return error.text;
  }
  return "no error";
}

}  // namespace

TEST_CASE("one dash or two, = or a blank, booleans alone") {
  const GoFlags flags = parse({"-etcd-prefix", "/a", "--ip-masq", "-healthz-port=10256", "--forward=false", "-iface=eth0", "--iface", "10.0.0.1"});
  CHECK(flags.text("etcd-prefix") == "/a");
  CHECK(flags.flag("ip-masq"));
  CHECK_FALSE(flags.flag("forward"));
  CHECK(flags.integer("healthz-port") == 10256);
  CHECK(flags.list("iface") == std::vector<std::string>{"eth0", "10.0.0.1"});
  CHECK(flags.names_given().size() == 5);
}

TEST_CASE("defaults, and a boolean takes no word after it") {
  const GoFlags flags = parse({});
  CHECK(flags.text("etcd-prefix") == "/coreos.com/network");
  CHECK_FALSE(flags.flag("ip-masq"));
  CHECK(flags.flag("forward"));
  CHECK(flags.list("iface").empty());
  CHECK_FALSE(flags.given("etcd-prefix"));
  CHECK_THAT(message({"-ip-masq", "true"}), Contains("'true' is no flag"));  // as in Go
}

TEST_CASE("the last one wins; the command line wins over the environment") {
  CHECK(parse({"-etcd-prefix=/a", "-etcd-prefix=/b"}).text("etcd-prefix") == "/b");
  const Env env = {{"FLANNELD_ETCD_PREFIX", "/env"}, {"FLANNELD_IP_MASQ", "true"}, {"FLANNELD_IFACE", "eth9"}};
  CHECK(parse({}, env).text("etcd-prefix") == "/env");
  CHECK(parse({}, env).flag("ip-masq"));
  CHECK(parse({}, env).list("iface") == std::vector<std::string>{"eth9"});
  CHECK(parse({"-etcd-prefix=/a", "-iface=eth0"}, env).text("etcd-prefix") == "/a");
  CHECK(parse({"-iface=eth0"}, env).list("iface") == std::vector<std::string>{"eth0"});
}

TEST_CASE("mistakes name the flag, the value and a near flag") {
  CHECK_THAT(message({"--etcd-prefx=/a"}), Contains("--etcd-prefx") && Contains("did you mean --etcd-prefix?"));
  CHECK_THAT(message({"--zzzzzzz"}), Contains("unknown flag"));
  CHECK_THAT(message({"--etcd-prefix"}), Contains("needs a value"));
  CHECK_THAT(message({"--healthz-port=x"}), Contains("healthz-port") && Contains("'x' is no number"));
  CHECK_THAT(message({"--ip-masq=maybe"}), Contains("neither true nor false"));
  CHECK_THAT(message({}, {{"FLANNELD_HEALTHZ_PORT", "x"}}), Contains("FLANNELD_HEALTHZ_PORT"));
  CHECK_THAT(message({"word"}), Contains("'word' is no flag"));
  CHECK(parse({"-h"}).help());
  CHECK(parse({"--help", "--ip-masq"}).help());
}
