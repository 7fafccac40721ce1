#include "agent/init.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json.h"
#include "base/text.h"
#include "core/mode.h"
#include "core/ownership.h"

namespace knet {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kTries = 4;  // writers that keep coming between our read and our write

bool inside_any(const std::vector<Prefix>& networks, const Prefix& prefix) {
  return std::any_of(networks.begin(), networks.end(), [&](const Prefix& network) { return network.contains(prefix); });
}

const Prefix* overlapping(const std::vector<Prefix>& networks, const Prefix& prefix) {
  const auto found = std::find_if(networks.begin(), networks.end(), [&](const Prefix& network) { return network.overlaps(prefix); });
  return found == networks.end() ? nullptr : &*found;
}

/// The differences in one line: "Network 10.244.0.0/16 -> 10.1.0.0/16, Backend.VNI 1 -> 7".
std::string differences(const std::vector<ConfigChange>& changes) {
  std::vector<std::string> parts;
  for (const ConfigChange& change : changes) parts.push_back(change.what);
  return join(parts, ", ");
}

/// The config that stands in the store. One that can't be read differs from any.
std::optional<NetworkConfig> standing(const ConfigText& text, const ModeRegistry& modes) {
  try {
    return parse_network_config(text.json, modes);
  } catch (const Error&) {
    return std::nullopt;
  }
}

Json value_of(const std::string& text) {
  if (const std::optional<int64_t> number = parse_int(text)) return *number;
  if (text == "true" || text == "false") return text == "true";
  return text;
}

/// Under the key's spelling where it is there already.
void set_key(Json& object, std::string_view key, Json value) {
  std::string name(key);
  for (const auto& [there, old] : object.items()) {
    if (equals_ignoring_case(there, key)) name = there;
  }
  object[name] = std::move(value);
}

}  // namespace

HostClashes host_clashes(const NetworkConfig& config, const NetState& host) {
  const std::vector<Prefix> networks = config.networks();
  Ownership own;
  own.networks = networks;
  auto clusters = [&](const DevName& dev) {  // a device of the cluster: what hangs on it is no clash
    const Link* link = host.find_link(dev);
    return link != nullptr && (own.owns(*link) || Ownership::is_flannel_link(*link) || Ownership::is_pod_link(link->name.view()));
  };
  HostClashes out;
  for (const Address& address : host.addresses) {
    if (clusters(address.dev) || address.prefix.addr().is_link_local()) continue;
    const Prefix* network = overlapping(networks, address.prefix);
    if (network == nullptr) continue;
    if (network->contains(address.prefix.addr())) {
      out.refusals.push_back(fmt::format("{} on {} lies in {}", address.prefix.str(), address.dev.str(), network->str()));
    } else {
      out.notices.push_back(fmt::format("{} on {} takes in {}: hosts of that range are not reached from pods",
                                        address.prefix.str(), address.dev.str(), network->str()));
    }
  }
  for (const Route& route : host.routes) {
    if (own.owns(route) || clusters(route.dev) || route.dst.length() == 0) continue;
    const Prefix* network = overlapping(networks, route.dst);
    if (network == nullptr) continue;
    const bool of_address = std::any_of(host.addresses.begin(), host.addresses.end(), [&](const Address& address) {
      return address.dev == route.dev && address.prefix.masked() == route.dst;
    });
    if (of_address) continue;  // said with the address
    if (inside_any(networks, route.dst)) {
      out.refusals.push_back(fmt::format("the host has a {} inside {}", describe(route), network->str()));
    } else {
      out.notices.push_back(fmt::format("the host's {} takes in {}", describe(route), network->str()));
    }
  }
  return out;
}

