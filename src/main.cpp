// From argv to one of the commands, and the one place where a command's failure becomes text and an exit status.
//   a CNI runtime calls (CNI_COMMAND set, no words of ours): the plugin, before anything else is looked at
//   argv[0]'s name or argv[1] is an applet's (flanneld):      that one, with all of its argv
//   else argv[1] is a command
#include <fmt/core.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "commands/common/run.h"

namespace knet {
namespace {

bool is_applet(const Command* command) { return command != nullptr && command->applet != nullptr && command->declare == nullptr; }

/// CNI links have the names of the plugins that they stand for, so argv[0] is not asked.
bool called_by_cni(int argc, char** argv) {
  return std::getenv("CNI_COMMAND") != nullptr && (argc == 1 || (argc == 2 && std::string_view(argv[1]) == "cni"));
}

int help(const std::vector<std::string>& words, std::string& who) {
  if (words.empty()) {
    std::fputs(overview().c_str(), stdout);
    return kExitOk;
  }
  std::vector<std::string> rest(words.begin() + 1, words.end());
  rest.push_back("--help");
  const Command& command = get_command(words.front());
  if (is_applet(&command)) fail(ErrorKind::usage, "{} has its own: {} --help", words.front(), words.front());
  return run_command(command, std::move(rest), who);
}

int run(int argc, char** argv, std::string& who) {
  if (called_by_cni(argc, argv)) {
    const Command* cni = find_command("cni");
    if (cni != nullptr && cni->applet != nullptr) return cni->applet(argc, argv);
  }
  const std::string_view path = argc > 0 ? argv[0] : "knet";
  const std::string_view name = path.substr(path.rfind('/') + 1);
  if (const Command* applet = find_command(name); is_applet(applet)) {
    who = name;
    return applet->applet(argc, argv);
  }
  if (argc < 2) {
    std::fputs(overview().c_str(), stderr);
    return kExitUsage;
  }
  const std::string word = argv[1];
  std::vector<std::string> words(argv + 2, argv + argc);
  if (word == "--help" || word == "-h" || word == "help") return help(words, who);
  if (word == "--version" || word == "-V") return run_command(get_command("version"), std::move(words), who);
  if (word.starts_with('-')) fail(ErrorKind::usage, "flags come after the command: knet COMMAND {} ...", printable(word));
  const Command& command = get_command(word);
  if (is_applet(&command)) {
    who = word;
    return command.applet(argc - 1, argv + 1);
  }
  return run_command(command, std::move(words), who);
}

/// Output that did not get out is a failure; a reader that went away (`| head`) needs no words about it.
int flushed(int status) {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return status;
  if (errno != EPIPE) std::fprintf(stderr, "knet: can't write the output: %s\n", errno_text(errno).c_str());
  return status == kExitOk ? kExitFailed : status;
}

}  // namespace
}  // namespace knet

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  std::string who = "knet";
  int status = knet::kExitFailed;
  try {
    status = knet::run(argc, argv, who);
  } catch (const knet::Error& error) {
    std::fflush(stdout);
    std::fprintf(stderr, "%s: %s\n", who.c_str(), error.what());
    status = knet::exit_code(error.kind);
  } catch (const std::exception& error) {
    std::fflush(stdout);
    std::fprintf(stderr, "%s: internal error: %s\n", who.c_str(), error.what());
  }
  return knet::flushed(status);
}
