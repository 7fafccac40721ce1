#include "base/x25519.h"

#include <catch2/catch.hpp>
#include <string>

using namespace knet;

namespace {

X25519Key bytes(const std::string& hex) {
  X25519Key key{};
  for (size_t i = 0; i < key.size(); ++i) key[i] = static_cast<uint8_t>(std::stoi(hex.substr(2 * i, 2), nullptr, 16));
  return key;
}

}  // namespace

TEST_CASE("X25519: the public keys of RFC 7748, section 6.1") {
  CHECK(x25519_public(bytes("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")) ==
        bytes("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"));
  CHECK(x25519_public(bytes("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")) ==
        bytes("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"));
}

TEST_CASE("X25519: a new private key is clamped, and another one each time") {
  const X25519Key one = make_x25519_private(), other = make_x25519_private();
  CHECK((one[0] & 7) == 0);
  CHECK((one[31] & 0xc0) == 0x40);
  CHECK(one != other);
}

TEST_CASE("wiped bytes are gone at the end of the scope") {
  std::string secret = "secret";
  {
    const Wiped wiped(secret);
  }
  CHECK(secret == std::string(6, '\0'));
}
