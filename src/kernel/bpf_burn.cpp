#include "kernel/bpf_burn.h"

#include <linux/bpf.h>

#include <bit>

#include "kernel/bpf/abi.h"

namespace knet::bpf {

namespace {

static_assert(std::endian::native == std::endian::little, "the committed code is for little-endian machines");

// struct bpf_insn as a number: opcode, registers (the source in the upper half), offset, immediate.
constexpr uint64_t kWideLoad = BPF_LD | BPF_DW | BPF_IMM;
constexpr uint64_t kCall = BPF_JMP | BPF_CALL;
constexpr uint64_t kSourceIsMap = uint64_t{BPF_PSEUDO_MAP_FD} << 12;
constexpr uint64_t kSourceIsKernel = uint64_t{2} << 12;  // BPF_PSEUDO_KFUNC_CALL, younger than some headers
constexpr uint64_t kBurntMark = KNET_BURNT_MARK >> 32;

}  // namespace

std::vector<uint64_t> burn(std::span<const uint64_t> code, std::span<const uint64_t> slots, size_t maps,
                           std::span<const KernelCall> calls) {
  std::vector<uint64_t> out(code.begin(), code.end());
  for (size_t i = 0; i < out.size(); ++i) {
    const uint64_t immediate = out[i] >> 32;
    if ((out[i] & 0xff) == kCall && (out[i] >> 12 & 0xf) == 0 && immediate >= KNET_CALL_MARK &&
        immediate - KNET_CALL_MARK < calls.size()) {
      const KernelCall& call = calls[immediate - KNET_CALL_MARK];
      out[i] = kCall | kSourceIsKernel | uint64_t{static_cast<uint16_t>(call.btf_file)} << 16 | uint64_t{call.id} << 32;
    }
    if ((out[i] & 0xff) != kWideLoad || i + 1 == out.size()) continue;
    if (out[i + 1] >> 32 == kBurntMark && immediate < slots.size()) {
      if (immediate < maps) out[i] |= kSourceIsMap;
      out[i] = (out[i] & 0xffffffff) | slots[immediate] << 32;
      out[i + 1] = slots[immediate] >> 32 << 32;
    }
    ++i;
  }
  return out;
}

}  // namespace knet::bpf
