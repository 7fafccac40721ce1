// The pod-to-pod matrix of `knet lab ping`: which pairs are asked, and what is printed of the answers. The text is pure;
// asking opens sockets in the pods' namespaces.
#pragma once

#include <string>
#include <vector>

#include "lab/echo.h"
#include "lab/lab.h"

namespace knet {

struct MatrixEnd {
  std::string pod;    // "n1-p1"
  std::string node;   // "n1"
  IpAddr ip;
};

/// results[i][j]: from ends[i] to ends[j]; the diagonal is not asked.
struct Matrix {
  Family family = Family::v4;
  std::vector<MatrixEnd> ends;
  std::vector<std::vector<EchoResult>> results;

  size_t pairs() const { return ends.size() * (ends.size() - (ends.empty() ? 0 : 1)); }
  size_t passed() const;
};

/// One matrix for each family that the pods have. Enters the lab's namespaces (one thread at that time).
std::vector<Matrix> ping_lab(const Lab& lab, std::chrono::milliseconds limit);

/// The table: a head line, one line a pod, "-" on the diagonal, milliseconds or FAIL.
std::string render(const Matrix& matrix);
/// "4 of 6 pairs pass.  n1-p1 -> n3-p1: no reply in 1 s; try: knet lab exec n1 -- knet route trace n1-p1 n3-p1"; more
/// failures than one are told in a line each, at most `kHints`.
std::string verdict(const Matrix& matrix, const std::string& lab_name);

}  // namespace knet
