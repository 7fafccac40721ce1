#include "lab/matrix.h"

#include <catch2/catch.hpp>

using namespace knet;

namespace {

Matrix three_pods() {
  Matrix matrix;
  for (const char* node : {"n1", "n2", "n3"}) matrix.ends.push_back({std::string(node) + "-p1", node, *IpAddr::parse("10.244.1.2")});
  matrix.results = {{{}, {0.09, ""}, {std::nullopt, "no reply in 1 s"}}, {{0.08, ""}, {}, {0.1, ""}}, {{0.07, ""}, {12.345, ""}, {}}};
  return matrix;
}

}  // namespace

TEST_CASE("the matrix has a dash on its diagonal and capitals for what fails") {
  CHECK(render(three_pods()) ==
        "from \\ to   n1-p1   n2-p1   n3-p1    round trip, ms\n"
        "n1-p1           -    0.09    FAIL\n"
        "n2-p1        0.08       -    0.10\n"
        "n3-p1        0.07   12.35       -\n");
}

TEST_CASE("the verdict of one failure is one line with the command to paste") {
  CHECK(verdict(three_pods(), "lab") ==
        "5 of 6 pairs pass.  n1-p1 -> n3-p1: no reply in 1 s; try: knet lab exec n1 -- knet route trace n1-p1 n3-p1\n");
  CHECK(verdict(three_pods(), "demo").find("knet lab exec --name demo n1 --") != std::string::npos);
}

TEST_CASE("many failures are counted, not all told") {
  Matrix matrix = three_pods();
  for (auto& row : matrix.results)
    for (EchoResult& result : row) result = {std::nullopt, "no reply in 1 s"};
  const std::string text = verdict(matrix, "lab");
  CHECK(matrix.passed() == 0);
  CHECK(text.find("0 of 6 pairs pass.\n") == 0);
  CHECK(text.find("and 2 more") != std::string::npos);
}

TEST_CASE("an IPv6 failure is traced over IPv6") {
  Matrix matrix = three_pods();
  matrix.family = Family::v6;
  CHECK(verdict(matrix, "lab").find("knet route trace -6 n1-p1 n3-p1") != std::string::npos);
}
