#include "modes/common/bgp_service.h"

#include <fmt/core.h>

#include <map>
#include <mutex>

#include "base/error.h"
#include "base/text.h"
#include "bgp/speaker.h"
#include "modes/common/bgp_answers.h"
#include "modes/common/plain.h"
#include "modes/common/speaker_plan.h"

namespace knet {
namespace {

constexpr int kMostRoutes = 100'000;  // of one answer

std::string listen_text(const IpAddr& address, uint16_t port) {
  return address.is_v6() ? fmt::format("[{}]:{}", address.str(), port) : fmt::format("{}:{}", address.str(), port);
}

IpAddr address_word(std::string_view name, const std::string& text) {
  const auto address = IpAddr::parse(text);
  if (!address) fail(ErrorKind::usage, "{} {} is no IP address", name, text);
  return *address;
}

bgp::RouteQuery route_query(const ServiceQuestion& question) {
  bgp::RouteQuery query;
  query.limit = kMostRoutes;
  for (const auto& [name, text] : question.words) {
    if (name == "received" || name == "advertised") {
      if (query.of != bgp::RouteQuery::Of::all) fail(ErrorKind::usage, "received and advertised exclude each other");
      query.of = name == "received" ? bgp::RouteQuery::Of::received : bgp::RouteQuery::Of::advertised;
      query.peer = address_word(name, text);
    } else if (name == "prefix") {
      query.prefix = Prefix::parse(text);
      if (!query.prefix) {
        const auto address = IpAddr::parse(text);
        if (!address) fail(ErrorKind::usage, "prefix {} is neither a prefix nor an address", text);
        query.prefix = Prefix::host(*address);
      }
    } else if (name == "limit") {
      const auto limit = parse_int(text);
      if (!limit || *limit < 1 || *limit > kMostRoutes) fail(ErrorKind::usage, "limit {} is no number from 1 to {}", text, kMostRoutes);
      query.limit = static_cast<size_t>(*limit);
    } else {
      fail(ErrorKind::usage, "bgp/routes knows no word '{}'", name);
    }
  }
  return query;
}

// All that plan_speaker() looks at, to know whether it has to be asked again: most turns of the loop change none of it.
struct Inputs {
  struct Peer {
    std::string name;
    bool speaks;
    IpAddr ip, ip6;
    bool operator==(const Peer&) const = default;
  };
  bool enable_v4, enable_v6;
  std::vector<Prefix> networks;
  BgpView bgp;
  std::string name;
  IpAddr ip, ip6;
  DevName dev, dev6;
  Prefix address, address6, subnet, subnet6;
  bool runs_pods, restarted;
  std::vector<HostRoute> host_routes;
  std::vector<Peer> peers;
  std::vector<IpAddr> pods;
  bool operator==(const Inputs&) const = default;

  explicit Inputs(const ClusterView& view)
      : enable_v4(view.config.enable_v4),
        enable_v6(view.config.enable_v6),
        networks(view.config.networks()),
        bgp(view.bgp),
        name(view.self.name),
        ip(view.self.public_ip),
        ip6(view.self.public_ip6),
        dev(view.self.uplink.dev),
        dev6(view.self.uplink6.dev),
        address(view.self.uplink.address),
        address6(view.self.uplink6.address),
        subnet(view.self.lease.subnet),
        subnet6(view.self.lease.subnet6),
        runs_pods(view.self.runs_pods),
        restarted(view.self.restarted),
        host_routes(view.self.host_routes) {
    peers.reserve(view.leases.size());
    for (uint32_t i = 0; i < view.leases.size(); ++i) {
      const Lease& lease = view.leases[i];
      peers.push_back({name_of(view, i), lease.mode == "bgp", lease.public_ip, lease.public_ip6});
    }
    for (const Endpoint& endpoint : view.endpoints) pods.insert(pods.end(), endpoint.addresses.begin(), endpoint.addresses.end());
  }
};

class BgpService : public Service {
 public:
  explicit BgpService(ServiceHost host) : host_(std::move(host)) {}

  void follow(const ClusterView& view, const DesiredState&) override {
    Inputs inputs(view);
    if (followed_ == inputs) return;
    followed_ = std::move(inputs);
    bgp::SpeakerConfig config = plan_speaker(view, view.config.as_mode("bgp"));
    BgpFacts facts;
    facts.node = view.self.name;
    facts.asn = config.rib.asn;
    facts.id = config.rib.id;
    facts.cluster_id = config.rib.cluster_id;
    facts.mesh = view.bgp.config.mesh;
    for (const IpAddr& address : config.listen) facts.listen.push_back(listen_text(address, config.port));
    std::shared_ptr<bgp::Speaker> speaker;
    {
      std::lock_guard lock(mutex_);
      if (!speaker_) speaker_ = std::make_shared<bgp::Speaker>(host_.learned, view.self.restarted);
      speaker = speaker_;
      facts_ = std::move(facts);
    }
    speaker->configure(std::move(config));
  }

