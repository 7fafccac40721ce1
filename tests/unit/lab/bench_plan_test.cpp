#include "lab/bench_plan.h"

#include <catch2/catch.hpp>

#include "base/error.h"

using namespace knet;

namespace {

constexpr std::string_view kWays[]{"auto", "bpf", "user"};
constexpr OptionSpec kTunnelOptions[]{
    {.name = "Datapath", .type = OptionType::text, .fallback = "auto", .help = "", .values = kWays},
    {.name = "Port", .type = OptionType::integer, .fallback = "8285", .min = 1, .max = 65535, .help = "", .values = {}},
};

constexpr std::string_view kPlainWays[]{"auto", "bpf", "kernel"};
constexpr OptionSpec kShortcutOptions[]{
    {.name = "Datapath", .type = OptionType::text, .fallback = "auto", .help = "", .values = kPlainWays},
};

/// Carries IPv4 alone if it has options; its datapath bpf can't run where the kernel has no bpf.
class FakeMode : public Mode {
 public:
  FakeMode(std::string_view name, std::span<const OptionSpec> options, bool moves = true) : name_(name), options_(options), moves_(moves) {}
  std::string_view name() const override { return name_; }
  std::string_view summary() const override { return ""; }
  std::string_view description() const override { return ""; }
  std::span<const OptionSpec> options() const override { return options_; }
  bool carries(Family family) const override { return family == Family::v4 || options_.empty(); }
  bool moves_packets() const override { return moves_; }
  std::optional<std::string> unsupported(const KernelFeatures& kernel, const NetworkConfig& config) const override {
    if (config.option_text("Datapath") == "bpf" && !kernel.bpf) return "this kernel refuses the program";
    return std::nullopt;
  }
  ModeMtu mtu(const NetworkConfig&, const LocalNode&) const override { return {}; }
  LeaseData announce(const NetworkConfig&, const LocalNode&) const override { return {}; }
  void desired(const ClusterView&, const NetworkConfig&, PeerSpan, Receive, ModeState&) const override {}

