#include "lab/bench_plan.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/text.h"
#include "lab/bench_figures.h"

namespace knet {
namespace {

constexpr std::string_view kDatapath = "Datapath";
constexpr std::string_view kAuto = "auto";
constexpr double kLeastSeconds = 0.05, kMostSeconds = 60;
constexpr int kMostRounds = 1000;

/// "udp/user": a mode, and maybe one of its datapaths.
struct Choice {
  std::string mode, datapath;
};

Choice parse_choice(std::string_view word) {
  const size_t slash = word.find('/');
  if (slash == std::string_view::npos) return {lower(word), {}};
  return {lower(word.substr(0, slash)), lower(word.substr(slash + 1))};
}

const OptionSpec* find_option(const Mode& mode, std::string_view name) {
  for (const OptionSpec& option : mode.options())
    if (equals_ignoring_case(option.name, name)) return &option;
  return nullptr;
}

std::vector<std::string> datapaths_of(const Mode& mode) {
  std::vector<std::string> words;
  if (const OptionSpec* option = find_option(mode, kDatapath))
    for (const std::string_view word : option->values)
      if (word != kAuto) words.emplace_back(word);
  return words;
}

std::string path_name(std::string_view mode, std::string_view datapath) {
  return datapath.empty() ? std::string(mode) : fmt::format("{}/{}", mode, datapath);
}

/// Those of the given options that this mode has, and the datapath.
std::vector<std::string> options_for(const Mode& mode, std::string_view datapath, const std::vector<std::string>& options) {
  std::vector<std::string> known;
  for (const std::string& option : options)
    if (find_option(mode, std::string_view(option).substr(0, option.find('=')))) known.push_back(option);
  if (!datapath.empty()) known.push_back(fmt::format("{}={}", kDatapath, datapath));
  return known;
}

void check(const BenchWords& words, const ModeRegistry& modes) {
  if (!(words.seconds >= kLeastSeconds && words.seconds <= kMostSeconds))
    fail(ErrorKind::usage, "--seconds {}: give {} to {}", words.seconds, kLeastSeconds, kMostSeconds);
  if (words.rounds < 1 || words.rounds > kMostRounds) fail(ErrorKind::usage, "--rounds {}: give 1 to {}", words.rounds, kMostRounds);
  for (const std::string& option : words.options) {
    const std::string_view key = std::string_view(option).substr(0, option.find('='));
    if (equals_ignoring_case(key, kDatapath))
      fail(ErrorKind::usage, "--opt {}: each datapath is measured by itself; choose with --modes MODE/DATAPATH", printable(option));
    const auto all = modes.all();
    if (std::none_of(all.begin(), all.end(), [&](const Mode* mode) { return find_option(*mode, key) != nullptr; }))
      fail(ErrorKind::usage, "--opt {}: no mode has an option '{}'", printable(option), printable(key));
  }
  for (const std::string& word : words.modes) {
    const Choice choice = parse_choice(word);
    if (choice.mode == kRawPath) continue;
    const Mode* mode = nullptr;
    try {
      mode = &modes.get(choice.mode);
    } catch (const Error& error) {
      throw Error(ErrorKind::usage, "--modes: " + error.text);
    }
    if (!mode->moves_packets()) fail(ErrorKind::usage, "--modes {}: it moves no packets between nodes", choice.mode);
    const std::vector<std::string> known = datapaths_of(*mode);
    if (choice.datapath.empty() || std::find(known.begin(), known.end(), choice.datapath) != known.end()) continue;
    fail(ErrorKind::usage, "--modes {}: {} has {}", printable(word), choice.mode,
         known.empty() ? "no datapaths to choose from" : "the datapaths " + join(known, ", "));
  }
}

/// Whether the words ask for it by name.
bool asked(const BenchWords& words, std::string_view mode, std::string_view datapath) {
  return std::any_of(words.modes.begin(), words.modes.end(), [&](const std::string& word) {
    const Choice choice = parse_choice(word);
    return choice.mode == mode && (choice.datapath.empty() || choice.datapath == datapath);
  });
}

bool asked_by_name(const BenchWords& words, std::string_view path) {
  return std::any_of(words.modes.begin(), words.modes.end(), [&](const std::string& word) { return equals_ignoring_case(word, path); });
}

std::string why_not(const Mode& mode, const LabWords& words, const ModeRegistry& modes, const KernelFeatures& kernel, bool by_name) {
  if (!mode.carries(words.v6 ? Family::v6 : Family::v4)) return fmt::format("it carries no {}", words.v6 ? "IPv6" : "IPv4");
  NetworkConfig config;
  try {
    config = lab_network(words, modes);
  } catch (const Error& error) {
    // The options are for others; who asked for this mode by name is told that it can't be.
    if (by_name) throw;
    return error.text;
  }
  return kernel.known ? mode.unsupported(kernel, config).value_or("") : "";
}

/// Its plain routes by the stack before anything else: they are what the others are compared with.
void order_reference(std::string_view mode, std::vector<std::string>& datapaths) {
  if (mode == kReferenceMode)
    std::stable_partition(datapaths.begin(), datapaths.end(), [](const std::string& path) { return path == kReferenceDatapath; });
}

/// host-gw before the others.
std::vector<const Mode*> in_order(const ModeRegistry& modes) {
  std::vector<const Mode*> all(modes.all().begin(), modes.all().end());
  std::stable_partition(all.begin(), all.end(), [](const Mode* mode) { return mode->name() == kReferenceMode; });
  return all;
}

}  // namespace

bool BenchPlan::measures(std::string_view name) const {
  return std::any_of(paths.begin(), paths.end(), [&](const BenchPath& path) { return path.name == name; });
}

BenchPlan plan_bench(const BenchWords& words, const ModeRegistry& modes, const KernelFeatures& kernel) {
  check(words, modes);
  BenchPlan plan{words, {{.name = std::string(kRawPath), .mode = {}, .datapath = {}, .masquerade = false}}, {}};
  for (const Mode* mode : in_order(modes)) {
    if (!mode->moves_packets()) continue;
    const std::string name(mode->name());
    std::vector<std::string> datapaths = datapaths_of(*mode);
    if (datapaths.empty()) datapaths.emplace_back();
    order_reference(name, datapaths);
    for (const std::string& datapath : datapaths) {
      const bool wanted = words.modes.empty() || is_reference(name, datapath) || asked(words, name, datapath);
      if (!wanted) continue;
      BenchPath path{path_name(name, datapath), name, datapath, true, options_for(*mode, datapath, words.options)};
      const std::string why = why_not(*mode, lab_words(path, words, 0), modes, kernel, asked(words, name, datapath));
      if (!why.empty()) {
        plan.left_out.push_back({path.name, why, asked_by_name(words, path.name)});
        continue;
      }
      if (words.masquerade != "off") plan.paths.push_back(path);
      if (words.masquerade == "on") continue;
      if (words.masquerade == "both") path.name += ", plain";
      path.masquerade = false;
      plan.paths.push_back(std::move(path));
    }
    // A mode that was asked for is missed only if none of its datapaths runs.
    const bool runs = std::any_of(plan.paths.begin(), plan.paths.end(), [&](const BenchPath& path) { return path.mode == name; });
    for (BenchLeftOut& left : plan.left_out)
      if (!runs && asked_by_name(words, name) && parse_choice(left.name).mode == name) left.asked = true;
  }
  return plan;
}

LabWords lab_words(const BenchPath& path, const BenchWords& words, size_t number) {
  LabWords lab;
  lab.name = fmt::format("bench-{}", number);
  lab.nodes = 2;
  lab.pods = 1;
  lab.mode = path.mode;
  lab.options = path.options;
  lab.v4 = !words.v6;
  lab.v6 = words.v6;
  lab.masquerade = path.masquerade;
  return lab;
}

bool is_reference(std::string_view mode, std::string_view datapath) {
  return mode == kReferenceMode && (datapath.empty() || datapath == kReferenceDatapath);
}

size_t reference_of(const BenchPlan& plan, size_t path) {
  for (size_t i = 0; i < plan.paths.size(); ++i)
    if (is_reference(plan.paths[i].mode, plan.paths[i].datapath) && (path == 0 || plan.paths[i].masquerade == plan.paths[path].masquerade)) return i;
  return 0;
}

std::chrono::milliseconds bench_window(const BenchWords& words) {
  return std::chrono::milliseconds(std::lround(words.seconds * 1000));
}

std::chrono::milliseconds bench_warmup(const BenchWords& words) {
  return std::min(bench_window(words) / 4, std::chrono::milliseconds(300));
}

std::chrono::milliseconds bench_time(const BenchPlan& plan) {
  return (bench_window(plan.words) + bench_warmup(plan.words)) * static_cast<int>(kBenchTests * plan.paths.size()) * plan.words.rounds;
}

std::string bench_command(const BenchWords& words) {
  std::string out = "knet lab bench";
  if (!words.modes.empty()) out += " --modes " + join(words.modes, ",");
  for (const std::string& option : words.options) out += " --opt " + option;
  if (words.masquerade != "on") out += " --masquerade " + words.masquerade;
  if (words.v6) out += " --ipv6";
  return out + fmt::format(" --seconds {:g} --rounds {}", words.seconds, words.rounds);
}

}  // namespace knet
