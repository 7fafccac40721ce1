#include "kernel/iptables_legacy.h"

// First, or <linux/in.h> defines the same again.
#include <netinet/in.h>

#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter_ipv4/ip_tables.h>
#include <linux/netfilter_ipv6/ip6_tables.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <optional>

#include "base/error.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/text.h"

namespace knet {

namespace {

/// Asking for a table makes it: so only one that is listed is asked for. Nothing: the list can't be read.
std::optional<bool> filter_in_use(const char* list) {
  try {
    auto names = read_file(list);
    if (!names) return false;
    for (std::string_view name : split(*names, '\n'))
      if (name == "filter") return true;
    return false;
  } catch (const Error&) {
    return std::nullopt;
  }
}

/// The policy stands as the standard target of the chain's last entry, where its underflow points to.
template <typename Info, typename Entries, typename Entry>
std::optional<bool> forward_drops(int domain, int level, int get_info, int get_entries) {
  Fd fd(socket(domain, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW));
  if (!fd) return std::nullopt;
  Info info{};
  strcpy(info.name, "filter");
  socklen_t size = sizeof info;
  if (getsockopt(fd.get(), level, get_info, &info, &size) < 0) return std::nullopt;
  std::string bytes(sizeof(Entries) + info.size, '\0');
  Entries head{};
  strcpy(head.name, "filter");
  head.size = info.size;
  memcpy(bytes.data(), &head, sizeof head);
  size = static_cast<socklen_t>(bytes.size());
  if (getsockopt(fd.get(), level, get_entries, bytes.data(), &size) < 0) return std::nullopt;

  size_t at = sizeof(Entries) + info.underflow[NF_INET_FORWARD];
  Entry entry{};
  if (at + sizeof entry > bytes.size()) return std::nullopt;
  memcpy(&entry, bytes.data() + at, sizeof entry);
  xt_standard_target target{};
  if (at + entry.target_offset + sizeof target > bytes.size()) return std::nullopt;
  memcpy(&target, bytes.data() + at + entry.target_offset, sizeof target);
  return target.verdict == -NF_DROP - 1;
}

}  // namespace

std::vector<LegacyForward> legacy_forward_drops() {
  std::vector<LegacyForward> found;
  auto look = [&](Family family, const char* list, const char* program, auto drops) {
    auto in_use = filter_in_use(list);
    if (in_use == false) return;
    std::optional<bool> answer;
    if (in_use) answer = drops();
    if (answer != false) found.push_back({family, program, answer.has_value()});
  };
  look(Family::v4, "/proc/net/ip_tables_names", "iptables-legacy", [] {
    return forward_drops<ipt_getinfo, ipt_get_entries, ipt_entry>(AF_INET, SOL_IP, IPT_SO_GET_INFO, IPT_SO_GET_ENTRIES);
  });
  look(Family::v6, "/proc/net/ip6_tables_names", "ip6tables-legacy", [] {
    return forward_drops<ip6t_getinfo, ip6t_get_entries, ip6t_entry>(AF_INET6, SOL_IPV6, IP6T_SO_GET_INFO,
                                                                     IP6T_SO_GET_ENTRIES);
  });
  return found;
}

}  // namespace knet
