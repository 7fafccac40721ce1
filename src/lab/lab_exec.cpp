#include "lab/lab_exec.h"

#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "base/error.h"
#include "base/process.h"
#include "base/text.h"
#include "kernel/netns.h"
#include "lab/lab_space.h"
#include "lab/lab_up.h"

namespace knet {
namespace {

/// A sysfs shows the network namespace in which it was mounted. Best effort: most programs do without.
void show_own_sys() {
  if (unshare(CLONE_NEWNS) != 0) return;
  if (mount("", "/", "none", MS_SLAVE | MS_REC, nullptr) != 0) return;
  umount2("/sys", MNT_DETACH);
  mount("knet-lab", "/sys", "sysfs", 0, nullptr);
}

const LabNode* node_behind(const Lab& lab, const std::string& part) {
  if (part == kLabSwitch) return &lab.nodes.front();
  if (const LabNode* node = lab.find_node(part)) return node;
  if (const LabNode* node = lab.find_pod(part).first) return node;
  const std::vector<std::string> parts = lab_parts(lab);
  const auto near = nearest(part, parts);
  fail(ErrorKind::usage, "lab {} has no node or pod '{}'{}; there are: {}", lab.words.name, printable(part),
       near ? "; did you mean " + *near + "?" : "", join(parts, " "));
}

}  // namespace

void lab_exec(const Lab& lab, const std::string& part, const std::vector<std::string>& argv) {
  const LabNode* node = node_behind(lab, part);
  const std::vector<std::string> environment = node_environment(lab, *node);
  const std::string program = argv.front() == "knet" ? self_exe() : argv.front();
  enter_lab(lab);
  const Fd space = open_netns(lab.netns_path(part));
  if (setns(space.get(), CLONE_NEWNET) != 0) throw_errno(errno, "enter {}", part);
  show_own_sys();
  std::vector<char*> words, env;
  for (const std::string& word : argv) words.push_back(const_cast<char*>(word.c_str()));
  for (const std::string& entry : environment) env.push_back(const_cast<char*>(entry.c_str()));
  words.push_back(nullptr);
  env.push_back(nullptr);
  execvpe(program.c_str(), words.data(), env.data());
  throw_errno(errno, "run {} in {}", printable(program), part);
}

}  // namespace knet
