#include "kernel/shortcut.h"

#include <errno.h>
#include <fmt/core.h>
#include <linux/bpf.h>
#include <linux/rtnetlink.h>

#include <algorithm>
#include <array>

#include "base/digest.h"
#include "base/error.h"
#include "core/names.h"
#include "core/ownership.h"
#include "kernel/bpf/shortcut_abi.h"
#include "kernel/bpf/shortcut_code.h"
#include "kernel/bpf_burn.h"
#include "kernel/btf.h"
#include "kernel/bypassed.h"
#include "kernel/rtnl.h"
#include "kernel/sysctl.h"

namespace knet {

namespace {

using bpf::MapShape;

constexpr std::string_view kProgram = "knet_shortcut";
constexpr std::string_view kModule = "nf_conntrack";
constexpr std::string_view kLiberal = "net/netfilter/nf_conntrack_tcp_be_liberal";
// Connections' directions that move at once: for more the kernel is asked more often.
constexpr uint32_t kFlows = 16384;
constexpr uint32_t kMostPods = 4096;
constexpr int kLoopback = 1;

/// Of the code before anything is burnt in: another one is another knet's. Part of a map's name, by which a program is
/// known.
const std::string& flows_name() {
  static const std::string name = fmt::format(
      "knet_{:08x}",
      static_cast<uint32_t>(fingerprint({reinterpret_cast<const char*>(bpf::kShortcut), sizeof bpf::kShortcut})));
  return name;
}

MapShape flows_shape() { return {BPF_MAP_TYPE_LRU_HASH, sizeof(knet_flow), sizeof(knet_way), kFlows, 0, flows_name()}; }
// Of links that are gone the oldest are forgotten.
constexpr MapShape kDirect = {BPF_MAP_TYPE_LRU_HASH, sizeof(uint32_t), sizeof(uint8_t), kMostPods, 0, "knet_direct"};
constexpr MapShape kTaken = {BPF_MAP_TYPE_PERCPU_ARRAY, sizeof(uint32_t), sizeof(knet_count), 1, 0, "knet_taken"};

/// Throws Error{unsupported} or Error{kernel} with what this kernel lacks or refuses.
Fd load() {
  static constexpr std::string_view kFunctions[KNET_SHORTCUT_CALLS] = {"bpf_skb_ct_lookup", "bpf_ct_release"};
  static constexpr std::string_view kTypes[] = {"nf_conn", "nf_conntrack_proto", "ip_ct_tcp"};
  const bpf::KernelTypes types = bpf::read_kernel_types(kModule, kFunctions, kTypes);
  const auto offset = [&](std::string_view type, std::string_view member) {
    const auto found = types.offset(type, member);
    if (!found) fail(ErrorKind::unsupported, "this kernel's struct {} has no {}", type, member);
    return uint64_t{*found};
  };
  std::array<bpf::KernelCall, KNET_SHORTCUT_CALLS> calls;
  std::array<int, 2> files{-1, -1};  // the first one stands for the kernel itself
  Fd module;
  for (size_t i = 0; i < calls.size(); ++i) {
    const auto function = types.function(kFunctions[i]);
    if (!function)
      fail(ErrorKind::unsupported, "this kernel lets no program ask conntrack ({}, kernel 5.18)", kFunctions[i]);
    if (function->in_module && !module) {
      module = bpf::open_module_btf(kModule);
      if (!module) throw_errno(errno, "BPF_BTF_GET_FD_BY_ID {}", kModule);
      files[1] = module.get();
    }
    calls[i] = {function->id, static_cast<int16_t>(function->in_module)};
  }

  const Fd flows = bpf::make_map(flows_shape()), direct = bpf::make_map(kDirect), taken = bpf::make_map(kTaken);
  if (!flows || !direct || !taken) throw_errno(errno, "BPF_MAP_CREATE");
  std::array<uint64_t, KNET_SHORTCUT_SLOTS> values{};
  values[KNET_FLOWS] = static_cast<uint32_t>(flows.get());
  values[KNET_DIRECT] = static_cast<uint32_t>(direct.get());
  values[KNET_TAKEN] = static_cast<uint32_t>(taken.get());
  values[KNET_CT_STATUS] = offset("nf_conn", "status");
  values[KNET_CT_MARK] = types.offset("nf_conn", "mark").value_or(0);  // a kernel may have none
  values[KNET_CT_STATE] =
      offset("nf_conn", "proto") + offset("nf_conntrack_proto", "tcp") + offset("ip_ct_tcp", "state");
  constexpr size_t kMaps = KNET_TAKEN + 1;
  std::string complaint;
  Fd program = bpf::load_classifier(bpf::burn(bpf::kShortcut, values, kMaps, calls), kProgram, complaint,
                                    module ? std::span<const int>(files) : std::span<const int>());
  if (!program) throw Error(ErrorKind::kernel, complaint);
  return program;
}

/// That map of a program; false if it is not there.
Fd map_of(uint32_t program, const MapShape& shape) {
  bpf::ProgramInfo info;
  if (!bpf::program_info(program, info)) return {};
  for (const uint32_t id : info.maps)
    if (Fd map = bpf::open_map(id, shape)) return map;
  return {};
}

}  // namespace

Shortcuts::Shortcuts(NlSocket& socket, const LinkIndex& links) {
  std::vector<uint32_t> programs;
  if (!bpf::ingress_programs(kLoopback, programs)) {
    whole_ = errno != EPERM;  // else there is no tcx
    return;
  }
  const Bypassed bypassed = read_bypassed(socket);
  whole_ = bypassed.whole;
  const auto liberal = read_sysctl(std::string(kLiberal));
  liberal_ = liberal && *liberal == "1";
  for (const LinkIndex::Entry& link : links.all()) {
    if (link.type == LinkType::loopback || is_agent_link(link.name.view())) continue;
    if (!bpf::ingress_programs(link.index, programs)) {
      whole_ = whole_ && errno == ENODEV;
      continue;
    }
    Found one{.dev = link.name, .index = link.index, .hindered = bypassed.on(link)};
    one.direct = link.type == LinkType::veth && Ownership::is_pod_link(link.name.view()) && !bypassed.on_egress(link);
    for (const uint32_t id : programs) {
      bpf::ProgramInfo info;
      if (!bpf::program_info(id, info)) {
        whole_ = whole_ && errno != EPERM;
      } else if (info.name == kProgram) {
        one.program = id;
        one.ours = is_current(id);
        break;
      }
    }
    one.entered = one.ours && is_entered(one);
    found_.push_back(one);
  }
}

bool Shortcuts::is_current(uint32_t program) {
  for (const auto& [id, current] : judged_)
    if (id == program) return current;
  const bool current = static_cast<bool>(map_of(program, flows_shape()));
  judged_.emplace_back(program, current);
  return current;
}

/// Whether other devices' programs send what goes out by it right into the pod: that map is all programs' own.
bool Shortcuts::is_entered(const Found& one) {
  const auto index = static_cast<uint32_t>(one.index);
  uint8_t value = 0;
  if (!direct_ || direct_of_ != one.program) {
    direct_ = map_of(one.program, kDirect);
    direct_of_ = one.program;
  }
  return direct_ && bpf::map_get(direct_, &index, &value);
}

std::vector<Shortcut> Shortcuts::found() const {
  std::vector<Shortcut> out;
  for (const Found& one : found_) {
    if (!one.program && !one.hindered) continue;
    Shortcut& shortcut = out.emplace_back();
    shortcut.dev = one.dev;
    shortcut.intact = one.ours && liberal_ && !one.hindered && one.entered == one.direct;
    shortcut.hindered = one.hindered && !one.program;
  }
  return out;
}

Shortcuts::Found* Shortcuts::at(const DevName& dev) {
  const auto found = std::find_if(found_.begin(), found_.end(), [&](const Found& one) { return one.dev == dev; });
  return found == found_.end() ? nullptr : &*found;
}

/// The one that other devices have, or a new one.
Fd Shortcuts::program() {
  for (const Found& one : found_)
    if (one.ours)
      if (Fd program = bpf::open_program(one.program)) return program;
  return load();
}

NlFailure Shortcuts::put(const Shortcut& shortcut) {
  Found* one = at(shortcut.dev);
  if (!one) return {0, ENODEV, fmt::format("there is no device {}", shortcut.dev.view())};
  if (one->hindered) return remove(shortcut);
  if (!liberal_) {
    if (const int error = write_sysctl(std::string(kLiberal), "1"))
      return {0, error, fmt::format("set {} to 1: {}", kLiberal, errno_text(error))};
    liberal_ = true;
  }
  try {
    if (!one->ours) {
      const Fd ready = program();
      const Fd instead = one->program ? bpf::open_program(one->program) : Fd();
      if (!bpf::attach_ingress(one->index, ready, instead)) return {0, errno, errno_text(errno)};
      one->program = bpf::program_id(ready);
      one->ours = true;
      one->entered = is_entered(*one);
    }
    return enter(*one, one->direct);
  } catch (const Error& error) {
    return {0, EOPNOTSUPP, error.text};
  }
}

NlFailure Shortcuts::enter(Found& one, bool direct) {
  if (one.entered == direct || !one.program) return {};
  const Fd map = map_of(one.program, kDirect);
  const auto index = static_cast<uint32_t>(one.index);
  const uint8_t yes = 1;
  const bool done = map && (direct ? bpf::map_put(map, &index, &yes) : bpf::map_remove(map, &index) || errno == ENOENT);
  if (!done) return {0, errno, errno_text(errno)};
  one.entered = direct;
  return {};
}

NlFailure Shortcuts::remove(const Shortcut& shortcut) {
  Found* one = at(shortcut.dev);
  if (!one || !one->program) return {};
  if (NlFailure left = enter(*one, false); left.error) return left;
  if (!bpf::detach_ingress(one->index, bpf::open_program(one->program)) && errno != ENOENT && errno != ENODEV)
    return {0, errno, errno_text(errno)};
  one->program = 0;
  one->ours = false;
  return {};
}

Shortcuts::Taken Shortcuts::taken() const {
  Taken sum;
  std::vector<uint32_t> counted;
  for (const Found& one : found_) {
    if (!one.program || std::find(counted.begin(), counted.end(), one.program) != counted.end()) continue;
    counted.push_back(one.program);
    const Fd map = map_of(one.program, kTaken);
    std::vector<knet_count> each(bpf::possible_cpus());
    const uint32_t first = 0;
    if (!map || !bpf::map_get(map, &first, each.data())) continue;
    for (const knet_count& cpu : each) sum.packets += cpu.packets, sum.bytes += cpu.bytes;
  }
  return sum;
}

std::string try_shortcut() {
  std::vector<uint32_t> programs;
  if (!bpf::ingress_programs(kLoopback, programs))
    return errno == EINVAL ? "this kernel has no tcx (kernel 6.6)" : "BPF_PROG_QUERY: " + errno_text(errno);
  try {
    const Fd program = load();
    // Of no connection, so it goes the long way.
    std::string frame(54, '\0');
    frame[12] = 8, frame[14] = 0x45, frame[17] = 40, frame[22] = 64, frame[23] = 6, frame[46] = 0x50, frame[47] = 0x10;
    bpf::Trial trial;
    if (!bpf::try_program(program, frame, trial)) return "BPF_PROG_TEST_RUN: " + errno_text(errno);
    if (static_cast<int32_t>(trial.verdict) != -1) return "this kernel does not leave to the stack what is the stack's";
    return {};
  } catch (const Error& error) {
    return error.text;
  }
}

namespace {

Shortcuts look() {
  NlSocket socket(NETLINK_ROUTE);
  std::vector<Link> links;
  read_links(socket, links);
  return Shortcuts(socket, LinkIndex(links));
}

}  // namespace

std::vector<Shortcut> read_shortcuts() { return look().found(); }
Shortcuts::Taken read_shortcut_counters() { return look().taken(); }

}  // namespace knet
