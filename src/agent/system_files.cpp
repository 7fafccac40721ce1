#include <algorithm>

#include "agent/files.h"
#include "agent/installed.h"
#include "base/process.h"

namespace knet {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kRouteProtocols =
    "# Routes of knet carry this protocol number.\n"
    "107 knet\n";

constexpr std::string_view kNetworkManager =
    "# knet's devices are knet's affair.\n"
    "[keyfile]\n"
    "unmanaged-devices+=interface-name:knet*\n";

constexpr std::string_view kNetworkdLinks =
    "# knet's devices are knet's affair.\n"
    "[Match]\n"
    "Name=knet*\n"
    "\n"
    "[Link]\n"
    "Unmanaged=yes\n";

constexpr std::string_view kNetworkdRoutes =
    "# networkd takes routes that it did not make off its links when it starts; the pods' routes are among them.\n"
    "[Network]\n"
    "ManageForeignRoutes=no\n"
    "ManageForeignNextHops=no\n";

constexpr std::string_view kUdevLinks =
    "# A tunnel's MAC is known to the other nodes: udev must not give it another one.\n"
    "[Match]\n"
    "OriginalName=knet*\n"
    "\n"
    "[Link]\n"
    "MACAddressPolicy=none\n";

/// A word of ExecStart: systemd.service(5), "Command lines"; '%' begins a specifier, '$' (but in the program) a variable.
std::string unit_word(std::string_view text, bool program = false) {
  std::string word;
  bool quote = text.empty();
  for (char c : text) {
    if (c == '%' || (c == '$' && !program)) word += c;
    if (c == '"' || c == '\\') word += '\\';
    quote = quote || std::string_view(" \t\"\\';").find(c) != std::string_view::npos;
    word += c;
  }
  return quote ? "\"" + word + "\"" : word;
}

std::string unit_text(const NodePaths& paths, const fs::path& program) {
  const NodePaths usual;
  std::string line = unit_word(program.string(), true) + " agent";
  if (paths.state_dir != usual.state_dir) line += " --state-dir " + unit_word(paths.state_dir.string());
  if (paths.run_dir != usual.run_dir) line += " --run-dir " + unit_word(paths.run_dir.string());
  return "[Unit]\n"
         "Description=knet, the pod network of this node\n"
         "Documentation=man:knet-agent(8)\n"
         "Wants=network-online.target\n"
         "After=network-online.target\n"
         "Before=containerd.service crio.service docker.service kubelet.service\n"
         "StartLimitIntervalSec=0\n"
         "\n"
         "[Service]\n"
         "Type=notify\n"
         "ExecStart=" +
         line +
         "\n"
         "ExecReload=/bin/kill -HUP $MAINPID\n"
         "EnvironmentFile=-/etc/knet/knet.env\n"
         "Restart=always\n"
         "RestartSec=1\n"
         "OOMScoreAdjust=-900\n"
         "\n"
         "[Install]\n"
         "WantedBy=multi-user.target\n";
}

}  // namespace

SystemFiles install_system(const NodePaths& paths, const FileSettings& files) {
  SystemFiles report;
  if (!files.system) return report;
  InstalledFiles installed(paths.installed());
  auto in_root = [&](std::string_view path) { return files.root / path; };
  auto any_there = [&](std::initializer_list<std::string_view> places) {
    return std::any_of(places.begin(), places.end(), [&](std::string_view place) {
      std::error_code ignored;
      return fs::exists(in_root(place), ignored);
    });
  };
  auto write = [&](std::string_view path, std::string_view text) {
    installed.write(in_root(path), text, 0644, files.force);
    report.written.push_back(in_root(path).string());
  };

  if (any_there({"run/systemd/system"})) {
    write("etc/systemd/system/knet.service",
          unit_text(paths, files.program.empty() ? fs::path(self_exe()) : files.program));
    report.unit = true;
  }
  if (any_there({"etc/iproute2", "usr/share/iproute2", "usr/lib/iproute2"}))
    write("etc/iproute2/rt_protos.d/knet.conf", kRouteProtocols);
  if (any_there({"etc/NetworkManager"})) write("etc/NetworkManager/conf.d/90-knet.conf", kNetworkManager);
  if (any_there({"run/systemd/netif"})) {
    write("etc/systemd/network/10-knet.network", kNetworkdLinks);
    write("etc/systemd/networkd.conf.d/90-knet.conf", kNetworkdRoutes);
  }
  if (any_there({"run/udev/control"})) write("etc/systemd/network/10-knet.link", kUdevLinks);
  return report;
}

}  // namespace knet
