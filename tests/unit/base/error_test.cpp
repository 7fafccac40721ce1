#include "base/error.h"

#include <catch2/catch.hpp>
#include <cerrno>

using namespace knet;

TEST_CASE("each kind has one exit status and one CNI code") {
  CHECK(exit_code(ErrorKind::usage) == 2);
  CHECK(exit_code(ErrorKind::config) == 1);
  CHECK(exit_code(ErrorKind::store) == 4);
  CHECK(exit_code(ErrorKind::kernel) == 1);
  CHECK(exit_code(ErrorKind::bug) == 1);
  CHECK(cni_code(ErrorKind::usage) == 4);
  CHECK(cni_code(ErrorKind::config) == 7);
  CHECK(cni_code(ErrorKind::store) == 11);
  CHECK(cni_code(ErrorKind::kernel) >= 100);
  CHECK(to_string(ErrorKind::conflict) == "conflict");
}

TEST_CASE("messages carry context and the kernel's reason") {
  try {
    throw_errno(ENOENT, "open {}", "/x");
  } catch (const Error& error) {
    CHECK(error.kind == ErrorKind::kernel);
    CHECK(error.text == "open /x: No such file or directory");
    const Error outer = with_context(error, "knet join");
    CHECK(outer.kind == ErrorKind::kernel);
    CHECK(std::string_view(outer.what()) == "knet join: open /x: No such file or directory");
  }
  CHECK_THROWS_AS(fail(ErrorKind::bug, "{} and {}", 1, 2), Error);
}