 private:
  std::string_view name_;
  std::span<const OptionSpec> options_;
  bool moves_;
};

const ModeRegistry& fake_modes() {
  static const FakeMode alloc("alloc", {}, false), cable("cable", {}), host_gw("host-gw", {}), tunnel("tunnel", kTunnelOptions);
  static const Mode* const all[]{&alloc, &cable, &host_gw, &tunnel};
  static const ModeRegistry registry(all);
  return registry;
}

std::vector<std::string> names(const BenchPlan& plan) {
  std::vector<std::string> out;
  for (const BenchPath& path : plan.paths) out.push_back(path.name);
  return out;
}

BenchPlan plan_of(const BenchWords& words, bool bpf = true) {
  KernelFeatures kernel;
  kernel.bpf = bpf;
  return plan_bench(words, fake_modes(), kernel);
}

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("by default each mode that moves packets is measured, with each of its datapaths, after the raw hop and host-gw") {
  const BenchPlan plan = plan_of({});
  CHECK(names(plan) == Names{"raw", "host-gw", "cable", "tunnel/bpf", "tunnel/user"});
  CHECK(plan.left_out.empty());
  CHECK(plan.paths[3].options == Names{"Datapath=bpf"});
}

TEST_CASE("what this kernel can't run is told with the reason") {
  const BenchPlan plan = plan_of({}, false);
  CHECK(names(plan) == Names{"raw", "host-gw", "cable", "tunnel/user"});
  REQUIRE(plan.left_out.size() == 1);
  CHECK(plan.left_out[0].name == "tunnel/bpf");
  CHECK(plan.left_out[0].why == "this kernel refuses the program");
  CHECK_FALSE(plan.left_out[0].asked);
}

TEST_CASE("chosen modes and datapaths; host-gw is always there to compare with") {
  BenchWords words;
  words.modes = {"tunnel/user"};
  CHECK(names(plan_of(words)) == Names{"raw", "host-gw", "tunnel/user"});
  words.modes = {"Tunnel", "cable"};
  CHECK(names(plan_of(words)) == Names{"raw", "host-gw", "cable", "tunnel/bpf", "tunnel/user"});
  words.modes = {"tunnel/bpf"};
  const BenchPlan plan = plan_of(words, false);
  CHECK(names(plan) == Names{"raw", "host-gw"});
  CHECK(plan.left_out.at(0).asked);
  words.modes = {"tunnel"};  // one of its datapaths runs
  CHECK_FALSE(plan_of(words, false).left_out.at(0).asked);
}

TEST_CASE("plain routes by the stack are what all are compared with, whatever else host-gw has") {
  static const FakeMode host_gw("host-gw", kShortcutOptions), cable("cable", {});
  static const Mode* const all[]{&cable, &host_gw};
  const ModeRegistry registry(all);
  BenchWords words;
  KernelFeatures kernel;
  kernel.bpf = true;
  CHECK(names(plan_bench(words, registry, kernel)) == Names{"raw", "host-gw/kernel", "host-gw/bpf", "cable"});
  words.modes = {"cable"};
  words.masquerade = "both";
  const BenchPlan plan = plan_bench(words, registry, kernel);
  CHECK(names(plan) == Names{"raw", "host-gw/kernel", "host-gw/kernel, plain", "cable", "cable, plain"});
  CHECK(reference_of(plan, 3) == 1);
  CHECK(reference_of(plan, 4) == 2);
}

TEST_CASE("over IPv6 a mode that carries none is left out") {
  BenchWords words;
  words.v6 = true;
  const BenchPlan plan = plan_of(words);
  CHECK(names(plan) == Names{"raw", "host-gw", "cable"});
  CHECK(plan.left_out.at(0).why == "it carries no IPv6");
  const LabWords lab = lab_words(plan.paths[1], words, 1);
  CHECK(lab.v6);
  CHECK_FALSE(lab.v4);
}

TEST_CASE("with and without masquerading, each compared with its like") {
  BenchWords words;
  words.modes = {"cable"};
  words.masquerade = "both";
  const BenchPlan plan = plan_of(words);
  REQUIRE(names(plan) == Names{"raw", "host-gw", "host-gw, plain", "cable", "cable, plain"});
  CHECK(reference_of(plan, 0) == 1);
  CHECK(reference_of(plan, 3) == 1);
  CHECK(reference_of(plan, 4) == 2);
  CHECK_FALSE(lab_words(plan.paths[4], words, 4).masquerade);
  words.masquerade = "off";
  CHECK(names(plan_of(words)) == Names{"raw", "host-gw", "cable"});
  CHECK_FALSE(plan_of(words).paths[1].masquerade);
}

TEST_CASE("options go to the modes that have them") {
  BenchWords words;
  words.options = {"port=9000"};
  const BenchPlan plan = plan_of(words);
  CHECK(plan.paths[1].options.empty());
  CHECK(plan.paths[3].options == Names{"port=9000", "Datapath=bpf"});
}

TEST_CASE("wrong words are refused by the name of their flag") {
  auto complaint = [](auto change) {
    BenchWords words;
    change(words);
    try {
      plan_of(words);
    } catch (const Error& error) {
      CHECK(error.kind == ErrorKind::usage);
      return error.text;
    }
    return std::string("none");
  };
  CHECK(complaint([](BenchWords& words) { words.modes = {"tunel"}; }).find("--modes: no mode 'tunel'; did you mean tunnel?") == 0);
  CHECK(complaint([](BenchWords& words) { words.modes = {"tunnel/kernel"}; }) == "--modes tunnel/kernel: tunnel has the datapaths bpf, user");
  CHECK(complaint([](BenchWords& words) { words.modes = {"cable/bpf"}; }) == "--modes cable/bpf: cable has no datapaths to choose from");
  CHECK(complaint([](BenchWords& words) { words.modes = {"alloc"}; }) == "--modes alloc: it moves no packets between nodes");
  CHECK(complaint([](BenchWords& words) { words.options = {"Datapath=user"}; }).find("choose with --modes") != std::string::npos);
  CHECK(complaint([](BenchWords& words) { words.options = {"VNI=1"}; }) == "--opt VNI=1: no mode has an option 'VNI'");
  CHECK(complaint([](BenchWords& words) { words.rounds = 0; }) == "--rounds 0: give 1 to 1000");
  CHECK(complaint([](BenchWords& words) { words.seconds = 0; }).find("--seconds 0: give 0.05 to 60") == 0);
}

TEST_CASE("the command says all that it takes to measure the same again") {
  BenchWords words;
  CHECK(bench_command(words) == "knet lab bench --seconds 1 --rounds 5");
  words.modes = {"vxlan", "udp/user"};
  words.options = {"VNI=7"};
  words.masquerade = "both";
  words.v6 = true;
  words.seconds = 0.5;
  CHECK(bench_command(words) == "knet lab bench --modes vxlan,udp/user --opt VNI=7 --masquerade both --ipv6 --seconds 0.5 --rounds 5");
}

TEST_CASE("the time that it takes is known beforehand") {
  BenchWords words;
  words.modes = {"cable"};
  words.rounds = 2;
  // 3 paths, 4 tests, 2 rounds, 1 s and 250 ms before it
  CHECK(bench_time(plan_of(words)) == std::chrono::milliseconds(3 * 4 * 2 * 1250));
}
