// Instructions made ready for the running kernel: what is left open in the committed code (src/kernel/bpf/abi.h) is put
// in. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace knet::bpf {

/// A kernel function that code calls.
struct KernelCall {
  uint32_t id = 0;       // of its BTF type
  int16_t btf_file = 0;  // which descriptor of BPF_PROG_LOAD's fd_array holds that; 0: the kernel itself
};

/// Replaces each wide load of a mark by its slot's value, of which the first `maps` are maps' descriptors, and each
/// call of a mark by the kernel function.
std::vector<uint64_t> burn(std::span<const uint64_t> code, std::span<const uint64_t> slots, size_t maps,
                           std::span<const KernelCall> calls = {});

}  // namespace knet::bpf
