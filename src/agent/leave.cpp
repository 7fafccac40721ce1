#include "agent/leave.h"

#include <signal.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <thread>

#include "agent/endpoint_watch.h"
#include "agent/installed.h"
#include "agent/service.h"
#include "agent/single.h"
#include "agent/status_client.h"
#include "agent/view_cache.h"
#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "core/compose.h"
#include "core/subnet_env.h"
#include "kernel/linux_plane.h"
#include "kernel/pod_link.h"
#include "store/cluster_store.h"

namespace knet {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kHostPorts = "knet-hostports";
constexpr std::chrono::seconds kAgentEnds{10};
constexpr std::chrono::milliseconds kAgentPoll{10};
// What an agent sets for the whole host; it may have been so before, so it stays.
constexpr std::string_view kHostSysctls[] = {"net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"};

struct Leaving {
  const LeaveOptions& options;
  LeaveReport& report;
  std::vector<Prefix> networks;
  std::string node;  // "" if this machine has no name of ours
  std::string machine_id;
  size_t still_there = 0;  // leases of ours that a dry run names and leaves

  // Does it, unless only asked what would be done; what fails is told and does not stop the rest.
  void step(const std::string& what, const std::function<void()>& work) {
    try {
      if (!options.dry_run) work();
      report.removed.push_back(what);
    } catch (const std::exception& error) {
      report.failed.push_back(fmt::format("{}: {}", what, error.what()));
    }
  }
};

void add_network(std::vector<Prefix>& networks, const Prefix& network) {
  if (network && std::find(networks.begin(), networks.end(), network) == networks.end()) networks.push_back(network);
}

// From what is on this machine; the store may be away.
void learn_networks(Leaving& leaving) {
  const NodePaths& paths = leaving.options.paths;
  if (auto cache = load_view_cache(paths.view_cache())) {
    try {
      for (const Prefix& network : parse_network_config(cache->config_json, mode_registry()).networks())
        add_network(leaving.networks, network);
    } catch (const Error&) {
      // subnet.env below knows them as well
    }
  }
  if (auto text = read_file(paths.subnet_env(), 64u << 10))
    if (auto env = parse_subnet_env(*text)) {
      add_network(leaving.networks, env->network);
      add_network(leaving.networks, env->network6);
    }
}

// Stopped without this word it would be back in a moment: BGP's peers would keep its routes.
void say_farewell(const Leaving& leaving) {
  try {
    post_to_agent(leaving.options.paths.agent_socket(), "/v1/leave");
  } catch (const Error&) {
    // It does not answer; stopped it is all the same.
  }
}

// One that was started by hand.
void end_agent(Leaving& leaving, pid_t pid) {
  leaving.step(fmt::format("agent, pid {}", pid), [&] {
    say_farewell(leaving);
    if (::kill(pid, SIGTERM) != 0 && errno != ESRCH) throw_errno(errno, "stop it");
    const auto start = std::chrono::steady_clock::now();
    for (auto agent = running_agent(); agent && (agent->pid == 0 || agent->pid == pid); agent = running_agent()) {
      if (std::chrono::steady_clock::now() - start > kAgentEnds) fail(ErrorKind::kernel, "it does not end");
      std::this_thread::sleep_for(kAgentPoll);
    }
  });
}

void stop_agent(Leaving& leaving) {
  if (systemd_runs() && InstalledFiles(leaving.options.paths.installed()).has("/etc/systemd/system/knet.service")) {
    leaving.step("service knet.service", [&] {
      say_farewell(leaving);
      if (std::string trouble = systemctl("disable", kAgentUnit, true); !trouble.empty())
        throw Error(ErrorKind::kernel, trouble);
    });
  } else if (const auto agent = running_agent(); agent && agent->pid != 0) {
    end_agent(leaving, agent->pid);
  }
  if (leaving.options.dry_run) return;
  if (const auto agent = running_agent()) {
    const std::string who = agent->pid == 0 ? "its process can't be seen from here" : fmt::format("pid {}", agent->pid);
    fail(ErrorKind::conflict, "an agent still runs ({}); stop it, and what starts it, then run knet leave again", who);
  }
}

// The live machine that has our name and machine id but is another: we are its clone, and the lease is its own.
std::optional<NodeRecord> original(Store& store, const StorePaths& paths, const Leaving& leaving) {
  const std::optional<KeyValue> presence = store.get(paths.node(leaving.node));
  if (!presence) return std::nullopt;
  try {
    NodeRecord record = parse_node(presence->value);
    const std::string instance = machine_instance();
    const bool other = !record.instance.empty() && !instance.empty() && record.instance != instance;
    return other ? std::optional(std::move(record)) : std::nullopt;
  } catch (const Error&) {
    return std::nullopt;  // unreadable: nobody's
  }
}

void give_back(Leaving& leaving) {
  const LeaveOptions& options = leaving.options;
  if (leaving.node.empty()) return;
  const std::string& url = options.settings.store.url;
  if (std::string_view file = url; file.starts_with("sqlite://")) {
    file.remove_prefix(9);
    std::error_code ignored;
    if (!fs::exists(fs::path(file), ignored)) return;  // opening it would make it
  }
  try {
    std::unique_ptr<Store> store = open_store(options.settings.store);
    ClusterStore cluster(*store, StorePaths{options.settings.store.prefix});
    std::string mode = "udp";
    if (auto text = cluster.load_config()) {
      try {
        const NetworkConfig config = parse_network_config(text->json, mode_registry());
        mode = config.mode;
        for (const Prefix& network : config.networks()) add_network(leaving.networks, network);
      } catch (const Error& error) {
        leaving.report.notices.push_back(error.text);
      }
    }
    if (options.keep_lease) {
      leaving.report.notices.push_back(fmt::format("the lease stays in {}", store->where()));
      return;
    }
    if (const auto other = original(*store, cluster.paths(), leaving)) {
      const IpAddr at = other->public_ip ? other->public_ip : other->public_ip6;
      leaving.report.notices.push_back(
          fmt::format("the lease of {} stays in {}: its holder {} is alive and another machine, or this one before its "
                      "last boot; if so, run it again when {} s are over",
                      leaving.node, store->where(), at.str(), kPresenceTtl.count()));
      return;
    }
    const LeaseTable table = cluster.list_leases(mode, false);
    for (const LeaseRow& row : table.rows) {
      if (row.node != leaving.node || (!row.machine_id.empty() && row.machine_id != leaving.machine_id)) continue;
      if (options.dry_run && !row.reserved_for) ++leaving.still_there;
      leaving.step(fmt::format("lease of {} in {}", subnets_text(row.lease), store->where()),
                   [&] { cluster.release(row.lease, leaving.node); });
    }
    if (store->get(cluster.paths().speaker(leaving.node)))
      leaving.step(fmt::format("record of a node without pods in {}", store->where()), [&] {
        if (cluster.end_speaking(leaving.node, leaving.machine_id)) store->remove(cluster.paths().node(leaving.node));
      });
  } catch (const Error& error) {
    if (options.dry_run)
      leaving.report.notices.push_back(error.text);
    else
      leaving.report.failed.push_back(
          fmt::format("lease of {}: {}; it ends by itself within a day, or: knet node remove {}", leaving.node,
                      error.text, leaving.node));
  }
}

void clear_kernel(Leaving& leaving) {
  LinuxPlane plane;
  NetState host;
  for (std::string_view path : kHostSysctls) {
    Sysctl sysctl;
    sysctl.path = path;
    host.sysctls.push_back(std::move(sysctl));
  }
  plane.expect(host);
  const Observed observed = plane.observe(all_kinds());
  const DesiredState nothing;
  Ownership own;
  own.networks = leaving.networks;
  Plan plan = diff(nothing, observed, own);
  for (uint32_t i = 0; i < observed.net.nft_tables.size(); ++i)
    if (observed.net.nft_tables[i].name == kHostPorts)
      plan.stages.push_back({"remove host ports", {Op{Verb::remove, Why::unwanted, {Kind::nft_table, true, i}}}});
  std::vector<OpResult> results;
  if (!leaving.options.dry_run && !plan.empty()) results = plane.apply(plan);
  for (uint32_t s = 0; s < plan.stages.size(); ++s) {
    for (uint32_t o = 0; o < plan.stages[s].ops.size(); ++o) {
      const std::string what = describe(plan, plan.stages[s].ops[o].object);
      auto failed = std::find_if(results.begin(), results.end(),
                                 [&](const OpResult& r) { return r.stage == s && r.op == o && r.error != 0; });
      if (failed == results.end())
        leaving.report.removed.push_back(what);
      else
        leaving.report.failed.push_back(
            fmt::format("{}: {}", what, failed->reason.empty() ? errno_text(failed->error) : failed->reason));
    }
  }

  size_t pods = 0;
  for (const Link& link : observed.net.links) {
    if (link.type != LinkType::veth || !link.ours || !Ownership::is_pod_link(link.name.view())) continue;
    ++pods;
    leaving.step(describe(link), [&] { remove_pod_link(link.name); });
  }
  if (pods > 0)
    leaving.report.notices.push_back(
        fmt::format("{} {} network", pods, pods == 1 ? "pod loses its" : "pods lose their"));
  for (const Sysctl& sysctl : observed.net.sysctls)
    if (std::find(std::begin(kHostSysctls), std::end(kHostSysctls), sysctl.path) != std::end(kHostSysctls) &&
        trim(sysctl.value) == "1")
      leaving.report.notices.push_back(fmt::format("sysctl {} stays 1", sysctl.path));
}

void remove_installed(Leaving& leaving) {
  const NodePaths& paths = leaving.options.paths;
  InstalledFiles installed(paths.installed());
  const auto entries = installed.entries();
  bool unit = false;
  for (const auto& entry : entries) {
    std::error_code ignored;
    unit = unit || entry.path.ends_with(kAgentUnit);
    if (leaving.options.dry_run) {
      if (fs::exists(fs::symlink_status(entry.path, ignored))) leaving.report.removed.push_back("file " + entry.path);
      continue;
    }
    try {
      const std::string done = installed.remove(entry.path);
      if (done.find("left there") != std::string::npos)
        leaving.report.notices.push_back(done);
      else if (!done.empty())
        leaving.report.removed.push_back("file " + done);
    } catch (const Error& error) {
      leaving.report.failed.push_back(error.text);
    }
  }
  if (unit && systemd_runs() && !leaving.options.dry_run) systemctl("daemon-reload");
}

// write_file()'s own, of a write that was killed half way: ".view.cache.Ab12Cd".
bool is_half_written(std::string_view entry, std::string_view name) {
  return entry.size() == name.size() + 8 && entry.front() == '.' && entry.substr(1, name.size()) == name &&
         entry[name.size() + 1] == '.';
}

// Only what is ours in it: the directory was named by the user and may hold other things.
void clear_directory(Leaving& leaving, const fs::path& dir, std::initializer_list<std::string_view> ours) {
  std::error_code error;
  if (!fs::exists(dir, error)) return;
  std::vector<fs::path> paths;
  for (fs::directory_iterator at(dir, error), end; !error && at != end; at.increment(error)) {
    const std::string entry = at->path().filename().string();
    const auto is_it = [&](std::string_view name) { return entry == name || is_half_written(entry, name); };
    if (std::any_of(ours.begin(), ours.end(), is_it)) paths.push_back(at->path());
  }
  for (const fs::path& path : paths) {
    leaving.step((fs::is_directory(path, error) ? "directory " : "file ") + path.string(), [&] {
      std::error_code failed;
      fs::remove_all(path, failed);
      if (failed) throw_errno(failed.value(), "remove it");
    });
  }
  if (leaving.options.dry_run) return;
  fs::remove(dir, error);
  if (error == std::errc::directory_not_empty)
    leaving.report.notices.push_back(fmt::format("{} is not empty; what is left there is not ours", dir.string()));
}

// The embedded store lives in the state dir; others of this machine (a lab) may still use it.
bool store_is_free(const LeaveOptions& options, size_t still_there) {
  const fs::path file = options.paths.state_dir / "knet.db";
  std::error_code ignored;
  if (!fs::exists(file, ignored)) return true;
  try {
    StoreOptions store;
    store.url = "sqlite://" + file.string();
    store.prefix = options.settings.store.prefix;
    auto opened = open_store(store);
    return opened->list(store.prefix + "/subnets/").items.size() <= still_there;
  } catch (const Error&) {
    return false;
  }
}

}  // namespace

