// What is put into committed instructions when a program is loaded: slots' values, maps, kernel functions.
#include "kernel/bpf_burn.h"

#include <catch2/catch.hpp>

#include "kernel/bpf/abi.h"

using namespace knet::bpf;

namespace {

constexpr uint64_t kWide = 0x18, kCallOp = 0x85;
constexpr uint64_t kMark = KNET_BURNT_MARK >> 32;

std::vector<uint64_t> load_of(uint64_t slot, uint64_t high = kMark) { return {kWide | slot << 32, high << 32}; }

}  // namespace

TEST_CASE("a marked wide load becomes its slot's value, a map's becomes a descriptor") {
  const uint64_t slots[] = {7, 0x1122334455667788};
  std::vector<uint64_t> code = load_of(1);
  const std::vector<uint64_t> map = load_of(0);
  code.insert(code.end(), map.begin(), map.end());
  CHECK(burn(code, slots, 1) == std::vector<uint64_t>{kWide | uint64_t{0x55667788} << 32, uint64_t{0x11223344} << 32,
                                                      kWide | 1 << 12 | uint64_t{7} << 32, 0});
}

TEST_CASE("loads without the mark, of a slot that there is not, and a cut one stay as they are") {
  const uint64_t slots[] = {7};
  for (const std::vector<uint64_t>& code : {load_of(0, 5), load_of(1), std::vector<uint64_t>{kWide}})
    CHECK(burn(code, slots, 0) == code);
  // The second half of a wide load is a number, whatever it looks like.
  const std::vector<uint64_t> halves{kWide, kCallOp | uint64_t{KNET_CALL_MARK} << 32};
  const KernelCall calls[] = {{99, 0}};
  CHECK(burn(halves, slots, 0, calls) == halves);
}

TEST_CASE("a marked call becomes one of a kernel function, with the file that tells of it") {
  const KernelCall calls[] = {{4711, 0}, {12, 1}};
  const std::vector<uint64_t> code{kCallOp | uint64_t{KNET_CALL_MARK} << 32,
                                   kCallOp | uint64_t{KNET_CALL_MARK + 1} << 32,
                                   kCallOp | uint64_t{KNET_CALL_MARK + 2} << 32, kCallOp | uint64_t{69} << 32};
  CHECK(burn(code, {}, 0, calls) == std::vector<uint64_t>{kCallOp | 2 << 12 | uint64_t{4711} << 32,
                                                          kCallOp | 2 << 12 | 1 << 16 | uint64_t{12} << 32, code[2],
                                                          code[3]});
}
