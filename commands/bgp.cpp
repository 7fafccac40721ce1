// knet bgp: the cluster's BGP settings and its peers outside, and what this node's speaker does with them. The verbs are
// in commands/bgp/.
#include "commands/bgp/bgp.h"

#include <memory>

#include "commands/common/cli.h"

namespace knet {
namespace {

using Flags = std::shared_ptr<BgpFlags>;

/// A repeatable option.
void list_option(CLI::App* app, const char* flag, std::vector<std::string>& into, const char* type, const char* help) {
  app->add_option(flag, into, help)->type_name(type)->take_all()->allow_extra_args(false);
}

CLI::Option* option(CLI::App* app, const char* flag, std::string& into, const char* type, const char* help) {
  return app->add_option(flag, into, help)->type_name(type);
}

void declare_config_set(CLI::App* set, BgpConfigFlags& flags) {
  one_of(option(set, "--mesh", flags.mesh, "on|off", "each node a peer of every other, or of the reflectors only"), {"on", "off"});
  option(set, "--as", flags.asn, "N", "AS number of nodes that have none of their own");
  option(set, "--port", flags.port, "N", "TCP port that nodes listen on and dial");
  option(set, "--hold-time", flags.hold_time, "SECONDS", "without a sign of life until a peer is dead");
  option(set, "--restart-time", flags.restart_time, "SECONDS", "that peers keep a node's routes for while its agent restarts");
  option(set, "--local-pref", flags.local_pref, "N", "of what nodes originate; calico: as Calico's nodes encode it");
  option(set, "--prefix-limit", flags.prefix_limit, "N", "routes taken from one peer outside");
  option(set, "--max-paths", flags.max_paths, "N", "next hops of one route");
  list_option(set, "--advertise", flags.advertise, "PREFIX", "advertise this too, by every node: services, external addresses; repeatable");
  list_option(set, "--no-advertise", flags.no_advertise, "PREFIX|all", "no longer; repeatable");
  list_option(set, "--import", flags.import, "PREFIX", "take routes in there too, besides the cluster's networks; repeatable");
  list_option(set, "--no-import", flags.no_import, "PREFIX|all", "no longer; repeatable");
  CLI::Option* password = option(set, "--password-file", flags.password_file, "FILE", "TCP MD5 password between the cluster's nodes, out of a file; - for stdin");
  set->add_flag("--no-password", flags.no_password, "no password between the cluster's nodes")->excludes(password);
  set->add_flag("--force", flags.force, "also where it cuts pods off");
  set->add_flag("--dry-run", flags.dry_run, "check and print, write nothing");
}

/// What `peer add` and `peer set` share. Flags take =false.
void declare_peer(CLI::App* verb, BgpPeerFlags& flags) {
  option(verb, "--as", flags.asn, "N", "its AS number; any: whatever dynamic neighbours say");
  CLI::Option* node = option(verb, "--node", flags.node, "NODE", "a peer of this node only");
  CLI::Option* selector = option(verb, "--selector", flags.selector, "EXPR", "a peer of the nodes whose labels match, such as \"rack == 'a'\"");
  selector->excludes(node);
  option(verb, "--password-file", flags.password_file, "FILE", "TCP MD5 password, out of a file; - for stdin");
  flags.ttl_security_given = verb->add_flag("--ttl-security", flags.ttl_security, "take packets only from its own link: TTL 255 (RFC 5082)");
  flags.multihop_given = verb->add_flag("--multihop", flags.multihop, "eBGP to a peer that is not on link");
  flags.passive_given = verb->add_flag("--passive", flags.passive, "wait until it dials");
  flags.client_given = verb->add_flag("--client", flags.client, "iBGP: nodes that are reflectors take it as a client");
  option(verb, "--port", flags.port, "N", "TCP port that is dialled (default 179)");
  option(verb, "--hold-time", flags.hold_time, "SECONDS", "of its sessions; 0: the cluster's");
  one_of(option(verb, "--next-hop", flags.next_hop, "HOW", "told to it: self, keep, or auto (self to another AS)"), {"auto", "self", "keep"});
  option(verb, "--prefix-limit", flags.prefix_limit, "N", "routes taken from it; default: the cluster's");
  list_option(verb, "--import", flags.import, "RULE", "what is taken, first match counts; repeatable; such as \"accept 10.0.0.0/8 le 24\"");
  list_option(verb, "--export", flags.export_, "RULE", "what is told to it, likewise; such as \"reject any\"");
  verb->add_flag("--dry-run", flags.dry_run, "check and print, write nothing");
}

std::function<int(const BgpFlags&)> declare_peer_verbs(CLI::App* peer, const Flags& flags) {
  CLI::App* list = add_verb(*peer, "list", "peers outside of the cluster, as configured");
  CLI::App* show = add_verb(*peer, "show", "one with all its settings, and the nodes that it is a peer of");
  CLI::App* add = add_verb(*peer, "add", "a switch, a router or a route server, for all nodes or some");
  CLI::App* set = add_verb(*peer, "set", "change one; only what is given changes");
  CLI::App* remove = add_verb(*peer, "remove", "end it");
  CLI::App* reset = add_verb(*peer, "reset", "begin a session of this node anew, or only its routes");
  peer->require_subcommand(0, 1);  // none: the sessions
  auto names = [flags] { return bgp_peer_names(*flags); };
  add->add_option("ADDRESS", flags->add.remote, "its address, or a prefix from which neighbours are accepted")->required();
  option(add, "--name", flags->add.name, "NAME", "what to call it (default: its address)");
  declare_peer(add, flags->add);
  add->get_option("--as")->required();
  offer(set->add_option("NAME", flags->set.name, "its name, or its address")->required(), names);
  declare_peer(set, flags->set);
  set->add_flag("--all-nodes", flags->set.all_nodes, "a peer of every node")->excludes(set->get_option("--node"))->excludes(set->get_option("--selector"));
  set->add_flag("--no-password", flags->set.no_password, "without a password")->excludes(set->get_option("--password-file"));
  set->add_flag("--no-import", flags->set.no_import, "without import rules")->excludes(set->get_option("--import"));
  set->add_flag("--no-export", flags->set.no_export, "without export rules")->excludes(set->get_option("--export"));
  offer(show->add_option("NAME", flags->peers, "its name, or its address")->required()->expected(1), names);
  offer(remove->add_option("NAME", flags->peers, "names or addresses")->required(), names);
  offer(reset->add_option("PEER", flags->peer, "address or name of a session, as in knet bgp peers, or all")->required(), [flags] {
    std::vector<std::string> words = bgp_session_names(*flags);
    words.push_back("all");
    return words;
  });
  one_of(option(reset, "--soft", flags->soft, "in|out", "keep the session: ask for its routes again, or send ours again"), {"in", "out"});
  return [=](const BgpFlags& given) {
    if (list->parsed()) return bgp_peer_list(given);
    if (show->parsed()) return bgp_peer_show(given);
    if (add->parsed()) return bgp_peer_add(given);
    if (set->parsed()) return bgp_peer_set(given);
    if (remove->parsed()) return bgp_peer_remove(given);
    return reset->parsed() ? bgp_peer_reset(given) : bgp_sessions(given);
  };
}

std::function<int()> declare(CLI::App& app) {
  auto flags = std::make_shared<BgpFlags>();
  flags->declare_common(app);
  CLI::App* peer = add_verb(app, "peer", "this node's sessions, exit 3 if one is down; by its verbs peers outside of the cluster")->alias("peers");
  const auto peer_verbs = declare_peer_verbs(peer, flags);
  CLI::App* routes = add_verb(app, "routes", "this node's BGP routes with attributes, and why one lost")->alias("route");
  CLI::App* config = add_verb(app, "config", "the cluster's settings: mesh, AS, timers, what is advertised");
  app.require_subcommand(1, 1);
  auto sessions = [flags] { return bgp_session_names(*flags); };
  routes->add_option("PREFIX", flags->prefix, "only this one, or the longest that holds this address");
  CLI::Option* received = option(routes, "--received", flags->received, "PEER", "all that it sent, refused ones too");
  CLI::Option* advertised = option(routes, "--advertised", flags->advertised, "PEER", "what it is told");
  advertised->excludes(received);
  for (CLI::Option* it : {received, advertised}) offer(it, sessions);
  option(routes, "--limit", flags->limit, "N", "at most so many");
  add_verb(*config, "show", "the settings in force");
  CLI::App* set = add_verb(*config, "set", "change them; only what is given changes");
  config->require_subcommand(0, 1);
  declare_config_set(set, flags->config);
  add_examples(app, {"knet bgp peers", "knet bgp routes --received tor1", "knet bgp config set --mesh off",
                     "knet bgp peer add 10.0.0.1 --as 65001 --name tor1 --selector \"rack == 'a'\"", "knet bgp peer reset tor1 --soft in"});
  return [=] {
    if (routes->parsed()) return bgp_routes(*flags);
    if (config->parsed()) return set->parsed() ? bgp_config_set(*flags) : bgp_config_show(*flags);
    return peer_verbs(*flags);
  };
}

}  // namespace

const Command& bgp_command() {
  static const Command command{"bgp", "sessions and routes of BGP, its peers outside, its settings", CommandGroup::look, declare};
  return command;
}

}  // namespace knet
