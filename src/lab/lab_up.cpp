#include "lab/lab_up.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <random>
#include <thread>

#include "agent/status_client.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/process.h"
#include "base/text.h"
#include "cni/plugin.h"
#include "kernel/lab_links.h"
#include "kernel/linux_plane.h"
#include "kernel/netns.h"
#include "lab/lab_dirs.h"
#include "lab/lab_down.h"
#include "lab/lab_space.h"
#include "store/cluster_store.h"

extern char** environ;

namespace knet {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kLook{4};
constexpr milliseconds kStoreTime{15'000};
constexpr milliseconds kReadyTime{15'000};
constexpr milliseconds kReadyTimePerNode{150};
constexpr size_t kLastWords = 1500;  // bytes of a log that an error quotes

/// Says what is waited for, once a second.
class Patience {
 public:
  Patience(const LabProgress& progress, milliseconds limit) : progress_(progress), deadline_(Clock::now() + limit) {}
  /// False: the time is over.
  bool wait(const std::function<std::string()>& what) {
    std::this_thread::sleep_for(kLook);
    const auto now = Clock::now();
    if (now >= next_word_) {
      next_word_ = now + std::chrono::seconds(1);
      if (progress_) progress_("waiting for " + what());
    }
    return now < deadline_;
  }

 private:
  const LabProgress& progress_;
  Clock::time_point deadline_;
  Clock::time_point next_word_ = Clock::now() + std::chrono::milliseconds(1500);
};

std::string last_words(const std::filesystem::path& log) {
  std::string text = read_file(log).value_or("");
  if (text.size() > kLastWords) text = "..." + text.substr(text.size() - kLastWords);
  return std::string(trim(text));
}

Fd open_log(const std::filesystem::path& path) {
  Fd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  if (!fd) throw_errno(errno, "open {}", path.string());
  return fd;
}

std::vector<std::string> plain_environment() {
  std::vector<std::string> out;
  for (char** at = environ; *at != nullptr; ++at) {
    const std::string_view entry = *at;
    // Flags of the caller's own node, and systemd's words to another process, are not for the lab's nodes.
    const bool ours = entry.starts_with("KNET_") && !entry.starts_with("KNET_LOG=");
    if (!ours && !entry.starts_with("NOTIFY_SOCKET=") && !entry.starts_with("JOURNAL_STREAM=")) out.emplace_back(entry);
  }
  return out;
}

/// The namespaces of one lab, opened by name as they are made.
class Spaces {
 public:
  explicit Spaces(const Lab& lab) : lab_(lab) {}
  Fd make(std::string_view part) const {
    make_netns(lab_, part);
    return open_netns(lab_.netns_path(part));
  }

 private:
  const Lab& lab_;
};

std::string store_url(const Lab& lab) {
  if (lab.words.store == "etcd") return fmt::format("http://{}:2379", lab_gateway(0, Family::v4).str());
  return "sqlite://" + (lab.dir / "knet.db").string();
}

Child start_etcd(const Lab& lab, int switch_fd) {
  const std::filesystem::path dir = lab.dir / "etcd";
  make_directories(dir, 0700);
  const Fd log = open_log(lab.dir / "etcd.log");
  const std::string peer = "http://127.0.0.1:2380";
  Launch launch;
  // One member on scratch data: no fsync, and no second of waiting for rivals in the election.
  launch.argv = {"etcd", "--name=lab", "--data-dir=" + dir.string(), "--listen-client-urls=http://0.0.0.0:2379",
                 "--advertise-client-urls=" + lab.store_url, "--listen-peer-urls=" + peer,
                 "--initial-advertise-peer-urls=" + peer, "--initial-cluster=lab=" + peer, "--heartbeat-interval=10",
                 "--election-timeout=50", "--unsafe-no-fsync", "--log-level=warn"};
  launch.env = plain_environment();
  std::erase_if(*launch.env, [](const std::string& entry) { return entry.starts_with("ETCD_"); });
  launch.stdout_fd = launch.stderr_fd = log.get();
  launch.namespaces = {switch_fd};
  launch.new_session = true;
  try {
    return Child::start(launch);
  } catch (const Error& error) {
    fail(ErrorKind::unsupported, "--store etcd: {}; install it (apt-get install etcd-server), or use --store sqlite", error.text);
  }
}

void write_config(const Lab& lab, int switch_fd, Child& etcd, const LabProgress& progress) {
  const std::string json = format_network_config(lab_network(lab.words));
  StoreOptions options;
  options.url = lab.store_url;
  in_netns(switch_fd, [&] {
    const auto store = open_store(options);
    ClusterStore cluster(*store, StorePaths{options.prefix});
    Patience patience(progress, kStoreTime);
    for (;;) {
      try {
        cluster.create_config(json);
        return;
      } catch (const Error& error) {
        if (error.kind != ErrorKind::store || lab.words.store != "etcd") throw;
        if (etcd.wait(milliseconds(0)) || !patience.wait([] { return std::string("etcd"); }))
          fail(ErrorKind::store, "the lab's etcd does not answer: {}\n{}", error.text, last_words(lab.dir / "etcd.log"));
      }
    }
  });
}

/// What the node would remember of an earlier life: so it takes the subnet that its number promises.
void prepare_node(const Lab& lab, const LabNode& node) {
  const NodePaths paths = lab.node_paths(node);
  std::string env;
  if (node.subnet) env += fmt::format("FLANNEL_SUBNET={}/{}\n", node.subnet.addr().plus(1).str(), node.subnet.length());
  if (node.subnet6) env += fmt::format("FLANNEL_IPV6_SUBNET={}/{}\n", node.subnet6.addr().plus(1).str(), node.subnet6.length());
  write_file(paths.subnet_env(), env, 0644, false);
  // All nodes share this machine's id; as far as the cluster knows they are machines of their own.
  std::random_device random;
  write_file(paths.machine_id(), fmt::format("{:08x}{:08x}{:08x}{:08x}\n", random(), random(), random(), random()), 0644, false);
}

Child start_agent(const Lab& lab, const LabNode& node, int netns_fd) {
  prepare_node(lab, node);
  const Fd log = open_log(lab.log_file(node));
  Launch launch;
  launch.argv = {"knet", "agent", "--node-name", node.name};
  launch.program = self_exe();
  launch.env = node_environment(lab, node);
  launch.stdout_fd = launch.stderr_fd = log.get();
  launch.namespaces = {netns_fd};
  launch.new_session = true;
  if (lab.tied) launch.death_signal = SIGTERM;
  return Child::start(launch);
}

/// Ready means for a lab: the agent says so, has seen every other node, and knows the pods that were attached.
std::string unready(const Lab& lab, const LabNode& node) {
  const auto status = fetch_status(lab.node_paths(node), milliseconds(1000));
  if (!status) return node.name + "'s agent";
  if (!status->ready) return fmt::format("{} ({})", node.name, status->unready.empty() ? "starting" : status->unready.front());
  const size_t others = lab.nodes.size() - 1;
  if (status->peers < others) return fmt::format("{} ({} of {} peers seen)", node.name, status->peers, others);
  const auto attached = std::count_if(node.pods.begin(), node.pods.end(), [](const LabPod& pod) { return !pod.addresses.empty(); });
  if (status->pods < attached) return fmt::format("{} ({} of {} pods seen)", node.name, status->pods, attached);
  return {};
}

void wait_until_ready(const Lab& lab, std::vector<Child>& agents, const LabProgress& progress) {
  Patience patience(progress, kReadyTime + kReadyTimePerNode * static_cast<int>(lab.nodes.size()));
  std::vector<std::string> waiting(lab.nodes.size(), "the agents");
  for (;;) {
    const std::string* first = nullptr;
    for (size_t i = 0; i < agents.size(); ++i) {
      if (waiting[i].empty()) continue;
      const LabNode& node = lab.nodes[i];
      if (const auto status = agents[i].wait(milliseconds(0)))
        fail(ErrorKind::kernel, "{}'s agent ended with status {}:\n{}", node.name, *status, last_words(lab.log_file(node)));
      waiting[i] = unready(lab, node);
      if (!waiting[i].empty() && !first) first = &waiting[i];
    }
    if (!first) return;
    if (!patience.wait([&] { return *first; }))
      fail(ErrorKind::kernel, "not ready in time: {}; its agent says:\n{}", *first,
           last_words(lab.log_file(lab.nodes[static_cast<size_t>(first - waiting.data())])));
  }
}

/// CNI ADD as a runtime does it, in this process: the same entry, without an exec for each pod.
void attach_pod(const Lab& lab, const LabNode& node, LabPod& pod) {
  const NodePaths paths = lab.node_paths(node);
  const CniEnvironment environment = {
      {"CNI_COMMAND", "ADD"},
      {"CNI_CONTAINERID", lab.netns_name(pod.name)},
      {"CNI_NETNS", lab.netns_path(pod.name).string()},
      {"CNI_IFNAME", "eth0"},
      {"CNI_PATH", "/opt/cni/bin"},
      {"CNI_ARGS", fmt::format("IgnoreUnknown=1;K8S_POD_NAMESPACE={};K8S_POD_NAME={}", lab.words.name, pod.name)},
  };
  const nlohmann::json config = {{"cniVersion", "1.0.0"}, {"name", "knet"}, {"type", "knet"},
                                 {"stateDir", paths.state_dir.string()}, {"runDir", paths.run_dir.string()}};
  std::string out;
  const int status = run_cni(environment, config.dump(), out);
  const nlohmann::json result = parse_json(out, "the CNI result for " + pod.name);
  if (status != 0)
    fail(ErrorKind::kernel, "pod {}: {} {}", pod.name, result.value("msg", "CNI ADD failed"), result.value("details", ""));
  for (const auto& item : result.at("ips"))
    if (const auto prefix = Prefix::parse(item.at("address").get<std::string>())) pod.addresses.push_back(prefix->addr());
  for (const auto& item : result.at("interfaces"))
    if (item.value("sandbox", "").empty()) pod.host_dev = item.at("name").get<std::string>();
}

void attach_pods(Lab& lab, const std::vector<Fd>& nodes) {
  std::vector<std::string> errors(lab.nodes.size());
  auto attach_all = [&](size_t i) {
    try {
      in_netns(nodes[i].get(), [&] {
        for (LabPod& pod : lab.nodes[i].pods) attach_pod(lab, lab.nodes[i], pod);
      });
    } catch (const std::exception& error) {
      errors[i] = error.what();
    }
  };
  // A few at a time: each pod's links take the kernel's one network lock anyway.
  const size_t workers = std::min<size_t>(lab.nodes.size(), std::max(2u, std::thread::hardware_concurrency()));
  std::vector<std::thread> threads;
  for (size_t worker = 0; worker < workers; ++worker)
    threads.emplace_back([&, worker] {
      for (size_t i = worker; i < lab.nodes.size(); i += workers) attach_all(i);
    });
  for (std::thread& thread : threads) thread.join();
  for (const std::string& error : errors)
    if (!error.empty()) throw Error(ErrorKind::kernel, error);
}

void wire(const Lab& lab, const Fd& switch_fd, const std::vector<Fd>& nodes) {
  std::vector<LabSegment> segments;
  for (size_t i = 0; i < lab_segments(lab.words); ++i)
    segments.push_back({DevName(fmt::format("br{}", i)),
                        {Prefix(lab_gateway(i, Family::v4), 24), Prefix(lab_gateway(i, Family::v6), 64)}});
  std::vector<LabNic> nics;
  for (size_t i = 0; i < nodes.size(); ++i) {
    const LabNode& node = lab.nodes[i];
    nics.push_back({nodes[i].get(), DevName("eth0"), DevName(node.name), node.segment,
                    {Prefix(node.ip, 24), Prefix(node.ip6, 64)},
                    {lab_gateway(node.segment, Family::v4), lab_gateway(node.segment, Family::v6)}});
  }
  if (lab.cable) join_namespaces(nics.at(0), nics.at(1), kLabMtu);
  else wire_lab(switch_fd.get(), segments, nics, kLabMtu);
}

void note_subnets(Lab& lab) {
  for (LabNode& node : lab.nodes) {
    const auto status = fetch_status(lab.node_paths(node));
    if (!status) continue;
    node.subnet = Prefix::parse(status->subnet).value_or(Prefix{});
    node.subnet6 = Prefix::parse(status->subnet6).value_or(Prefix{});
  }
}

void build(Lab& lab, const LabProgress& progress) {
  const Spaces spaces(lab);
  const Fd switch_fd = spaces.make(kLabSwitch);
  std::vector<Fd> nodes;
  for (const LabNode& node : lab.nodes) nodes.push_back(spaces.make(node.name));
  wire(lab, switch_fd, nodes);

  Child etcd;
  if (lab.words.store == "etcd") {
    etcd = start_etcd(lab, switch_fd.get());
    lab.etcd = process_of(etcd.pid());
    save_lab(lab);
  }
  write_config(lab, switch_fd.get(), etcd, progress);

  std::vector<Child> agents;
  for (size_t i = 0; i < nodes.size(); ++i) {
    agents.push_back(start_agent(lab, lab.nodes[i], nodes[i].get()));
    lab.nodes[i].agent = process_of(agents.back().pid());
  }
  save_lab(lab);
  for (const LabNode& node : lab.nodes)  // while the agents start
    for (const LabPod& pod : node.pods) make_netns(lab, pod.name);
  wait_until_ready(lab, agents, progress);
  attach_pods(lab, nodes);
  wait_until_ready(lab, agents, progress);
  note_subnets(lab);
  save_lab(lab);
  for (Child& agent : agents) agent.release();
  if (etcd.pid() > 0) etcd.release();
}

}  // namespace

std::vector<std::string> node_environment(const Lab& lab, const LabNode& node) {
  const NodePaths paths = lab.node_paths(node);
  std::vector<std::string> environment = plain_environment();
  environment.push_back("KNET_STORE=" + lab.store_url);
  environment.push_back("KNET_STATE_DIR=" + paths.state_dir.string());
  environment.push_back("KNET_RUN_DIR=" + paths.run_dir.string());
  return environment;
}

Lab lab_up(Lab lab, const LabProgress& progress) {
  // An unknown mode or option, and a mode that can't run here, is told before anything is made.
  const NetworkConfig network = lab_network(lab.words);
  if (const KernelFeatures kernel = probe_kernel(Probe::quick); kernel.known)
    if (const auto why = mode_registry().get(network.mode).unsupported(kernel, network))
      fail(ErrorKind::unsupported, "mode {} can't run here: {}", network.mode, *why);
  const std::string& name = lab.words.name;
  const Fd lock = make_lab_dir(name);
  lab.dir = lab_dir(name);
  lab.unprivileged = !can_make_namespaces();
  lab.since = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  lab.store_url = store_url(lab);
  if (lab.unprivileged) make_directories(lab.dir / "netns");
  save_lab(lab);
  Undo undo([&] {
    try {
      tear_down(lab);
    } catch (...) {  // what is left is listed in lab.json, for `lab down`
    }
  });
  if (lab.unprivileged) {
    const Holder holder = hold_user_namespace();
    lab.holder = holder.process;
    save_lab(lab);
    if (write(holder.tell.get(), "k", 1) != 1) throw_errno(errno, "reach the process that keeps the lab's namespaces");
  }
  build(lab, progress);
  undo.dismiss();
  return lab;
}

}  // namespace knet
