// probe_kernel(): tried in a scratch network namespace of a child process, so that neither devices nor privileges are
// needed or left behind.
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/if_tunnel.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/nexthop.h>
#include <linux/rtnetlink.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <optional>

#include "base/error.h"
#include "base/file.h"
#include "kernel/bpf_tunnel.h"
#include "kernel/linux_plane.h"
#include "kernel/netlink.h"
#include "kernel/nft_render.h"
#include "kernel/rtnl_read.h"
#include "kernel/shortcut.h"

namespace knet {

namespace {

/// What the child tells; plain bytes through a pipe.
struct Found {
  bool vxlan = false;
  bool wireguard = false;
  bool ipip = false;
  bool nexthops = false;
  bool nf_tables = false;
};

bool can_make(NlSocket& socket, std::string_view kind) {
  NlMessage message;
  ifinfomsg head{};
  message.begin(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, head);
  {
    auto info = message.nest(IFLA_LINKINFO);
    message.put_text(IFLA_INFO_KIND, kind);
    if (kind == "vxlan") {
      auto data = message.nest(IFLA_INFO_DATA);
      message.put_u32(IFLA_VXLAN_ID, 1).put_be16(IFLA_VXLAN_PORT, 8472);
    }
    if (kind == "ipip") {  // without an address it would be the driver's own fallback device
      auto data = message.nest(IFLA_INFO_DATA);
      message.put_ip(IFLA_IPTUN_LOCAL, IpAddr::v4(0x7f000001));
    }
  }
  return socket.request(message).error == 0;
}

bool has_nf_tables() {
  auto socket = open_netfilter_socket();
  NlMessage message;
  return socket && socket->request(begin_nft(message, NFT_MSG_GETGEN, 0, AF_UNSPEC)).error == 0;
}

bool has_nexthops(NlSocket& socket) {
  NlMessage message;
  nhmsg head{};
  auto result = socket.dump(
      message.begin(RTM_GETNEXTHOP, 0, head), [] {}, [](const nlmsghdr*) {});
  return result != NlSocket::Dump::refused;
}

/// Loaded, built in, or in the lists of this kernel's modules; nothing if there are no lists (a container).
std::optional<bool> module_listed(const std::string& release, const std::string& name) {
  if (access(("/sys/module/" + name).c_str(), F_OK) == 0) return true;
  std::optional<bool> listed;
  for (const char* list : {"modules.builtin", "modules.dep"}) {
    try {
      auto text = read_file("/lib/modules/" + release + "/" + list);
      if (!text) continue;
      if (text->find("/" + name + ".ko") != std::string::npos) return true;
      listed = false;
    } catch (const Error&) {
    }
  }
  return listed;
}

bool can_load_bpf() {
  bpf_insn program[2] = {};
  program[0].code = BPF_ALU64 | BPF_MOV | BPF_K;
  program[1].code = BPF_JMP | BPF_EXIT;
  bpf_attr attr;
  memset(&attr, 0, sizeof attr);
  attr.prog_type = BPF_PROG_TYPE_SCHED_CLS;
  attr.insns = reinterpret_cast<uint64_t>(program);
  attr.insn_cnt = 2;
  attr.license = reinterpret_cast<uint64_t>("GPL");
  Fd fd(static_cast<int>(syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof attr)));
  return static_cast<bool>(fd);
}

/// Something else may stand there, and a container may be refused it. Who could not make a device anyway is told by
/// that refusal that there is one.
bool has_tun() {
  const Fd fd(open("/dev/net/tun", O_RDWR | O_CLOEXEC));
  if (!fd) return (errno == EACCES || errno == EPERM) && !may_change_network();
  unsigned int features = 0;
  return ioctl(fd.get(), TUNGETFEATURES, &features) == 0;
}

[[noreturn]] void probe_in_child(int out, bool try_ipip) {
  if (unshare(CLONE_NEWNET) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0) _exit(1);
  try {
    NlSocket socket(NETLINK_ROUTE);
    Found found;
    found.vxlan = can_make(socket, "vxlan");
    found.wireguard = can_make(socket, "wireguard");
    found.ipip = try_ipip && can_make(socket, "ipip");
    found.nexthops = has_nexthops(socket);
    found.nf_tables = has_nf_tables();
    if (write(out, &found, sizeof found) != static_cast<ssize_t>(sizeof found)) _exit(1);
  } catch (...) {
    _exit(1);
  }
  _exit(0);
}

}  // namespace

bool may_change_network() {
  constexpr int kCapNetAdmin = 12;
  const auto status = read_file("/proc/self/status", 64u << 10);
  constexpr std::string_view kKey = "CapEff:\t";
  const size_t at = status ? status->find(kKey) : std::string::npos;
  if (at == std::string::npos) return true;  // not known: the kernel will tell
  return (strtoull(status->c_str() + at + kKey.size(), nullptr, 16) >> kCapNetAdmin & 1) != 0;
}

KernelFeatures probe_kernel(Probe probe) {
  KernelFeatures features;
  utsname names{};
  if (uname(&names) == 0) features.release = names.release;

  // Loading ipip puts a tunl0 into every namespace: it is tried only where nothing else tells.
  const std::optional<bool> ipip = module_listed(features.release, "ipip");

  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0) throw_errno(errno, "make a pipe");
  Fd in(ends[0]), out(ends[1]);
  pid_t child = fork();
  if (child < 0) throw_errno(errno, "start a child that probes the kernel");
  if (child == 0) probe_in_child(out.get(), !ipip.has_value());
  out.reset();
  Found found;
  ssize_t got;
  while ((got = read(in.get(), &found, sizeof found)) < 0 && errno == EINTR) {
  }
  while (waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
  features.known = got == static_cast<ssize_t>(sizeof found);
  if (features.known) {
    features.vxlan = found.vxlan;
    features.wireguard = found.wireguard;
    features.nexthops = found.nexthops;
    features.nf_tables = found.nf_tables;
  }
  features.ipip = ipip.value_or(features.known && found.ipip);
  features.tun = has_tun();
  features.bpf = can_load_bpf();
  features.bpf_why = try_bpf_tunnel();
  features.bpf_tunnel = features.bpf_why.empty();
  if (probe == Probe::quick) return features;
  features.shortcut_why = try_shortcut();
  features.shortcut = features.shortcut_why.empty();
  return features;
}

}  // namespace knet
