#include "cni/attach.h"

#include <algorithm>

#include "base/file.h"
#include "base/text.h"
#include "cni/address_store.h"
#include "kernel/netns.h"
#include "kernel/pod_link.h"

namespace knet {
namespace {

namespace fs = std::filesystem;

fs::path record_path(const CniRequest& request, const std::string& id) {
  return request.run_dir / "endpoints" / (id + ".json");
}
fs::path ipam_dir(const CniRequest& request) { return request.state_dir / "ipam"; }

std::optional<Endpoint> read_record(const CniRequest& request, const std::string& id) {
  const fs::path path = record_path(request, id);
  const auto text = read_file(path, 1u << 20);
  if (!text) return std::nullopt;
  try {
    return parse_endpoint(*text);
  } catch (const Error& error) {
    throw with_context(error, path.string());
  }
}

PodLinkRequest link_request(const CniRequest& request, const SubnetEnv& env, const std::vector<IpAddr>& addresses,
                            int netns) {
  PodLinkRequest link;
  link.host_dev = pod_link_name(request.id());
  link.ifname = request.ifname;
  link.netns_fd = netns;
  link.addresses = addresses;
  const uint32_t v4 = request.mtu ? request.mtu : env.mtu.v4;
  const uint32_t v6 = request.mtu ? request.mtu : env.mtu.v6;
  link.mtu = std::max(env.subnet ? v4 : 0, env.subnet6 ? v6 : 0);
  if (v4 < link.mtu) link.mtu_v4 = v4;
  if (v6 < link.mtu) link.mtu_v6 = v6;
  return link;
}

std::vector<IpAddr> take_addresses(const CniRequest& request, const SubnetEnv& env) {
  AddressStore store(ipam_dir(request));
  Undo give_back([&] { store.release(request.id()); });
  std::vector<IpAddr> addresses;
  for (const Prefix& subnet : {env.subnet, env.subnet6}) {
    if (!subnet) continue;
    const auto wanted = std::find_if(request.wanted.begin(), request.wanted.end(),
                                     [&](const IpAddr& ip) { return ip.family() == subnet.family(); });
    if (wanted == request.wanted.end()) {
      addresses.push_back(store.take(subnet, request.id()));
    } else {
      store.take(subnet, *wanted, request.id());
      addresses.push_back(*wanted);
    }
  }
  give_back.dismiss();
  return addresses;
}

/// A device of this very name can only be left from an attach of the same interface that was killed half way.
PodLinkResult make_link(const PodLinkRequest& link) {
  try {
    return add_pod_link(link);
  } catch (const Error& error) {
    if (error.kind != ErrorKind::conflict || !remove_pod_link(link.host_dev)) throw;
  }
  return add_pod_link(link);
}

void detach_endpoint(const CniRequest& request, const std::string& id) {
  std::vector<std::string> failures;
  auto attempt = [&](auto&& step) {
    try {
      step();
    } catch (const std::exception& error) {
      failures.push_back(error.what());
    }
  };
  attempt([&] { remove_pod_link(pod_link_name(id)); });
  attempt([&] {
    if (fs::exists(ipam_dir(request))) AddressStore(ipam_dir(request)).release(id);
  });
  // Last: while the record stands, a DEL that was cut off is known to be unfinished.
  if (failures.empty()) attempt([&] { remove_file(record_path(request, id)); });
  if (!failures.empty()) fail(ErrorKind::kernel, "detach {} of {}: {}", request.ifname, id, join(failures, "; "));
}

}  // namespace

SubnetEnv node_subnet(const CniRequest& request, int code) {
  const fs::path path = request.run_dir / "subnet.env";
  const auto text = read_file(path, 64u << 10);
  if (!text) {
    throw CniError(code, ErrorKind::config,
                   fmt::format("this node has no subnet yet: {} is not there; is knet agent running? (knet status)",
                               path.string()));
  }
  auto env = parse_subnet_env(*text);
  if (!env)
    throw CniError(code, ErrorKind::config,
                   fmt::format("{} names no subnet; restart knet agent to have it written anew", path.string()));
  return *env;
}

void refuse_without_pods(const CniRequest& request, int code) {
  const auto why = read_file(request.run_dir / "no-pods", 4096);
  if (why)
    throw CniError(code, ErrorKind::config, fmt::format("this node runs no pods: {}", printable(trim(*why), 200)));
}

CniResult attach(const CniRequest& request) {
  refuse_without_pods(request, kCniTryAgainLater);
  const SubnetEnv env = node_subnet(request, kCniTryAgainLater);
  const Fd netns = open_netns(request.netns);
  const std::string id = request.id();
  if (const auto existing = read_record(request, id)) {
    const bool same = existing->netns == request.netns &&
                      check_pod_link(link_request(request, env, existing->addresses, netns.get())).empty();
    if (same) return {*existing, pod_gateway_mac()};
    detach_endpoint(request, id);
  }

  Endpoint endpoint;
  endpoint.addresses = take_addresses(request, env);
  Undo give_back([&] {
    try {
      AddressStore(ipam_dir(request)).release(id);
    } catch (const std::exception&) {
      // The error that brought us here is the one to report; DEL gives the address back.
    }
  });
  const PodLinkRequest link = link_request(request, env, endpoint.addresses, netns.get());
  const PodLinkResult made = make_link(link);
  Undo remove_link([&] {
    try {
      remove_pod_link(link.host_dev);
    } catch (const std::exception&) {
      // As above.
    }
  });

  endpoint.id = id;
  endpoint.network = request.network;
  endpoint.container = request.container;
  endpoint.ifname = request.ifname;
  endpoint.netns = request.netns;
  endpoint.pod = request.pod;
  endpoint.host_dev = link.host_dev;
  endpoint.mac = made.mac;
  write_file(record_path(request, id), format_endpoint(endpoint), 0644, false);
  remove_link.dismiss();
  give_back.dismiss();
  return {endpoint, made.host_mac};
}

void detach(const CniRequest& request) { detach_endpoint(request, request.id()); }

std::vector<std::string> check_attached(const CniRequest& request) {
  const SubnetEnv env = node_subnet(request, kCniTryAgainLater);
  const auto endpoint = read_record(request, request.id());
  if (!endpoint)
    return {fmt::format("{} is not there: {} was never attached, or its record is gone",
                        record_path(request, request.id()).string(), request.ifname)};
  std::vector<std::string> wrong;
  for (const Prefix& address : request.previous->addresses) {
    const auto& held = endpoint->addresses;
    if (std::find(held.begin(), held.end(), address.addr()) == held.end()) {
      wrong.push_back(
          fmt::format("prevResult has {}, the record of {} does not", address.addr().str(), request.ifname));
    }
  }
  const Fd netns = open_netns(request.netns);
  for (std::string& line : check_pod_link(link_request(request, env, endpoint->addresses, netns.get())))
    wrong.push_back(std::move(line));
  return wrong;
}

void collect(const CniRequest& request) {
  std::vector<std::string> failures;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(request.run_dir / "endpoints", ignored)) {
    if (entry.path().extension() != ".json") continue;
    try {
      const auto endpoint = read_record(request, entry.path().stem().string());
      if (!endpoint || endpoint->network != request.network) continue;
      const auto& valid = *request.valid_attachments;
      const bool wanted = std::any_of(valid.begin(), valid.end(), [&](const auto& attachment) {
        return attachment.container == endpoint->container && attachment.ifname == endpoint->ifname;
      });
      if (!wanted) detach_endpoint(request, endpoint->id);
    } catch (const std::exception& error) {
      failures.push_back(error.what());
    }
  }
  if (!failures.empty()) fail(ErrorKind::kernel, "{}", join(failures, "; "));
}

}  // namespace knet
