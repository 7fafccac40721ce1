// knet completion: the scripts that teach a shell knet's words. They know the commands' names themselves and ask
// `knet completion words` for all that comes after one, so that they can't fall behind.
#include <fmt/core.h>

#include <memory>

#include "commands/common/cli.h"
#include "commands/common/run.h"
#include "commands/common/table.h"
#include "completions.h"

namespace knet {
namespace {

int print_script(const std::string& shell) {
  print(completion_script(shell));
  return kExitOk;
}

int print_words(const std::vector<std::string>& words) {
  for (const std::string& line : complete(words)) print(line + "\n");
  return kExitOk;
}

std::function<int()> declare(CLI::App& app) {
  CLI::App* bash = add_verb(app, "bash", "for bash: eval \"$(knet completion bash)\"");
  CLI::App* zsh = add_verb(app, "zsh", "for zsh: a file _knet in a folder of $fpath");
  CLI::App* fish = add_verb(app, "fish", "for fish: a file ~/.config/fish/completions/knet.fish");
  CLI::App* ask = add_verb(app, "words", "what the scripts ask: words for the last place of a command line");
  ask->prefix_command();
  ask->fallthrough(false);
  ask->group("");
  add_examples(app, {"knet completion bash >/etc/bash_completion.d/knet", "knet completion zsh >/usr/share/zsh/vendor-completions/_knet",
                     "knet completion fish >/usr/share/fish/vendor_completions.d/knet.fish"});
  return [=] {
    if (bash->parsed()) return print_script("bash");
    if (zsh->parsed()) return print_script("zsh");
    if (fish->parsed()) return print_script("fish");
    return print_words(ask->remaining());
  };
}

}  // namespace

const Command& completion_command() {
  static const Command command{"completion", "the script that completes knet's words in a shell", CommandGroup::other, declare};
  return command;
}

}  // namespace knet
