#include "commands/lab/bench.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/fd.h"
#include "base/text.h"
#include "commands/common/cli.h"
#include "commands/common/output.h"
#include "commands/common/table.h"
#include "kernel/linux_plane.h"
#include "lab/bench.h"
#include "lab/bench_svg.h"
#include "lab/lab_space.h"

namespace knet {
namespace {

using Json = nlohmann::ordered_json;

/// A file to be written at the end, held by its directory: by then this process sees another /run.
class LateFile {
 public:
  explicit LateFile(const std::filesystem::path& path) : path_(path), name_(path.filename().string()) {
    const std::filesystem::path dir = path.has_parent_path() ? path.parent_path() : ".";
    dir_ = Fd(open(dir.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!dir_) fail(ErrorKind::usage, "--svg {}: {} is no directory ({})", path.string(), dir.string(), errno_text(errno));
    if (name_.empty() || name_ == "." || name_ == "..") fail(ErrorKind::usage, "--svg {}: give a file's name", path.string());
    // Told now, not after minutes.
    if (faccessat(dir_.get(), name_.c_str(), W_OK, 0) != 0 && (errno != ENOENT || faccessat(AT_FDCWD, dir.c_str(), W_OK, 0) != 0))
      throw_errno(errno, "--svg {}", path.string());
  }

  void write(std::string_view text) const {
    Fd fd(openat(dir_.get(), name_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    if (!fd) throw_errno(errno, "write {}", path_.string());
    while (!text.empty()) {
      const ssize_t size = ::write(fd.get(), text.data(), text.size());
      if (size < 0) throw_errno(errno, "write {}", path_.string());
      text.remove_prefix(static_cast<size_t>(size));
    }
  }

 private:
  std::filesystem::path path_;
  std::string name_;
  Fd dir_;
};

/// One line on a terminal's stderr, written over again and again.
class ProgressLine {
 public:
  explicit ProgressLine(bool wanted) : wanted_(wanted && isatty(STDERR_FILENO) != 0) {}
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;
  ~ProgressLine() {
    if (wanted_) fmt::print(stderr, "\r\033[K");
  }
  void show(const std::string& step, std::chrono::seconds left) const {
    if (wanted_) fmt::print(stderr, "\r\033[K{}; about {} s left", step, left.count());
  }

 private:
  bool wanted_;
};

/// What figures mean only together with.
struct Circumstances {
  int64_t when = unix_now();
  std::string kernel;
  unsigned cores = std::max(1u, std::thread::hardware_concurrency());
  std::string command;

  explicit Circumstances(const BenchWords& words) : command(bench_command(words)) {
    utsname names;
    if (uname(&names) == 0) kernel = names.release;
  }
  std::string line() const {
    return fmt::format("{}, kernel {}, {}: {}", rfc3339(when), kernel, count_of(cores, "core"), command);
  }
};

std::string number(double value, int decimals) { return fmt::format("{:.{}f}", value, decimals); }

std::string failure(const BenchPathResult& path) { return path.failed.empty() ? "-" : "FAIL"; }

Cell cell(const BenchResult& result, size_t path, const FigureInfo& figure, bool wide) {
  const BenchPathResult& row = result.paths[path];
  const auto values = spread(row.series.of(figure.figure));
  if (!values) return Cell(failure(row), row.failed.empty() ? Tone::plain : Tone::bad);
  std::string text = number(values->median, figure.decimals);
  if (wide) text += fmt::format(" ({}-{})", number(values->min, figure.decimals), number(values->max, figure.decimals));
  return Cell(std::move(text));
}

/// "0.83 (0.80-0.86)"
Cell ratio_cell(const BenchResult& result, size_t path, size_t reference, const FigureInfo& figure) {
  const BenchPathResult& row = result.paths[path];
  const auto values = spread(ratios(row.series.of(figure.figure), result.paths[reference].series.of(figure.figure)));
  if (!values) return Cell(failure(row), row.failed.empty() ? Tone::plain : Tone::bad);
  return Cell(fmt::format("{:.2f} ({:.2f}-{:.2f})", values->median, values->min, values->max));
}

void print_figures(const BenchResult& result, bool wide) {
  std::vector<Column> columns{{fmt::format("MEDIAN OF {}", result.plan.words.rounds)}};
  for (const FigureInfo& figure : figures()) columns.push_back({std::string(figure.title), Column::Kind::right});
  Table table(std::move(columns));
  for (size_t i = 0; i < result.paths.size(); ++i) {
    std::vector<Cell> row{result.plan.paths[i].name};
    for (const FigureInfo& figure : figures()) row.push_back(cell(result, i, figure, wide));
    table.add(std::move(row));
  }
  print(table);
}

/// Each path against one other: the raw hop, or host-gw.
void print_ratios(const BenchResult& result, const std::string& title, bool to_raw) {
  static constexpr std::string_view titles[] = {"TCP", "4 TCP", "UDP", "", "TRIP", "P99", "CPU"};
  std::vector<Column> columns{{title}};
  for (const FigureInfo& figure : figures())
    if (figure.has_ratio) columns.push_back({std::string(titles[static_cast<size_t>(figure.figure)]), Column::Kind::right});
  Table table(std::move(columns));
  for (size_t i = 1; i < result.paths.size(); ++i) {
    const size_t reference = to_raw ? 0 : reference_of(result.plan, i);
    if (reference == i) continue;
    std::vector<Cell> row{result.plan.paths[i].name};
    for (const FigureInfo& figure : figures())
      if (figure.has_ratio) row.push_back(ratio_cell(result, i, reference, figure));
    table.add(std::move(row));
  }
  if (!table.empty()) {
    print("\n");
    print(table);
  }
}

void print_left_out(const BenchPlan& plan) {
  if (plan.left_out.empty()) return;
  print("\n");
  Table table({{"NOT MEASURED"}, {"WHY", Column::Kind::free}});
  for (const BenchLeftOut& left : plan.left_out) table.add({left.name, left.why});
  print(table);
}

/// How much the reference itself varied: what a reader must forgive the rest.
std::string noise(const BenchResult& result) {
  const size_t reference = reference_of(result.plan, 0);
  const auto values = spread(result.paths[reference].series.of(Figure::tcp));
  if (!values || result.plan.words.rounds < 2) return "one round says nothing about noise";
  return fmt::format("{} itself went from {:.2f} to {:.2f} Gbit/s", result.plan.paths[reference].name, values->min, values->max);
}

std::string verdict(const BenchResult& result) {
  size_t failed = 0;
  for (const BenchPathResult& path : result.paths) failed += !path.failed.empty();
  std::string text = fmt::format("{} measured", count_of(result.paths.size() - failed, "path"));
  if (failed > 0) text += fmt::format(", {} FAILED", failed);
  if (!result.plan.left_out.empty()) text += fmt::format(", {} not measured", result.plan.left_out.size());
  return text + "; " + noise(result) + ".";
}

constexpr std::string_view kRawMeans = "raw: one veth pair between two namespaces, no node in between; host-gw/kernel: plain routes, by the stack.";

void print_result(const BenchResult& result, const Circumstances& now, bool wide) {
  print_figures(result, wide);
  print_ratios(result, "TO HOST-GW (MIN-MAX)", false);
  print_ratios(result, "TO RAW VETH (MIN-MAX)", true);
  print_left_out(result.plan);
  print("\n");
  for (size_t i = 0; i < result.paths.size(); ++i)
    if (!result.paths[i].failed.empty()) print(fmt::format("{} FAILED: {}\n", result.plan.paths[i].name, result.paths[i].failed));
  print(fmt::format("{}\n{}\n{}\n", verdict(result), kRawMeans, now.line()));
}

Json as_json(const std::optional<Spread>& values) {
  if (!values) return nullptr;
  return {{"min", values->min}, {"median", values->median}, {"max", values->max}};
}

Json as_json(const BenchLeftOut& left) { return {{"name", left.name}, {"why", left.why}}; }

Json as_json(const BenchPath& path) {
  return {{"name", path.name},
          {"mode", path.mode.empty() ? Json(nullptr) : Json(path.mode)},
          {"datapath", path.datapath.empty() ? Json(nullptr) : Json(path.datapath)},
          {"masquerade", path.masquerade}};
}

Json figures_json(const BenchResult& result, size_t i) {
  Json out = Json::object();
  for (const FigureInfo& figure : figures()) {
    const std::vector<double>& values = result.paths[i].series.of(figure.figure);
    Json entry = as_json(spread(values));
    if (entry.is_null()) continue;
    entry["rounds"] = values;
    if (figure.has_ratio) {
      entry["to_raw"] = as_json(spread(ratios(values, result.paths[0].series.of(figure.figure))));
      entry["to_host_gw"] = as_json(spread(ratios(values, result.paths[reference_of(result.plan, i)].series.of(figure.figure))));
    }
    out[std::string(figure.key)] = std::move(entry);
  }
  return out;
}

Json plan_json(const BenchPlan& plan) {
  Json left = Json::array();
  for (const BenchLeftOut& one : plan.left_out) left.push_back(as_json(one));
  return {{"seconds", plan.words.seconds}, {"rounds", plan.words.rounds}, {"paths", Json::array()}, {"left_out", left}};
}

void print_tree(const BenchResult& result, const Circumstances& now) {
  Json tree = {{"when", rfc3339(now.when)}, {"kernel", now.kernel}, {"cores", now.cores}, {"command", now.command}};
  tree.update(plan_json(result.plan));
  for (size_t i = 0; i < result.paths.size(); ++i) {
    Json path = as_json(result.plan.paths[i]);
    path["failed"] = result.paths[i].failed;
    path["figures"] = figures_json(result, i);
    tree["paths"].push_back(std::move(path));
  }
  print_json(tree);
}

int show_plan(const BenchPlan& plan, const OutputFlag& output) {
  const auto seconds = std::chrono::ceil<std::chrono::seconds>(bench_time(plan)).count();
  if (output.json()) {
    Json tree = plan_json(plan);
    for (const BenchPath& path : plan.paths) tree["paths"].push_back(as_json(path));
    tree["about_seconds"] = seconds;
    print_json(tree);
    return kExitOk;
  }
  Table table({{"PATH"}, {"MODE"}, {"DATAPATH"}, {"MASQUERADE"}});
  for (const BenchPath& path : plan.paths)
    table.add({path.name, path.mode, path.datapath, path.mode.empty() ? "" : path.masquerade ? "on" : "off"});
  print(table);
  print_left_out(plan);
  print(fmt::format("\n{}", kRawMeans));
  print(fmt::format("\n{} would be measured in about {} s: {}\n", count_of(plan.paths.size(), "path"), seconds, bench_command(plan.words)));
  return kExitOk;
}

std::vector<std::string> path_words() {
  std::vector<std::string> words;
  KernelFeatures any;
  any.known = false;
  const BenchPlan plan = plan_bench({}, mode_registry(), any);
  for (const BenchPath& path : plan.paths)
    if (!path.mode.empty()) words.push_back(path.name);
  return words;
}

}  // namespace

CLI::App* declare_bench(CLI::App& noun, BenchFlags& flags) {
  CLI::App* bench = add_verb(noun, "bench", "what each mode and datapath costs, against host-gw and a raw veth hop");
  BenchWords& words = flags.words;
  offer(bench->add_option("--modes", words.modes, "only these, as MODE or MODE/DATAPATH (default all); repeatable")
            ->type_name("LIST")->take_all()->allow_extra_args(false)->delimiter(','),
        path_words);
  bench->add_option("--opt", words.options, "an option, for the modes that have it; repeatable")->type_name("KEY=VALUE")->take_all()->allow_extra_args(false);
  bench->add_option("--seconds", words.seconds, "of each measurement (default 1)")->type_name("N");
  bench->add_option("--rounds", words.rounds, "how often each is measured (default 5)")->type_name("N");
  one_of(bench->add_option("--masquerade", words.masquerade, "with the rules for what leaves the cluster, without, or both (default on)")->type_name("WHICH"),
         {"on", "off", "both"});
  bench->add_flag("--ipv6", words.v6, "between IPv6 addresses");
  bench->add_option("--svg", flags.svg, "draw it into this file")->type_name("FILE");
  bench->add_flag("--dry-run", flags.dry_run, "say what would be measured, and how long it would take");
  return bench;
}

int lab_bench(const BenchFlags& flags, const OutputFlag& output) {
  std::optional<LateFile> svg;
  if (!flags.svg.empty()) svg.emplace(flags.svg);
  enter_private_space();
  const BenchPlan plan = plan_bench(flags.words, mode_registry(), probe_kernel());
  if (flags.dry_run) return show_plan(plan, output);
  const Circumstances now(flags.words);
  const BenchResult result = [&] {
    const ProgressLine line(true);
    return run_bench(plan, [&](const std::string& step, std::chrono::seconds left) { line.show(step, left); });
  }();
  if (output.json()) print_tree(result, now);
  else print_result(result, now, output.wide());
  if (svg) svg->write(render_svg(result, now.line()));
  bool whole = true;
  for (const BenchPathResult& path : result.paths) whole = whole && path.failed.empty();
  for (const BenchLeftOut& left : plan.left_out) whole = whole && !left.asked;
  return whole ? kExitOk : kExitFailed;
}

}  // namespace knet
