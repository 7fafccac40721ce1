// knet cni: the CNI plugin, as a container runtime calls it. For people it has only its help.
#include "cni/plugin.h"

#include "commands/common/cli.h"
#include "commands/common/help.h"
#include "commands/common/table.h"

namespace knet {
namespace {

int applet(int, char**) { return cni_main(); }

std::function<int()> declare(CLI::App& app) {
  add_examples(app, {"knet join                     links the plugin into /opt/cni/bin and writes its conflist",
                     "CNI_COMMAND=VERSION knet cni  what a runtime asks first; needs no input"});
  // Without CNI_COMMAND nobody writes to its stdin: never read it.
  return [&app] {
    print(help_text(app, "knet cni"));
    return kExitOk;
  };
}

}  // namespace

const Command& cni_command() {
  static const Command command{"cni", "the CNI plugin; called by container runtimes, with CNI_COMMAND in the environment",
                               CommandGroup::plugin, declare, applet};
  return command;
}

}  // namespace knet
