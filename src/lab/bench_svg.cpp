#include "lab/bench_svg.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace knet {
namespace {

// Pixels. Names left, bars in the middle, numbers right.
constexpr double kWidth = 760, kLeft = 150, kBars = 420, kRow = 22, kBar = 12, kPanelHead = 40, kHead = 62, kFoot = 40;
constexpr double kStep = 0.25;  // of the scale's end, and of its lines while they are few

constexpr std::string_view kStyle =
    "<style>\n"
    // Plain colours first: some programs know neither variables nor media queries.
    "text{font:13px system-ui,sans-serif;fill:#1f2328} .soft{fill:#656d76;font-size:12px} .head{font-weight:600}\n"
    ".end{text-anchor:end} .mid{text-anchor:middle}\n"
    ".page{fill:#fff} .bar{fill:#54aeff} .raw{fill:#b6bec7}\n"
    ".grid{stroke:#d0d7de} .one{stroke:#656d76;stroke-dasharray:3 3} .whisker{stroke:#0a3069;stroke-width:1.5;fill:none}\n"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3} .soft{fill:#8d96a0} .page{fill:#0d1117} .bar{fill:#1f6feb}\n"
    ".raw{fill:#484f58} .grid{stroke:#30363d} .one{stroke:#8d96a0} .whisker{stroke:#cae8ff}}\n"
    "</style>\n";

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '&') out += "&amp;";
    else if (c == '<') out += "&lt;";
    else if (c == '>') out += "&gt;";
    else if (c == '"') out += "&quot;";
    else if (static_cast<unsigned char>(c) < 0x20) out += ' ';
    else out += c;
  }
  return out;
}

struct Bar {
  std::string name;
  bool raw = false;
  Spread ratio;
};

std::vector<Bar> bars_of(const BenchResult& result, Figure figure) {
  std::vector<Bar> bars;
  for (size_t i = 0; i < result.paths.size(); ++i) {
    const size_t reference = reference_of(result.plan, i);
    if (i == reference) continue;
    const auto ratio = spread(ratios(result.paths[i].series.of(figure), result.paths[reference].series.of(figure)));
    if (ratio) bars.push_back({result.plan.paths[i].name, i == 0, *ratio});
  }
  return bars;
}

std::string text_at(double x, double y, std::string_view kind, std::string_view text) {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" class=\"{}\">{}</text>\n", x, y, kind, escaped(text));
}

std::string line_at(double x, double from, double to, std::string_view kind) {
  return fmt::format("<line x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1:.1f}\" y2=\"{2:.1f}\" class=\"{3}\"/>\n", x, from, to, kind);
}

std::string draw_bar(const Bar& bar, double y, double end) {
  auto x = [&](double ratio) { return kLeft + kBars * ratio / end; };
  const double middle = y + kRow / 2, top = middle - kBar / 2;
  std::string out = text_at(kLeft - 10, middle + 4, "end", bar.name);
  out += fmt::format("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" rx=\"2\" class=\"{}\"/>\n", kLeft, top,
                     x(bar.ratio.median) - kLeft, kBar, bar.raw ? "raw" : "bar");
  out += fmt::format("<path d=\"M{0:.1f} {2:.1f}V{3:.1f}M{0:.1f} {4:.1f}H{1:.1f}M{1:.1f} {2:.1f}V{3:.1f}\" class=\"whisker\"/>\n", x(bar.ratio.min),
                     x(bar.ratio.max), middle - 4, middle + 4, middle);
  out += text_at(kLeft + kBars + 12, middle + 4, "", fmt::format("{:.2f}", bar.ratio.median));
  out += text_at(kLeft + kBars + 46, middle + 4, "soft", fmt::format("{:.2f} to {:.2f}", bar.ratio.min, bar.ratio.max));
  return out;
}

std::string draw_panel(const FigureInfo& figure, const std::vector<Bar>& bars, double y) {
  double most = 1;
  for (const Bar& bar : bars) most = std::max(most, bar.ratio.max);
  const double end = std::ceil(most / kStep) * kStep;
  const double step = kStep * std::ceil(end / kStep / 6);
  const double top = y + kPanelHead - 12, bottom = y + kPanelHead + kRow * static_cast<double>(bars.size());
  std::string out = text_at(kLeft, y + 14, "head", figure.words);
  out += text_at(kWidth - 20, y + 14, "soft end", figure.more_is_better ? "longer is better" : "shorter is better");
  for (double at = 0; at <= end + 1e-9; at += step) {
    const double x = kLeft + kBars * at / end;
    out += line_at(x, top, bottom, "grid");
    out += text_at(x, bottom + 14, "soft mid", fmt::format("{:g}", at));
  }
  for (size_t i = 0; i < bars.size(); ++i) out += draw_bar(bars[i], y + kPanelHead - 6 + kRow * static_cast<double>(i), end);
  return out + line_at(kLeft + kBars / end, top, bottom, "one");
}

}  // namespace

std::string render_svg(const BenchResult& result, std::string_view circumstances) {
  std::string panels;
  double y = kHead;
  for (const FigureInfo& figure : figures()) {
    if (!figure.has_ratio) continue;
    const std::vector<Bar> bars = bars_of(result, figure.figure);
    if (bars.empty()) continue;
    panels += draw_panel(figure, bars, y);
    y += kPanelHead + kRow * static_cast<double>(bars.size()) + 34;
  }
  const double height = y + kFoot;
  std::string out = fmt::format("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0:.0f} {1:.0f}\" width=\"{0:.0f}\" height=\"{1:.0f}\" role=\"img\">\n",
                                kWidth, height);
  out += "<title>knet lab bench: pod to pod, each path as a ratio to host-gw</title>\n";
  out += kStyle;
  out += fmt::format("<rect width=\"{:.0f}\" height=\"{:.0f}\" class=\"page\"/>\n", kWidth, height);
  out += text_at(20, 28, "head", "Pod to pod, as a ratio to host-gw");
  out += text_at(20, 46, "soft", fmt::format("bar: median of {} round{}; whisker: the smallest and the largest; raw: a veth pair without any node between",
                                             result.plan.words.rounds, result.plan.words.rounds == 1 ? "" : "s"));
  out += panels;
  const size_t colon = circumstances.find(": ");
  out += text_at(20, y + 8, "soft", circumstances.substr(0, colon));
  if (colon != std::string_view::npos) out += text_at(20, y + 24, "soft", circumstances.substr(colon + 2));
  return out + "</svg>\n";
}

}  // namespace knet
