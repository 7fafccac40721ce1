#include <algorithm>
#include <nlohmann/json.hpp>

#include "agent/files.h"
#include "agent/installed.h"
#include "base/error.h"
#include "base/file.h"
#include "base/process.h"

namespace knet {
namespace fs = std::filesystem;
namespace {

// Names under which a runtime finds the plugin in its bin dir: the conflist's "type".
constexpr std::string_view kPluginNames[] = {"knet"};
constexpr size_t kLargestProgram = 64u << 20;

std::string conflist_text(const NodePaths& paths) {
  using Json = nlohmann::ordered_json;
  const Json plugin = {{"type", "knet"}, {"stateDir", paths.state_dir.string()}, {"runDir", paths.run_dir.string()}};
  const Json list = {{"cniVersion", "1.0.0"}, {"name", "knet"}, {"plugins", Json::array({plugin})}};
  return list.dump(2) + "\n";
}

fs::path under(const fs::path& root, const fs::path& path) { return root / path.relative_path(); }

}  // namespace

std::vector<std::string> cni_config_order(const fs::path& dir) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator at(dir, error), end; !error && at != end; at.increment(error)) {
    const std::string extension = at->path().extension().string();
    std::error_code ignored;
    if ((extension == ".conf" || extension == ".conflist" || extension == ".json") && !at->is_directory(ignored))
      names.push_back(at->path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

CniReport install_cni(const NodePaths& paths, const FileSettings& files) {
  CniReport report;
  if (!files.cni) return report;
  if (files.cni_conf_name.find('/') != std::string::npos || fs::path(files.cni_conf_name).extension() != ".conflist")
    fail(ErrorKind::usage, "--cni-conf-name {} must be a file name that ends in .conflist", files.cni_conf_name);
  InstalledFiles installed(paths.installed());
  const fs::path program = files.program.empty() ? fs::path(self_exe()) : files.program;
  report.bin_dir = files.cni_bin_dir;
  for (std::string_view name : kPluginNames) {
    const fs::path place = under(files.root, files.cni_bin_dir) / name;
    std::error_code ignored;
    // The program itself may live in the bin dir.
    const bool itself = !fs::is_symlink(fs::symlink_status(place, ignored)) && fs::equivalent(place, program, ignored);
    if (itself && !installed.has(place)) {
      ++report.links;
      continue;
    }
    if (files.cni_copy) {
      auto bytes = read_file(program, kLargestProgram);
      if (!bytes) fail(ErrorKind::kernel, "{} is gone; it can't be copied to {}", program.string(), place.string());
      installed.write(place, *bytes, 0755, files.force);
    } else {
      installed.link(place, program, files.force);
    }
    ++report.links;
  }

  report.conflist = files.cni_conf_dir / files.cni_conf_name;
  installed.write(under(files.root, report.conflist), conflist_text(paths), 0644, files.force);
  bool ours_seen = false;
  for (const std::string& name : cni_config_order(under(files.root, files.cni_conf_dir))) {
    if (report.read_first.empty()) report.read_first = name;
    if (ours_seen) report.read_after.push_back(name);
    ours_seen = ours_seen || name == files.cni_conf_name;
  }
  if (report.read_first != files.cni_conf_name)
    report.notices.push_back(
        fmt::format("a runtime reads {} first, not {}; remove it, or give --cni-conf-name a name before it",
                    (files.cni_conf_dir / report.read_first).string(), files.cni_conf_name));
  return report;
}

}  // namespace knet