LeaveReport run_leave(const LeaveOptions& options) {
  LeaveReport report;
  Leaving leaving{options, report, {}, {}, {}};
  const NodePaths& paths = options.paths;
  if (auto name = read_file(paths.node_name(), 4096)) leaving.node = std::string(trim(*name));
  leaving.machine_id = resolve_machine_id(paths, false);
  learn_networks(leaving);
  stop_agent(leaving);
  give_back(leaving);
  clear_kernel(leaving);
  remove_installed(leaving);
  clear_directory(leaving, paths.run_dir, {"endpoints", "agent.sock", "status.sock", "subnet.env", "no-pods", "bgp-ran"});
  const bool embedded = options.settings.store.url == "sqlite://" + (paths.state_dir / "knet.db").string();
  if (store_is_free(options, embedded ? leaving.still_there : 0))
    clear_directory(leaving, paths.state_dir,
                    {"knet.db", "knet.db-wal", "knet.db-shm", "knet.db.bell", "node-name", "machine-id", "view.cache",
                     "ipam", "wg.key", "installed.json", "node.json"});
  else {
    report.notices.push_back(
        fmt::format("{} stays: there are leases in it, or it can't be read", (paths.state_dir / "knet.db").string()));
    clear_directory(leaving, paths.state_dir,
                    {"node-name", "machine-id", "view.cache", "ipam", "wg.key", "installed.json", "node.json"});
  }
  return report;
}

}  // namespace knet
