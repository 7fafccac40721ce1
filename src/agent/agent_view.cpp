#include <algorithm>
#include <tuple>

#include "agent/agent_loop.h"
#include "agent/firewall.h"
#include "agent/installed.h"
#include "agent/memory.h"
#include "agent/subnet_env.h"
#include "agent/wireguard_key.h"
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "core/compose.h"

namespace knet {
namespace {

using namespace std::chrono_literals;

constexpr size_t kLargeCluster = 1000;  // leases
constexpr auto kSaveApart = 5s;
constexpr auto kCniDone = 2s;      // with a pod that it began before it was told to make no more
constexpr auto kPodsAgain = 1s;    // looks whether the last pod of a node that is to have none has gone
constexpr auto kOtherUplink = 2s;  // before we believe that the node has moved to another device

bool same(const Uplink& a, const Uplink& b) {
  return std::tie(a.dev, a.index, a.mtu, a.address) == std::tie(b.dev, b.index, b.mtu, b.address);
}

// All that compose() looks at but the lease.
bool same_host(const LocalNode& a, const LocalNode& b) {
  return a.public_ip == b.public_ip && a.public_ip6 == b.public_ip6 && same(a.uplink, b.uplink) &&
         same(a.uplink6, b.uplink6) && a.forward_accept == b.forward_accept && a.rp_filter_all == b.rp_filter_all &&
         a.forward_drops == b.forward_drops && a.wireguard_key == b.wireguard_key && a.host_routes == b.host_routes;
}

bool same_request(const AcquireRequest& a, const AcquireRequest& b) {
  return a.node == b.node && a.config == b.config && a.mode == b.mode && a.data == b.data;
}

bool has_address(const NetState& state, const Uplink& uplink) {
  if (!uplink.dev) return false;
  return std::any_of(state.addresses.begin(), state.addresses.end(), [&](const Address& address) {
    return address.dev == uplink.dev && address.prefix == uplink.address && address.usable;
  });
}

int64_t unix_now() {
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace

void AgentLoop::on(StoreStateMessage& message) {
  if (message.connected != connected_ || store_since_ == 0) {
    store_since_ = unix_now();
    if (message.connected)
      log::info("store {} answers", where_);
    else
      log::warning("store {} is away: {}; routes stay as they are", where_, message.why);
    if (message.connected && synced_) keeper_->reconnected();
  }
  connected_ = message.connected;
  if (!message.connected) {
    store_error_ = message.why;
    if (!synced_) use_cache();
  }
}

void AgentLoop::on(SnapshotMessage& message) {
  const Revision rev = message.rev;
  if (rev < membership_.rev()) {
    log::warning("store {} went back from revision {} to {} (restored?)", where_, membership_.rev(), rev);
    rollover_.went_back(rev);
  }
  const Membership::Change change = membership_.replace(std::move(message.all), rev, lease_.value_or(Lease{}));
  if (!synced_) log::info("store {} read at revision {}: {} leases", where_, rev, membership_.leases().size());
  synced_ = true;
  on_changes(change, rev);
  seen_ = rev;  // all of it, whether it is what we knew or not
  message = {};
  if (membership_.leases().size() > kLargeCluster) give_back_memory();  // what the reading took
  announce();
  view_dirty_ = true;
  at_once();
}

void AgentLoop::on(EventsMessage& message) {
  Membership::Change all;
  Revision own_at = 0;
  for (const StoreEvent& event : message.events) {
    const Membership::Change change = membership_.apply(event, lease_.value_or(Lease{}));
    all.leases |= change.leases;
    all.config |= change.config;
    all.nodes |= change.nodes;
    all.schema |= change.schema;
    all.bgp |= change.bgp;
    if (change.own_lease) own_at = event.rev;
    all.own_lease |= change.own_lease;
    all.problems.insert(all.problems.end(), change.problems.begin(), change.problems.end());
    if (change.leases || change.config) seen_ = event.rev;
  }
  on_changes(all, own_at != 0 ? own_at : message.rev);
  if (all.leases) view_dirty_ = true;
  if (view_dirty_) soon(Clock::now());
}

void AgentLoop::on_changes(const Membership::Change& change, Revision at) {
  for (const std::string& problem : change.problems) log::warning("{}", problem);
  if (change.leases || change.config) seen_ = std::max(seen_, at);
  if (change.own_lease && lease_) keeper_->disturbed(at);
  if (change.nodes && note_nodes()) view_dirty_ = true;
  if (change.bgp) {
    view_dirty_ = true;
    const auto& speakers = membership_.bgp().speakers;
    const auto ours = [&](const BgpSpeakerNode& speaker) { return speaker.node == identity_.name; };
    if (speaking_ && std::none_of(speakers.begin(), speakers.end(), ours)) keeper_->disturbed(at);
    announce();
  }
  if (change.nodes || change.leases || change.config) reap_soon();
  use_config(membership_.config_json());
}

// Who holds which subnet, of all that gave a sign of life. Whether a name is new.
bool AgentLoop::note_nodes() {
  bool fresh = false;
  for (const auto& [name, node] : membership_.nodes()) {
    for (const Prefix& subnet : node.subnets) {
      std::string& known = known_nodes_[subnet];
      if (known == name) continue;
      known = name;
      fresh = true;
    }
  }
  return fresh;
}

void AgentLoop::use_config(const std::string& json) {
  if (json.empty()) {
    const StorePaths paths{options_.settings.store.prefix};
    const bool told = !config_trouble_.empty();
    config_trouble_ =
        fmt::format("{} holds no network config at {}; write one with: knet init --store {} --network 10.244.0.0/16",
                    where_, paths.config(), where_);
    if (!told) log::warning("{}", config_trouble_);
    config_json_.clear();  // should the same come back, it is used again
    return;
  }
  if (json == config_json_) return;
  config_json_ = json;
  std::vector<std::string> notices;
  try {
    NetworkConfig config = parse_network_config(json, mode_registry(), &notices);
    config.masquerade = config.masquerade && options_.settings.masquerade;
    config_ = std::move(config);
    stands_ = false;
    used_config_json_ = json;
    config_trouble_.clear();
  } catch (const Error& error) {
    config_trouble_ = fmt::format("the network config at {} can't be used: {}",
                                  StorePaths{options_.settings.store.prefix}.config(), error.text);
    log::error("{}{}", config_trouble_, config_ ? "; the one before stays in force" : "");
    return;
  }
  for (const std::string& notice : notices) log::warning("{}", notice);
  self_.reset();  // the families may be others
  refresh_self(plane_.observe(self_kinds()));
  view_dirty_ = true;
}

void AgentLoop::on(LeaseMessage& message) {
  for (const std::string& notice : message.notices) log::warning("{}", notice);
  const bool moved = !lease_ || lease_->subnet != message.lease.subnet || lease_->subnet6 != message.lease.subnet6;
  if (moved) log::info("subnet {} is ours", subnets_text(message.lease));
  begin_announcing(message.lease, message.how);
  lease_ = std::move(message.lease);
  speaking_ = false;
  announce();  // the node's record tells what is received
  lease_trouble_.clear();
  lease_until_ = lease_->lease_id ? unix_now() + std::chrono::seconds(kLeaseTtl).count() : 0;
  if (moved && membership_.leases().size() > kLargeCluster) give_back_memory();
  view_dirty_ = true;
  at_once();
}

void AgentLoop::on(SpeakingMessage&) {
  log::info("{} takes part without a subnet: {}", identity_.name, no_pods_why());
  lease_.reset();
  speaking_ = true;
  rollover_.restore({});  // there is nothing to be sent to us
  lease_trouble_.clear();
  lease_until_ = 0;
  announce();
  view_dirty_ = true;
  at_once();
}

void AgentLoop::on(LearnedMessage& message) {
  if (message.service != learning_) return;  // of one that is no more
  learned_ = std::move(message.routes);
  learned_whole_ = message.whole;
  view_dirty_ = true;
  soon(Clock::now());
}

void AgentLoop::on(PartMessage&) {
  parting_ = true;
  for (const auto& [mode, running] : services_) running.service->part();
}

void AgentLoop::on(RenewedMessage&) {
  if (lease_ && lease_->lease_id) lease_until_ = unix_now() + std::chrono::seconds(kLeaseTtl).count();
}

void AgentLoop::on(LeaseTroubleMessage& message) {
  // Who never had a subnet here must be told at once that another holds his name or address.
  if (message.kind == ErrorKind::conflict && !lease_ && !speaking_ && !cache_) {
    fatal_ = Error(message.kind, message.text);
    stopping_ = true;
    return;
  }
  // That the store is away is said once, by the watch.
  const bool told = message.kind == ErrorKind::store && !connected_;
  if (message.text != lease_trouble_ && !message.text.empty() && !told) log::error("{}", message.text);
  lease_trouble_ = message.text;
}

void AgentLoop::use_cache() {
  if (!cache_ || cached_ || synced_) return;
  cached_ = true;
  log::warning("the store has not answered; using the view kept at revision {}: routes are added, none is removed",
               cache_->rev);
  use_config(cache_->config_json);
  view_dirty_ = true;
  at_once();
}

void AgentLoop::look_at_host(const Observed& observed, Kinds kinds) {
  // CNI writes its record when the link stands: read after the links, the records explain all that was seen.
  endpoints_.drain();
  std::vector<Endpoint> pods = endpoints_.endpoints();
  drop_linkless(pods, observed);
  if (pods != pods_) {
    pods_ = std::move(pods);
    view_dirty_ = true;
  }
  if (config_ && kinds.all() && options_.settings.forward_accept)
    firewalls_ = legacy_firewall_notices(config_->networks());
  const Kinds wanted = self_kinds();
  const Kinds needed = only(Kind::link) | only(Kind::address) | only(Kind::route);
  if (config_ && (kinds & wanted) == wanted && (observed.complete & needed) == needed) refresh_self(observed);
  if (view_dirty_) make_view();
}

// Our lease would turn the peers to a device that we can't make while flannel's stands.
void AgentLoop::look_for_flannel(const NetState& state) {
  std::string found;
  if (!options_.adopt_flannel && !lease_)
    for (const Link& link : state.links)
      if (Ownership::is_flannel_link(link)) found = link.name.str();
  if (found.empty() && !flannel_trouble_.empty()) announced_.reset();
  if (!found.empty() && flannel_trouble_.empty())
    log::warning(
        "flannel's {} is here; nothing is done until it is taken over: knet join, or knet agent --adopt-flannel",
        found);
  flannel_trouble_ =
      found.empty()
          ? ""
          : fmt::format("flannel's {} is here; take over with: knet join, or knet agent --adopt-flannel", found);
}

void AgentLoop::refresh_self(const Observed& observed) {
  const Time now = Clock::now();
  const bool held_up = !flannel_trouble_.empty();
  look_for_flannel(observed.net);
  if (held_up && flannel_trouble_.empty()) announce();
  LocalNode fresh;
  try {
    fresh =
        describe_self(identity_, options_.settings, *config_, observed, ask_reach(plane_, options_.settings.uplink));
    know_wireguard_key(fresh, options_.paths, *config_, MakeKey::yes);
    self_trouble_.clear();
  } catch (const Error& error) {
    // The address may come back; what we know of it stays good until then.
    self_trouble_ = error.text;
    if (!self_) log::warning("{}", error.text);
    return;
  }
  if (self_) {
    const bool elsewhere = fresh.uplink.dev != self_->uplink.dev || fresh.uplink6.dev != self_->uplink6.dev;
    if (!elsewhere) {
      other_uplink_since_.reset();
    } else if (!other_uplink_since_) {
      other_uplink_since_ = now;
    }
    if (elsewhere && now < *other_uplink_since_ + kOtherUplink) {
      uplink_check_at_ = *other_uplink_since_ + kOtherUplink;
      return;
    }
    // An address that is still there stays ours, whatever came beside it.
    if (!elsewhere && has_address(observed.net, self_->uplink)) {
      fresh.uplink.address = self_->uplink.address;
      fresh.public_ip = self_->public_ip;
    }
    if (!elsewhere && has_address(observed.net, self_->uplink6)) {
      fresh.uplink6.address = self_->uplink6.address;
      fresh.public_ip6 = self_->public_ip6;
    }
    if (same_host(*self_, fresh)) return;
    if (!same(fresh.uplink, self_->uplink) || !same(fresh.uplink6, self_->uplink6)) {
      // Connections from an address that is gone hang for as long as their timeouts.
      keeper_->redial();
      store_watch_->redial();
    }
    if (fresh.public_ip != self_->public_ip || fresh.public_ip6 != self_->public_ip6)
      log::info("the node's address is now {} on {}", fresh.public_ip ? fresh.public_ip.str() : fresh.public_ip6.str(),
                fresh.uplink.dev ? fresh.uplink.dev.view() : fresh.uplink6.dev.view());
  }
  other_uplink_since_.reset();
  self_ = std::move(fresh);
  announce();
  view_dirty_ = true;
}

// Why this node is to run no pods; "" if it may.
std::string AgentLoop::no_pods_why() const {
  if (!options_.settings.pods) return "it joined with --no-pods";
  const NodeSpec* spec = own_spec();
  return spec && !spec->pods ? fmt::format("knet node set {} --no-pods", identity_.name) : "";
}

// What it has it keeps until its last pod is gone.
bool AgentLoop::is_to_have_subnet() {
  pods_check_at_.reset();
  const std::string why = no_pods_why();
  if (why.empty()) {
    pods_refused_.reset();
    return true;
  }
  const Time now = Clock::now();
  if (!pods_refused_) {
    const bool may_have_begun = lease_ || std::filesystem::exists(options_.paths.subnet_env());
    pods_refused_ = may_have_begun ? now : now - kCniDone;
    refuse_pods(options_.paths, why, Subnet::kept);
    if (lease_) log::info("no pods from now on ({}); the subnet goes back when the last one is gone", why);
  }
  if (speaking_) return false;
  if (now < *pods_refused_ + kCniDone) {
    pods_check_at_ = *pods_refused_ + kCniDone;
    return announced_subnet_;
  }
  if (present_pods(options_.paths.endpoints(), plane_.observe(only(Kind::link))).empty()) return false;
  pods_check_at_ = now + kPodsAgain;
  return announced_subnet_;
}

void AgentLoop::announce() {
  pods_check_at_.reset();
  // Not before the cluster is read: two readings at once would take twice the memory.
  if (!config_ || !self_ || !synced_ || !flannel_trouble_.empty()) return;
  AcquireRequest request;
  const std::string mode = Rollover::to_announce(*config_, current_mode(), stands_);
  const LeaseData data = mode_registry().get(mode).announce(config_->as_mode(mode), *self_);
  const bool subnet = is_to_have_subnet();
  request.node = node_record(*self_, own_spec());
  request.node.receives = still_received();
  request.node.modes = runs_here_;
  request.config = *config_;
  request.mode = data.mode;
  request.data = data.data;
  if (announced_ && announced_subnet_ == subnet && same_request(*announced_, request)) return;
  if (lease_)
    request.previous = {lease_->subnet, lease_->subnet6};
  else if (cache_)
    request.previous = {cache_->own.subnet, cache_->own.subnet6};
  else
    request.previous = previous_subnet(options_.paths);
  announced_ = request;
  announced_subnet_ = subnet;
  keeper_->announce(std::move(request), subnet);
}

void AgentLoop::make_view() {
  view_dirty_ = false;
  const bool live = synced_ && (lease_ || speaking_);
  if (!config_ || !self_ || (!live && !cached_)) return;
  auto view = std::make_shared<ClusterView>();
  view->config = *config_;
  view->self = *self_;
  view->self.receive = rollover_.modes();
  view->self.restarted = ran_before_;
  view->endpoints = pods_;
  view->learned = learned_;
  view->learned_whole = learned_whole_;
  conflicts_.clear();
  if (live) {
    view->self.lease = lease_.value_or(Lease{});
    membership_.fill(*view, &conflicts_);
    view->rev = membership_.rev();
    keep_former_ways(*view, live);
    if (cached_) log::info("the store's view takes the place of the one that was kept");
    cached_ = false;
    cache_.reset();
    const Time now = Clock::now();
    if (!save_at_) save_at_ = std::max(now + 1s, last_save_ + kSaveApart);
  } else {
    view->self.lease = cache_->own;
    view->leases = cache_->peers;
    view->names = cache_->names;
    view->bgp = cache_->bgp;
    view->rev = cache_->rev;
    keep_former_ways(*view, live);
    conflicts_ = drop_conflicts(*view);
  }
  view->self.runs_pods = view->self.lease.subnet || view->self.lease.subnet6;
  ask_kernel(*view);
  drop_services(*view);
  reconciler_.set_view(std::move(view), live);
}

void AgentLoop::write_files() {
  const auto& view = reconciler_.view();
  try {
    if (pods_refused_ || !view->self.runs_pods) {
      const std::string why = no_pods_why();
      return refuse_pods(options_.paths, why.empty() ? "as the view that was kept says" : why,
                         view->self.runs_pods ? Subnet::kept : Subnet::none);
    }
    remove_file(options_.paths.no_pods());
    if (write_subnet_env(options_.paths, view->config, view->self.lease, pod_mtu(*view, mode_registry())) &&
        options_.paths.subnet_env().parent_path() != options_.paths.run_dir)
      InstalledFiles(options_.paths.installed()).note(options_.paths.subnet_env());
  } catch (const Error& error) {
    log::error("{}", error.text);
  }
}

void AgentLoop::save_cache() {
  save_at_.reset();
  const auto& view = reconciler_.view();
  if (!view || !reconciler_.complete()) return;
  last_save_ = Clock::now();
  save_view_cache(options_.paths.view_cache(), used_config_json_, *view, rollover_.received());
}

}  // namespace knet
