#include "agent/node.h"

#include <sys/stat.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <random>

#include "base/digest.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/text.h"
#include "core/records.h"

namespace knet {
namespace {

using Json = nlohmann::json;
constexpr int kNodeSchema = 1;

std::string text_or(const Json& tree, const char* key, std::string fallback) {
  auto at = tree.find(key);
  return at != tree.end() && at->is_string() ? at->get<std::string>() : std::move(fallback);
}

bool bool_or(const Json& tree, const char* key, bool fallback) {
  auto at = tree.find(key);
  return at != tree.end() && at->is_boolean() ? at->get<bool>() : fallback;
}

std::vector<std::string> texts(const Json& tree, const char* key) {
  std::vector<std::string> out;
  if (auto at = tree.find(key); at != tree.end() && at->is_array())
    for (const Json& item : *at)
      if (item.is_string()) out.push_back(item.get<std::string>());
  return out;
}

IpAddr address_or_none(const Json& tree, const char* key) {
  return IpAddr::parse(text_or(tree, key, "")).value_or(IpAddr{});
}

std::string trimmed_file(const std::filesystem::path& path) {
  auto bytes = read_file(path, 4096);
  return bytes ? std::string(trim(*bytes)) : std::string();
}

std::string quoted(const std::string& word) {
  if (!word.empty() &&
      word.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:,=@+") ==
          std::string::npos)
    return word;
  std::string out = "'";
  for (char c : word) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

}  // namespace

std::optional<NodeSettings> load_node_settings(const NodePaths& paths) {
  auto bytes = read_file(paths.node_file(), 1u << 20);
  if (!bytes) return std::nullopt;
  const std::string what = paths.node_file().string();
  const Json tree = parse_json(*bytes, what);
  if (!tree.is_object()) fail(ErrorKind::config, "{}: not a JSON object; remove it and run knet join again", what);
  NodeSettings settings;
  StoreOptions& store = settings.store;
  store.url = text_or(tree, "store", store.url);
  store.prefix = text_or(tree, "prefix", store.prefix);
  store.cert_file = text_or(tree, "cert", "");
  store.key_file = text_or(tree, "key", "");
  store.ca_file = text_or(tree, "cacert", "");
  store.user = text_or(tree, "user", "");
  store.password_file = text_or(tree, "password_file", "");
  settings.name = text_or(tree, "name", "");
  settings.uplink.ifaces = texts(tree, "iface");
  settings.uplink.iface_regexes = texts(tree, "iface_regex");
  settings.uplink.can_reach = IpAddr::parse(text_or(tree, "iface_can_reach", ""));
  settings.uplink.public_ip = address_or_none(tree, "public_ip");
  settings.uplink.public_ip6 = address_or_none(tree, "public_ip6");
  settings.masquerade = bool_or(tree, "masquerade", true);
  settings.forward_accept = bool_or(tree, "forward_accept", true);
  settings.lower_rp_filter = bool_or(tree, "lower_rp_filter", true);
  settings.pods = bool_or(tree, "pods", true);
  return settings;
}

void save_node_settings(const NodePaths& paths, const NodeSettings& settings) {
  Json tree = {{"schema", kNodeSchema}, {"store", settings.store.url}, {"prefix", settings.store.prefix}};
  auto put = [&](const char* key, const std::string& text) {
    if (!text.empty()) tree[key] = text;
  };
  put("cert", settings.store.cert_file);
  put("key", settings.store.key_file);
  put("cacert", settings.store.ca_file);
  put("user", settings.store.user);
  put("password_file", settings.store.password_file);
  put("name", settings.name);
  if (!settings.uplink.ifaces.empty()) tree["iface"] = settings.uplink.ifaces;
  if (!settings.uplink.iface_regexes.empty()) tree["iface_regex"] = settings.uplink.iface_regexes;
  if (settings.uplink.can_reach) tree["iface_can_reach"] = settings.uplink.can_reach->str();
  if (settings.uplink.public_ip) tree["public_ip"] = settings.uplink.public_ip.str();
  if (settings.uplink.public_ip6) tree["public_ip6"] = settings.uplink.public_ip6.str();
  tree["masquerade"] = settings.masquerade;
  tree["forward_accept"] = settings.forward_accept;
  tree["lower_rp_filter"] = settings.lower_rp_filter;
  tree["pods"] = settings.pods;
  write_file(paths.node_file(), tree.dump(2) + "\n");
}

std::string resolve_node_name(const NodePaths& paths, const std::string& given) {
  std::string name = given;
  if (name.empty()) name = trimmed_file(paths.node_name());
  if (name.empty()) {
    char host[256] = {};
    if (gethostname(host, sizeof host - 1) != 0) throw_errno(errno, "read the host's name");
    name = lower(host);
    try {
      check_node_name(name);
    } catch (const Error& error) {
      fail(ErrorKind::usage, "the host's name can't be the node's: {}; give --node-name", error.text);
    }
  }
  check_node_name(name);
  return name;
}

std::string resolve_machine_id(const NodePaths& paths, bool keep) {
  if (std::string id = trimmed_file(paths.machine_id()); !id.empty()) return id;
  if (std::string id = trimmed_file("/etc/machine-id"); !id.empty() && id != "uninitialized") return id;
  std::random_device random;
  std::string id;
  for (int i = 0; i < 4; ++i) id += fmt::format("{:08x}", random());
  if (keep && !create_file(paths.machine_id(), id + "\n")) id = trimmed_file(paths.machine_id());
  return id;
}

std::string machine_instance() {
  const std::string boot = trimmed_file("/proc/sys/kernel/random/boot_id");
  struct stat netns {};
  if (boot.empty() || ::stat("/proc/thread-self/ns/net", &netns) != 0) return "";
  return fmt::format("{:016x}", fingerprint(fmt::format("{} {}", boot, netns.st_ino)));
}

std::string agent_line(const NodePaths& paths, const NodeSettings& settings) {
  std::string line = "knet agent";
  auto add = [&](std::string_view flag, const std::string& value) {
    if (!value.empty()) line += fmt::format(" {} {}", flag, quoted(value));
  };
  const NodePaths usual;
  const StoreOptions plain;
  if (paths.state_dir != usual.state_dir) add("--state-dir", paths.state_dir);
  if (paths.run_dir != usual.run_dir) add("--run-dir", paths.run_dir);
  add("--store", settings.store.url);
  if (settings.store.prefix != plain.prefix) add("--prefix", settings.store.prefix);
  add("--cert", settings.store.cert_file);
  add("--key", settings.store.key_file);
  add("--cacert", settings.store.ca_file);
  return line;
}

}  // namespace knet
