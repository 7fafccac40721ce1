// knet agent: the node agent in the foreground; with join's flags it enrols the node too.
#include "agent/agent.h"

#include <memory>

#include "commands/common/cli.h"
#include "commands/common/flags.h"

namespace knet {
namespace {

struct Flags {
  StoreFlags store;
  PathFlags paths;
  NodeFlags node;
  AgentOptions options;
};

int run(Flags& flags) {
  AgentOptions& options = flags.options;
  options.paths = flags.paths.paths();
  const std::optional<NodeSettings> joined = load_node_settings(options.paths);
  options.settings = flags.node.over(joined.value_or(NodeSettings{}));
  options.settings.store = flags.store.given() ? flags.store.options(options.paths) : options.settings.store;
  options.save_settings = !joined || flags.node.given() || flags.store.given();
  return run_agent(options);
}

std::function<int()> declare(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  AgentOptions& options = flags->options;
  app.add_flag("--once", options.once, "bring the node up to date and end; exit 1 if something failed");
  app.add_flag("--dry-run", options.dry_run, "print what would be done; change nothing, here or in the store");
  app.add_flag("--adopt-flannel", options.adopt_flannel, "take over what flannel left on this node: its devices and routes");
  app.add_option("--listen", options.listen, "serve status and metrics on TCP too, such as 127.0.0.1:9101")
      ->type_name("ADDR:PORT")->envname("KNET_NODE_LISTEN");
  flags->node.declare(app);
  flags->store.declare(app);
  flags->paths.declare(app);
  declare_log(app, log::Level::info);
  add_examples(app, {"knet agent", "knet agent --store http://192.168.77.1:2379 --iface eth1", "knet agent --dry-run"});
  return [flags] { return run(*flags); };
}

}  // namespace

const Command& agent_command() {
  static const Command command{"agent", "keep this node's network as the cluster wants it", CommandGroup::node, declare};
  return command;
}

}  // namespace knet
