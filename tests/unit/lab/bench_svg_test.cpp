#include "lab/bench_svg.h"

#include <catch2/catch.hpp>

using namespace knet;

namespace {

BenchResult three_paths() {
  BenchResult result;
  result.plan.words.rounds = 3;
  result.plan.paths = {{"raw", "", "", false, {}}, {"host-gw", "host-gw", "", true, {}}, {"udp/user", "udp", "user", true, {}}};
  result.paths.resize(3);
  result.paths[0].series.of(Figure::tcp) = {20, 21, 19};
  result.paths[1].series.of(Figure::tcp) = {10, 14, 12};
  result.paths[2].series.of(Figure::tcp) = {5, 3.5, 6};
  return result;
}

size_t count(const std::string& text, const std::string& piece) {
  size_t found = 0;
  for (size_t at = text.find(piece); at != std::string::npos; at = text.find(piece, at + 1)) ++found;
  return found;
}

}  // namespace

TEST_CASE("the picture has a bar and a whisker for each path but host-gw, and a panel for what was measured") {
  const std::string svg = render_svg(three_paths(), "2026-01-01, kernel <6>, 2 cores: knet lab bench --opt a&b");
  CHECK(svg.find("<svg xmlns=") == 0);
  CHECK(svg.rfind("</svg>\n") == svg.size() - 7);
  CHECK(count(svg, "class=\"bar\"") == 1);
  CHECK(count(svg, "class=\"raw\"") == 1);
  CHECK(count(svg, "class=\"whisker\"") == 2);
  CHECK(svg.find(">udp/user<") != std::string::npos);
  CHECK(svg.find(">0.50<") != std::string::npos);
  CHECK(svg.find(">0.25 to 0.50<") != std::string::npos);
  CHECK(svg.find("TCP, one stream") != std::string::npos);
  CHECK(svg.find("round trip") == std::string::npos);  // not measured
  CHECK(svg.find("prefers-color-scheme:dark") != std::string::npos);
  CHECK(svg.find("kernel &lt;6&gt;") != std::string::npos);
  CHECK(svg.find("a&amp;b") != std::string::npos);
  CHECK(svg.find("href") == std::string::npos);  // nothing is fetched
}

TEST_CASE("bars stay within the picture, however slow or fast a path is") {
  BenchResult result = three_paths();
  result.paths[2].series.of(Figure::tcp) = {1000, 1400, 1200};
  const std::string svg = render_svg(result, "x");
  for (size_t at = svg.find("width=\"", svg.find("<rect x=")); at != std::string::npos; at = svg.find("width=\"", at + 1))
    CHECK(std::stod(svg.substr(at + 7)) <= 420);
}
