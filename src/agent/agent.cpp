#include "agent/agent.h"

#include <malloc.h>
#include <signal.h>
#include <sys/signalfd.h>

#include <cstdio>

#include "agent/agent_loop.h"
#include "agent/once.h"
#include "agent/single.h"
#include "base/error.h"
#include "base/log.h"
#include "core/rollover.h"
#include "kernel/linux_plane.h"

namespace knet {
namespace {

void require_network_rights() {
  if (may_change_network()) return;
  fail(ErrorKind::kernel, "changing this machine's network needs CAP_NET_ADMIN; run it as root, or only look with: "
                          "knet agent --dry-run");
}

int print_plan(const AgentOptions& options) {
  const std::vector<std::string> lines = dry_run(options.paths, options.settings, options.adopt_flannel);
  for (const std::string& line : lines) std::printf("%s\n", line.c_str());
  if (lines.empty()) std::printf("nothing to do\n");
  return kExitOk;
}

int run_once(const AgentOptions& options) {
  const Fd single = claim_namespace();
  LinuxPlane plane;
  Enrolment enrolment = enrol(options.paths, options.settings, plane, {});
  for (const std::string& notice : enrolment.notices) log::warning("{}", notice);
  OnceReport report = apply_once(options.paths, options.settings, plane, enrolment, options.adopt_flannel);
  if (report.failures.empty() && announce_config_mode(options.settings, enrolment))
    report = apply_once(options.paths, options.settings, plane, enrolment, options.adopt_flannel);
  for (const TunnelPump& pump : report.desired->pumps)
    if (!pump.fast_path)
      log::warning("{} is carried by a running agent, in userspace: no packet passes it until there is one (systemctl start "
                   "knet, or: knet agent)",
                   pump.dev.view());
  if (report.view->config.mode == kLearningMode)
    log::warning("routes of mode {} are learned and told by a running agent: there are none until there is one "
                 "(systemctl start knet, or: knet agent)",
                 kLearningMode);
  for (const std::string& notice : report.desired->notices) log::warning("{}", notice);
  for (const std::string& foreign : report.foreign) log::warning("foreign, left alone: {}", foreign);
  for (const std::string& failure : report.failures) log::error("{}", failure);
  log::info("{} {}: {} changes, {} failures", enrolment.self.name, subnets_text(enrolment.self.lease), report.applied,
            report.failures.size());
  return report.failures.empty() ? kExitOk : kExitFailed;
}

// Blocked before any thread starts, so that none of them is interrupted.
Fd take_over_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (int number : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&set, number);
  if (int error = pthread_sigmask(SIG_BLOCK, &set, nullptr); error != 0) throw_errno(error, "block signals");
  Fd fd(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd) throw_errno(errno, "make a signalfd");
  return fd;
}

}  // namespace

int run_agent(const AgentOptions& options) {
  if (options.dry_run) return print_plan(options);
  require_network_rights();
  signal(SIGPIPE, SIG_IGN);
  // A few threads, none of which allocates much: one arena keeps the memory small.
  mallopt(M_ARENA_MAX, 1);
  // Fixed, or glibc raises it after the first large free: then vectors of thousands no longer go back when they are
  // done.
  mallopt(M_MMAP_THRESHOLD, 64 << 10);
  if (options.once) return run_once(options);
  const Fd signals = take_over_signals();
  const Fd single = claim_namespace();
  AgentLoop loop(options, signals.get(), single.get());
  return loop.run();
}

}  // namespace knet
