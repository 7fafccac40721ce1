#include "lab/matrix.h"

#include <algorithm>

#include "base/error.h"
#include "kernel/netns.h"
#include "lab/lab_space.h"

namespace knet {
namespace {

constexpr size_t kHints = 4;

std::string cell(const EchoResult& result) { return result.ms ? fmt::format("{:.2f}", *result.ms) : "FAIL"; }

/// Every end asks every other one; the answers are put back at their places, around the diagonal.
Matrix ask(Family family, std::vector<MatrixEnd> ends, const std::vector<int>& spaces, std::chrono::milliseconds limit) {
  Matrix matrix;
  matrix.family = family;
  std::vector<EchoSource> sources(ends.size());
  for (size_t i = 0; i < ends.size(); ++i) {
    sources[i].netns_fd = spaces[i];
    for (size_t j = 0; j < ends.size(); ++j)
      if (j != i) sources[i].targets.push_back(ends[j].ip);
  }
  matrix.results = echo_all(sources, limit);
  for (size_t i = 0; i < ends.size(); ++i)
    matrix.results[i].insert(matrix.results[i].begin() + static_cast<ptrdiff_t>(i), EchoResult{});
  matrix.ends = std::move(ends);
  return matrix;
}

}  // namespace

size_t Matrix::passed() const {
  size_t count = 0;
  for (size_t i = 0; i < results.size(); ++i)
    for (size_t j = 0; j < results[i].size(); ++j)
      if (i != j && results[i][j].ms) ++count;
  return count;
}

std::vector<Matrix> ping_lab(const Lab& lab, std::chrono::milliseconds limit) {
  enter_lab(lab);
  std::vector<Fd> open;
  std::vector<Matrix> matrices;
  for (const Family family : {Family::v4, Family::v6}) {
    std::vector<MatrixEnd> ends;
    std::vector<int> spaces;
    for (const LabNode& node : lab.nodes)
      for (const LabPod& pod : node.pods)
        for (const IpAddr& ip : pod.addresses) {
          if (ip.family() != family) continue;
          open.push_back(open_netns(lab.netns_path(pod.name)));
          ends.push_back({pod.name, node.name, ip});
          spaces.push_back(open.back().get());
        }
    if (!ends.empty()) matrices.push_back(ask(family, std::move(ends), spaces, limit));
  }
  return matrices;
}

std::string render(const Matrix& matrix) {
  const std::string corner = "from \\ to";
  size_t first = corner.size();
  for (const MatrixEnd& end : matrix.ends) first = std::max(first, end.pod.size());
  constexpr size_t kCell = 6;  // "123.45"
  std::string out = fmt::format("{:<{}}", corner, first);
  for (const MatrixEnd& end : matrix.ends) out += fmt::format("  {:>{}}", end.pod, std::max(kCell, end.pod.size()));
  out += matrix.family == Family::v6 ? "    round trip, ms, IPv6\n" : "    round trip, ms\n";
  for (size_t i = 0; i < matrix.ends.size(); ++i) {
    out += fmt::format("{:<{}}", matrix.ends[i].pod, first);
    for (size_t j = 0; j < matrix.ends.size(); ++j)
      out += fmt::format("  {:>{}}", i == j ? "-" : cell(matrix.results[i][j]), std::max(kCell, matrix.ends[j].pod.size()));
    out += '\n';
  }
  return out;
}

std::string verdict(const Matrix& matrix, const std::string& lab_name) {
  const std::string named = lab_name == LabWords{}.name ? "" : " --name " + lab_name;
  std::vector<std::string> hints;
  size_t failed = 0;
  for (size_t i = 0; i < matrix.ends.size(); ++i)
    for (size_t j = 0; j < matrix.ends.size(); ++j) {
      if (i == j || matrix.results[i][j].ms) continue;
      if (++failed > kHints) continue;
      const MatrixEnd &from = matrix.ends[i], &to = matrix.ends[j];
      const std::string family = matrix.family == Family::v6 ? " -6" : "";
      hints.push_back(fmt::format("{} -> {}: {}; try: knet lab exec{} {} -- knet route trace{} {} {}", from.pod, to.pod,
                                  matrix.results[i][j].why, named, from.node, family, from.pod, to.pod));
    }
  std::string out = fmt::format("{} of {} pairs pass.", matrix.passed(), matrix.pairs());
  if (hints.size() == 1) return out + "  " + hints.front() + "\n";
  out += '\n';
  for (const std::string& hint : hints) out += "  " + hint + "\n";
  if (failed > hints.size()) out += fmt::format("  and {} more\n", failed - hints.size());
  return out;
}

}  // namespace knet
