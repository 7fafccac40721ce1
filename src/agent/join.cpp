#include "agent/join.h"

#include <algorithm>
#include <thread>

#include "agent/firewall.h"
#include "agent/once.h"
#include "agent/service.h"
#include "agent/single.h"
#include "agent/status_client.h"
#include "agent/subnet_env.h"
#include "base/error.h"
#include "base/process.h"
#include "core/compose.h"
#include "kernel/linux_plane.h"

namespace knet {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::milliseconds kAsk{10};
// The chains and tables that flanneld leaves, by its fixed names.
constexpr const char* kFlannelRules =
    "iptables -D FORWARD -m comment --comment 'flanneld forward' -j FLANNEL-FWD; iptables -F FLANNEL-FWD; iptables -X "
    "FLANNEL-FWD; "
    "iptables -t nat -D POSTROUTING -m comment --comment 'flanneld masq' -j FLANNEL-POSTRTG; iptables -t nat -F "
    "FLANNEL-POSTRTG; "
    "iptables -t nat -X FLANNEL-POSTRTG  (or: nft delete table ip flannel-ipv4; nft delete table ip6 flannel-ipv6)";

std::string firewall_text(const DesiredState& desired, const LocalNode& self) {
  if (self.forward_drops.empty()) return "";
  std::string chains, into;
  for (const ForeignChain& chain : self.forward_drops) {
    const std::string name = chain.table + " " + chain.chain;
    if (chains.find(name) == std::string::npos) chains += (chains.empty() ? "" : ", ") + name;
  }
  for (const ForwardAccept& rule : desired.net.forward_accepts)
    if (into.find(rule.chain.chain) == std::string::npos) into += (into.empty() ? "" : ", ") + rule.chain.chain;
  if (!self.forward_accept)
    return fmt::format("{} drops what is forwarded, and --no-forward-accept leaves it so", chains);
  return fmt::format("{} drops what is forwarded: {} marked rules added to {}", chains,
                     desired.net.forward_accepts.size(), into);
}

bool flannel_was_here(LinuxPlane& plane) {
  const Observed observed = plane.observe(only(Kind::link));
  return std::any_of(observed.net.links.begin(), observed.net.links.end(), Ownership::is_flannel_link);
}

void take_in(JoinReport& report, const OnceReport& once) {
  report.failures.insert(report.failures.end(), once.failures.begin(), once.failures.end());
  for (const std::string& foreign : once.foreign) report.notices.push_back("foreign, left alone: " + foreign);
}

void await_ready(const JoinOptions& options, Clock::time_point begin, JoinReport& report) {
  std::vector<std::string> why = {"the agent does not answer yet"};
  const auto deadline = begin + options.ready_timeout;
  do {
    try {
      if (auto status = fetch_status(options.paths)) {
        why = status->unready;
        if (status->ready) {
          report.ready_in = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begin);
          report.unready.clear();
          return;
        }
      }
    } catch (const Error& error) {
      why = {error.text};
    }
    std::this_thread::sleep_for(kAsk);
  } while (Clock::now() < deadline);
  report.unready = why;
}

void start_service(const JoinOptions& options, Clock::time_point begin, JoinReport& report) {
  const bool was_active = service_active(kAgentUnit);
  for (std::string trouble : {systemctl("daemon-reload"), systemctl("enable", kAgentUnit, !was_active),
                              was_active ? systemctl("restart", kAgentUnit) : std::string()})
    if (!trouble.empty()) report.failures.push_back(std::move(trouble));
  report.agent = was_active ? "knet.service restarted" : "knet.service enabled";
  if (report.failures.empty()) await_ready(options, begin, report);
}

}  // namespace

JoinReport run_join(const JoinOptions& options) {
  const auto begin = Clock::now();
  if (!may_change_network())
    fail(ErrorKind::kernel, "making this machine a node needs CAP_NET_ADMIN and its files; run it as root");
  JoinReport report;
  LinuxPlane plane;
  report.enrolment = enrol(options.paths, options.settings, plane, {});
  report.cni = install_cni(options.paths, options.files);
  SystemFiles system;
  if (!options.once) system = install_system(options.paths, options.files);
  report.written = system.written;

  const auto running = running_agent();
  const bool adopt = flannel_was_here(plane);
  std::shared_ptr<const ClusterView> view;
  if (!running && (options.once || adopt)) {
    const Fd single = claim_namespace();
    const OnceReport once = apply_once(options.paths, options.settings, plane, report.enrolment, adopt);
    take_in(report, once);
    view = once.view;
    if (adopt) {
      report.notices.push_back("flannel's devices and routes were taken over; stop flanneld");
      report.notices.push_back(std::string("its firewall rules, where it made any, are removed by: ") + kFlannelRules);
    }
    report.agent = "applied once";
    if (options.once && report.failures.empty())
      report.ready_in = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begin);
  }
  if (!view) {
    std::unique_ptr<Store> store = open_store(options.settings.store);
    view = load_view(*store, StorePaths{options.settings.store.prefix}, report.enrolment.config, report.enrolment.self,
                     options.paths, &report.notices);
  }
  if (view->self.runs_pods)
    write_subnet_env(options.paths, view->config, view->self.lease, pod_mtu(*view, mode_registry()));
  const DesiredState desired = compose(*view, mode_registry());
  report.notices.insert(report.notices.end(), desired.notices.begin(), desired.notices.end());
  report.firewall = firewall_text(desired, view->self);
  if (view->self.forward_accept) {
    const auto networks = view->config.networks();
    for (auto&& notices : {legacy_firewall_notices(networks), firewalld_notices(networks)})
      report.notices.insert(report.notices.end(), notices.begin(), notices.end());
  }

  if (options.once) {
    if (running) await_ready(options, begin, report);
    if (running) report.agent = fmt::format("agent running, pid {}", running->pid);
    return report;
  }
  if (system.unit && options.start) {
    start_service(options, begin, report);
  } else if (running) {
    report.agent = fmt::format("agent running, pid {}", running->pid);
    await_ready(options, begin, report);
  } else {
    report.agent = "not started";
    report.next = system.unit ? "systemctl enable --now knet" : agent_line(options.paths, options.settings);
  }
  return report;
}

}  // namespace knet
