// knet route: what knet wants of this node's routes, what is there, and the way that a packet takes.
#include "commands/route/route.h"

#include <memory>

#include "commands/common/cli.h"

namespace knet {
namespace {

std::function<int()> declare(CLI::App& app) {
  auto flags = std::make_shared<RouteFlags>();
  flags->declare_common(app, true);
  CLI::App* show = add_verb(app, "show", "every route that knet wants or finds in its ranges, its state and why");
  auto words = [&](const char* flag, std::vector<std::string>& into, const char* help, const char* type) {
    return show->add_option(flag, into, help)->type_name(type)->take_all()->allow_extra_args(false)->delimiter(',');
  };
  offer(words("--state", flags->filter.states, "only these: ok, pending, broken, foreign, stale, kept, unknown; repeatable", "STATE")
            ->transform([](std::string word) {
              for (char& c : word) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
              return word;
            })
            ->check(CLI::IsMember({"ok", "pending", "broken", "foreign", "stale", "kept", "unknown"})),
        [] { return std::vector<std::string>{"ok", "pending", "broken", "foreign", "stale", "kept", "unknown"}; });
  words("--dev", flags->filter.devs, "only over this device; repeatable", "DEV");
  words("--node", flags->filter.nodes, "only those to this node; repeatable", "NODE");
  CLI::Option* check = show->add_flag("--check", flags->check, "exit 3 on drift");
  show->add_flag("--watch", flags->watch, "print changes only, until stopped")->excludes(check);
  CLI::App* get = add_verb(app, "get", "the decision for one address");
  get->add_option("DST", flags->to, "address, pod or node")->required();
  CLI::App* trace = add_verb(app, "trace", "the way of a packet, hop by hop, and where it breaks; exit 3 if it does");
  trace->add_option("SRC", flags->from, "pod of this node, this node, or an address of theirs")->required();
  trace->add_option("DST", flags->to, "pod, node or address")->required();
  for (CLI::App* verb : {get, trace}) {
    verb->add_flag("-4", flags->ipv4, "names stand for their IPv4 address");
    verb->add_flag("-6", flags->ipv6, "names stand for their IPv6 address");
  }
  add_examples(app, {"knet route show", "knet route show --state broken,pending -o wide", "knet route show --check", "knet route get 10.244.3.7",
                     "knet route trace 10.244.1.2 10.244.3.3"});
  return [=] {
    if (show->parsed()) return flags->watch ? route_watch(*flags) : route_show(*flags);
    return get->parsed() ? route_get(*flags) : route_trace(*flags);
  };
}

}  // namespace

const Command& route_command() {
  static const Command command{"route", "this node's routes: wanted, found, and the way that a packet takes", CommandGroup::look, declare, nullptr, "routes"};
  return command;
}

}  // namespace knet
