// The grammar of --store: what is taken, and that what is not is refused with an example and without secrets.
#include <stdlib.h>

#include <catch2/catch.hpp>

#include "base/error.h"
#include "store/store.h"

using namespace knet;
using Catch::Contains;

namespace {

std::string where(const std::string& url) {
  StoreOptions options;
  options.url = url;
  return open_store(options)->where();
}

std::string refusal(StoreOptions options) {
  try {
    open_store(options);
  } catch (const Error& error) {
    CHECK(error.kind == ErrorKind::usage);
    return error.text;
  }
  return "";
}

std::string refusal(const std::string& url) {
  StoreOptions options;
  options.url = url;
  return refusal(options);
}

}  // namespace

TEST_CASE("URLs that make sense") {
  CHECK(where("http://192.168.77.1:2379") == "http://192.168.77.1:2379");
  CHECK(where("http://a") == "http://a:2379");
  CHECK(where(" HTTP://a:1/ , http://b:2 ") == "http://a:1,http://b:2");
  CHECK(where("http://a:1,http://a:1") == "http://a:1");
  CHECK(where("https://[fd00::1]:2379") == "https://[fd00::1]:2379");
  CHECK(where("https://[fd00::1]") == "https://[fd00::1]:2379");
  CHECK(where("sqlite:///var/lib/knet/knet.db") == "sqlite:///var/lib/knet/knet.db");
}

TEST_CASE("URLs that do not") {
  for (const char* url : {"", "http://", "http://:2379", "http://a:0", "http://a:99999", "http://a:x", "http://a/v3", "http://a?x", "http://fd00::1:2379",
                          "http://[fd00::1", "http://[10.0.0.1]", "http://[fd00::1]x", "http://a,,http://b", "http://a,https://b", "http://a b",
                          "sqlite://knet.db", "sqlite:///dir/", "ftp://a", "a:2379", "/var/lib/x.db"}) {
    INFO(url);
    CHECK_THAT(refusal(url), Contains("--store") && Contains("http://192.168.77.1:2379"));
  }
  CHECK_THAT(refusal("htpp://a"), Contains("did you mean http"));
  CHECK_THAT(refusal("/var/lib/x.db"), Contains("sqlite:///var/lib/x.db"));
  CHECK_THAT(refusal("10.0.0.1:2379"), Contains("http://10.0.0.1:2379"));
}

TEST_CASE("secrets are never repeated") {
  for (const char* url : {"http://root:hunter2@a:2379", "root:hunter2@a:2379", "http://a,http://root:hunter2@b", "https://u:hunter2@a,,"}) {
    std::string text = refusal(url);
    INFO(text);
    CHECK_FALSE(text.empty());
    CHECK(text.find("hunter2") == std::string::npos);
  }
}

TEST_CASE("options that go together") {
  StoreOptions options;
  options.url = "https://a";
  options.cert_file = "/x.pem";
  CHECK_THAT(refusal(options), Contains("--key"));
  options.url = "http://a";
  options.key_file = "/x.key";
  CHECK_THAT(refusal(options), Contains("https://"));
  options = {};
  options.url = "http://a";
  options.user = "knet";
  ::unsetenv("KNET_STORE_PASSWORD");
  CHECK_THAT(refusal(options), Contains("KNET_STORE_PASSWORD"));
  options.password_file = "/nowhere/password";
  CHECK_THAT(refusal(options), Contains("/nowhere/password"));
  options = {};
  options.prefix = "coreos";
  CHECK_THAT(refusal(options), Contains("--prefix coreos"));
  options.prefix = "/coreos/";
  CHECK_FALSE(refusal(options).empty());
}