InitReport run_init(ClusterStore& store, Plane& host, const ModeRegistry& modes, const InitOptions& options) {
  InitReport report;
  report.json = format_network_config(options.config);
  report.where = store.store().where();
  report.key = store.paths().config();
  report.embedded = store.store().embedded();
  for (int tries = 0; tries < kTries; ++tries) {
    const std::optional<ConfigText> there = store.load_config();
    std::optional<NetworkConfig> old;
    if (there) {
      old = standing(*there, modes);
      const std::vector<ConfigChange> changes = old ? compare(*old, options.config, modes) : std::vector<ConfigChange>{};
      if (old && changes.empty()) {
        report.outcome = InitReport::Outcome::equal;
        report.json = there->json;
        return report;
      }
      if (!options.force) {
        fail(ErrorKind::conflict, "{} {} holds another config ({}); `knet config set` changes what can be changed while nodes run, --force overwrites it",
             report.where, report.key, old ? differences(changes) : "one that can't be read");
      }
    }
    const Observed seen = host.observe(only(Kind::link) | only(Kind::address) | only(Kind::route));
    HostClashes clashes = host_clashes(options.config, seen.net);
    report.notices = std::move(clashes.notices);
    if (!clashes.refusals.empty() && !options.force) {
      fail(ErrorKind::config, "{}; give a network that this host does not use, or --force", join(clashes.refusals, "; "));
    }
    report.notices.insert(report.notices.end(), clashes.refusals.begin(), clashes.refusals.end());
    if (options.dry_run) {
      report.outcome = InitReport::Outcome::not_written;
      return report;
    }
    if (there) {
      report.outcome = InitReport::Outcome::replaced;
      if (store.swap_config(report.json, there->rev)) return report;
    } else if (store.create_config(report.json)) {
      return report;
    }
  }
  fail(ErrorKind::conflict, "{} {} is being changed by somebody else; try again", report.where, report.key);
}

NetworkConfig with_changes(const NetworkConfig& config, const std::vector<std::string>& changes, const ModeRegistry& modes) {
  static constexpr std::string_view kTopLevel[] = {"EnableIPv4", "EnableIPv6", "Network", "IPv6Network", "SubnetLen", "SubnetMin",
                                                   "SubnetMax", "IPv6SubnetLen", "IPv6SubnetMin", "IPv6SubnetMax"};
  Json json = Json::parse(format_network_config(config));
  for (const std::string& change : changes) {
    const size_t equals = change.find('=');
    if (equals == std::string::npos || equals == 0) {
      fail(ErrorKind::usage, "'{}' is no KEY=VALUE, such as DirectRouting=true", printable(change));
    }
    std::string key = change.substr(0, equals);
    const std::string value = change.substr(equals + 1);
    if (equals_ignoring_case(key, "mode") || equals_ignoring_case(key, "Backend.Type")) {
      if (value != json["Backend"].value("Type", "")) json["Backend"] = Json{{"Type", value}};
      continue;
    }
    if (equals_ignoring_case(key, "Masquerade") || equals_ignoring_case(key, "Knet.Masquerade")) {
      const std::optional<bool> on = parse_bool(value);
      if (!on) fail(ErrorKind::usage, "Masquerade={} is neither true nor false", printable(value));
      set_key(json["Knet"], "Masquerade", *on);
      continue;
    }
    const auto top = std::find_if(std::begin(kTopLevel), std::end(kTopLevel),
                                  [&](std::string_view name) { return equals_ignoring_case(name, key); });
    if (top != std::end(kTopLevel)) {
      set_key(json, *top, value_of(value));
      continue;
    }
    if (lower(key).starts_with("backend.")) key = key.substr(8);
    set_key(json["Backend"], key, value_of(value));
  }
  return parse_network_config(json.dump(), modes);
}

ConfigSetReport set_config(ClusterStore& store, const ModeRegistry& modes, const std::vector<std::string>& changes, bool dry_run) {
  ConfigSetReport report;
  report.where = store.store().where();
  report.key = store.paths().config();
  const std::optional<ConfigText> there = store.load_config();
  if (!there) fail(ErrorKind::config, "{} {} holds no config; write one with knet init", report.where, report.key);
  const NetworkConfig from = parse_network_config(there->json, modes);
  const NetworkConfig to = [&] {
    try {
      return with_changes(from, changes, modes);
    } catch (const Error& error) {  // what is stored was read well: the words given are at fault
      throw Error(ErrorKind::usage, error.text);
    }
  }();
  report.changes = compare(from, to, modes);
  std::vector<std::string> refusals;
  for (const ConfigChange& change : report.changes) {
    if (!change.live) refusals.push_back(change.what + " can't be changed while nodes run: " + change.steps);
  }
  if (!refusals.empty()) throw Error(ErrorKind::conflict, join(refusals, "; "));
  if (report.changes.empty() || dry_run) return report;
  if (!store.swap_config(format_network_config(to), there->rev)) {
    fail(ErrorKind::conflict, "{} {} was changed by somebody else meanwhile; look at knet config show and try again", report.where, report.key);
  }
  return report;
}

}  // namespace knet
