// The bench as a picture: a panel for each figure, a bar for each path as its ratio to host-gw, a whisker from the
// smallest to the largest round. One self-contained SVG file, for light and dark pages. Pure text.
#pragma once

#include <string>
#include <string_view>

#include "lab/bench.h"

namespace knet {

/// `circumstances`: the line below it: date, kernel, cores, command.
std::string render_svg(const BenchResult& result, std::string_view circumstances);

}  // namespace knet
