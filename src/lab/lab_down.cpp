#include "lab/lab_down.h"

#include "agent/status_client.h"
#include "base/error.h"
#include "base/file.h"
#include "kernel/netns.h"
#include "lab/lab_dirs.h"
#include "lab/lab_space.h"

namespace knet {
namespace {

constexpr std::chrono::milliseconds kGrace{1500};
constexpr std::chrono::milliseconds kAnswer{200};

/// Started, but `lab up` died before it wrote the pid down: the agent itself tells it.
LabProcess unrecorded_agent(const Lab& lab, const LabNode& node) {
  try {
    if (const auto status = fetch_status(lab.node_paths(node), kAnswer)) return process_of(static_cast<pid_t>(status->pid));
  } catch (const Error&) {  // a dead socket, or one that does not answer: nothing that could be named
  }
  return {};
}

std::vector<LabProcess> processes_of(const Lab& lab) {
  std::vector<LabProcess> processes;
  for (const LabNode& node : lab.nodes) processes.push_back(node.agent.pid > 0 ? node.agent : unrecorded_agent(lab, node));
  processes.push_back(lab.etcd);
  processes.push_back(lab.holder);
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
  if (report.failed.empty()) remove_dir(lab.dir, report);
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
    remove_dir(dir, report);
  }
  tidy_labs_dir();
  return report;
}

}  // namespace knet