  std::vector<std::string> troubles() const override {
    const auto [speaker, facts] = running();
    return speaker ? speaker->troubles() : std::vector<std::string>{};
  }

  void part() override {
    if (const auto [speaker, facts] = running(); speaker) speaker->stop("node " + facts.node + " speaks BGP no more");
  }

  std::vector<std::pair<std::string, uint64_t>> counters() const override {
    const auto [speaker, facts] = running();
    if (!speaker) return {};
    std::vector<std::pair<std::string, uint64_t>> out;
    uint64_t in = 0, sent = 0;
    for (const bgp::PeerStatus& peer : speaker->peers()) {
      in += peer.messages_in;
      sent += peer.messages_out;
    }
    out.emplace_back("bgp_messages{direction=\"in\"}", in);
    out.emplace_back("bgp_messages{direction=\"out\"}", sent);
    return out;
  }

  std::vector<std::pair<std::string, uint64_t>> gauges() const override {
    const auto [speaker, facts] = running();
    if (!speaker) return {};
    std::map<std::string_view, uint64_t> states{{to_string(bgp::SessionState::established), 0}};
    bgp::Rib::Counts all;
    for (const bgp::PeerStatus& peer : speaker->peers()) {
      ++states[to_string(peer.state)];
      all.received += peer.counts.received;
      all.accepted += peer.counts.accepted;
      all.best += peer.counts.best;
      all.advertised += peer.counts.advertised;
      all.stale += peer.counts.stale;
    }
    std::vector<std::pair<std::string, uint64_t>> out;
    for (const auto& [state, count] : states) out.emplace_back(fmt::format("bgp_peers{{state=\"{}\"}}", state), count);
    const auto routes = [&](std::string_view which, size_t count) {
      out.emplace_back(fmt::format("bgp_routes{{which=\"{}\"}}", which), count);
    };
    routes("received", all.received);
    routes("accepted", all.accepted);
    routes("best", all.best);
    routes("advertised", all.advertised);
    routes("stale", all.stale);
    return out;
  }

  std::optional<std::string> answer(const ServiceQuestion& question) override {
    if (!question.what.starts_with("bgp/")) return std::nullopt;
    const auto [speaker, facts] = running();
    if (!speaker) fail(ErrorKind::config, "bgp has not begun on this node yet");
    if (question.what == "bgp/peers") return format_peers_answer(facts, speaker->troubles(), speaker->peers());
    if (question.what == "bgp/routes") return format_routes_answer(facts, speaker->routes(route_query(question)));
    if (question.what == "bgp/reset") return reset(*speaker, question);
    return std::nullopt;
  }

 private:
  std::pair<std::shared_ptr<bgp::Speaker>, BgpFacts> running() const {
    std::lock_guard lock(mutex_);
    return {speaker_, facts_};
  }

  static std::string reset(bgp::Speaker& speaker, const ServiceQuestion& question) {
    std::optional<IpAddr> peer;
    bool all = false;
    bgp::ResetKind kind = bgp::ResetKind::hard;
    for (const auto& [name, text] : question.words) {
      if (name == "peer") {
        peer = address_word(name, text);
      } else if (name == "all") {
        all = true;
      } else if (name == "kind") {
        if (text != "hard" && text != "in" && text != "out")
          fail(ErrorKind::usage, "kind {} is none of hard, in, out", text);
        kind = text == "hard" ? bgp::ResetKind::hard : text == "in" ? bgp::ResetKind::in : bgp::ResetKind::out;
      } else {
        fail(ErrorKind::usage, "bgp/reset knows no word '{}'", name);
      }
    }
    if (all == peer.has_value()) fail(ErrorKind::usage, "bgp/reset takes either a peer or all");
    std::vector<std::string> done;
    for (const bgp::PeerStatus& status : speaker.peers())
      if (all || status.address == *peer) done.push_back(status.address.str());
    speaker.reset(peer, kind);
    return format_reset_answer(done);
  }

  ServiceHost host_;
  std::optional<Inputs> followed_;  // the loop's only
  mutable std::mutex mutex_;  // guards the two below; the speaker itself takes calls from any thread
  std::shared_ptr<bgp::Speaker> speaker_;
  BgpFacts facts_;
};

}  // namespace

std::unique_ptr<Service> make_bgp_service(ServiceHost host) { return std::make_unique<BgpService>(std::move(host)); }

}  // namespace knet
