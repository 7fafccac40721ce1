// The node's wireguard key: made once, kept, readable by its owner alone.
#include "agent/wireguard_key.h"

#include <stdlib.h>
#include <sys/stat.h>

#include <catch2/catch.hpp>

#include "base/error.h"
#include "base/file.h"
#include "tests/support/make.h"

using namespace knet;
using namespace knet::test;

namespace {

struct StateDir {
  StateDir() {
    char name[] = "/tmp/knet-unit-XXXXXX";
    REQUIRE(mkdtemp(name) != nullptr);
    paths.state_dir = std::filesystem::path(name) / "state";
  }
  ~StateDir() { std::filesystem::remove_all(paths.state_dir.parent_path()); }
  NodePaths paths;
};

WireguardKey known(const NodePaths& paths, const NetworkConfig& config, MakeKey make) {
  LocalNode self;
  know_wireguard_key(self, paths, config, make);
  CHECK(self.wireguard_key_file == paths.wireguard_key());
  return self.wireguard_key;
}

}  // namespace

TEST_CASE("wireguard's key is made when the mode first needs it, mode 0600, and kept") {
  StateDir dir;
  const NetworkConfig vxlan = view_of("vxlan").config, wireguard = view_of("wireguard").config;
  CHECK(known(dir.paths, vxlan, MakeKey::yes) == WireguardKey{});
  CHECK(known(dir.paths, wireguard, MakeKey::no) == WireguardKey{});
  CHECK(known(dir.paths, wireguard, MakeKey::for_show) != WireguardKey{});
  CHECK_FALSE(std::filesystem::exists(dir.paths.wireguard_key()));
  const WireguardKey made = known(dir.paths, wireguard, MakeKey::yes);
  CHECK(made != WireguardKey{});
  struct stat info {};
  REQUIRE(stat(dir.paths.wireguard_key().c_str(), &info) == 0);
  CHECK((info.st_mode & 07777) == 0600);
  CHECK(known(dir.paths, wireguard, MakeKey::yes) == made);
  CHECK(known(dir.paths, vxlan, MakeKey::no) == made);  // while it is still received, say
  NetworkConfig earlier = vxlan;
  earlier.earlier = {{"wireguard", {}}};
  std::filesystem::remove(dir.paths.wireguard_key());
  CHECK(known(dir.paths, earlier, MakeKey::yes) != made);
}

TEST_CASE("wireguard's key: the public one is that of the file, and a damaged file is named without its content") {
  StateDir dir;
  const NetworkConfig wireguard = view_of("wireguard").config;
  // RFC 7748, section 6.1.
  write_file(dir.paths.wireguard_key(), "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=\n", 0600);
  CHECK(known(dir.paths, wireguard, MakeKey::yes)[0] == 0x85);
  write_file(dir.paths.wireguard_key(), "hunter2\n", 0600);
  try {
    known(dir.paths, wireguard, MakeKey::yes);
    FAIL("no error");
  } catch (const Error& error) {
    CHECK(error.text.find("holds no wireguard key") != std::string::npos);
    CHECK(error.text.find("hunter2") == std::string::npos);
  }
}
