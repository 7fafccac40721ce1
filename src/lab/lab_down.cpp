#include "lab/lab_down.h"

#include <thread>

#include "base/error.h"
#include "base/file.h"
#include "kernel/netns.h"
#include "lab/lab_dirs.h"
#include "lab/lab_space.h"

namespace knet {
namespace {

constexpr std::chrono::milliseconds kGrace{1500};
constexpr std::chrono::milliseconds kPause{50};
constexpr int kTries = 3;

/// Started, but `lab up` died before it wrote the pid down: known by what they were started with.
std::vector<LabProcess> unrecorded(const std::filesystem::path& dir) {
  std::vector<LabProcess> found = find_processes("agent", fmt::format("KNET_RUN_DIR={}/", dir.string()));
  const std::vector<LabProcess> etcd = find_processes("", fmt::format("--data-dir={}/", dir.string()));
  found.insert(found.end(), etcd.begin(), etcd.end());
  return found;
}

std::vector<LabProcess> processes_of(const Lab& lab) {
  std::vector<LabProcess> processes{lab.etcd, lab.holder};
  bool all = lab.words.store != "etcd" || lab.etcd.pid > 0;
  for (const LabNode& node : lab.nodes) {
    processes.push_back(node.agent);
    all = all && node.agent.pid > 0;
  }
  if (all) return processes;
  const std::vector<LabProcess> rest = unrecorded(lab.dir);
  processes.insert(processes.end(), rest.begin(), rest.end());
  return processes;
}

void remove_dir(const std::filesystem::path& dir, DownReport& report) {
  std::error_code error;
  std::filesystem::remove_all(dir, error);
  if (error) report.failed.push_back(fmt::format("remove {}: {}", dir.string(), error.message()));
}

}  // namespace

DownReport tear_down(const Lab& lab) {
  DownReport report;
  report.found = true;
  report.processes = stop_processes(processes_of(lab), kGrace);
  // Those of an unprivileged lab are bound in its holder's mount namespace alone and went with it.
  if (!lab.unprivileged) {
    for (const std::string& part : lab_parts(lab)) {
      try {
        if (delete_named_netns(lab.netns_name(part))) ++report.namespaces;
      } catch (const Error& error) {
        report.failed.push_back(error.text);
      }
    }
  }
  if (!report.failed.empty()) return report;
  remove_dir(lab.dir, report);
  // An agent that a killed `lab up` had forked, but not executed yet, shows itself by what it writes now.
  for (int tries = 0; !report.failed.empty() && tries < kTries; ++tries) {
    std::this_thread::sleep_for(kPause);
    report.processes += stop_processes(processes_of(lab), kGrace);
    report.failed.clear();
    remove_dir(lab.dir, report);
  }
  return report;
}

DownReport lab_down(const std::string& name) {
  const Fd lock = lock_lab(name);
  if (!lock) return {};
  const std::optional<Lab> lab = load_lab(name);
  const std::filesystem::path dir = lab_dir(name);
  DownReport report;
  if (lab) {
    report = tear_down(*lab);
  } else if (std::filesystem::exists(dir)) {  // died before there was anything but the directory
    report.found = true;
    report.processes = stop_processes(unrecorded(dir), kGrace);
    remove_dir(dir, report);
  }
  tidy_labs_dir();
  return report;
}

}  // namespace knet
