// BTF files of the kernel and of a module. Whatever they hold is answered, or refused with Error{unsupported}.
// Input: two bytes with the length of the first file, the first file, the second.
#include "kernel/btf.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>

#include "tests/fuzz/fuzz_target.h"

using namespace knet;

namespace {

Fd file_of(std::string_view bytes) {
  Fd fd(memfd_create("btf", MFD_CLOEXEC));
  fuzz::hold(fd && write(fd.get(), bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
  return fd;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const std::string_view input = fuzz::text(data, size).substr(2);
  const size_t length = std::min<size_t>(data[0] | data[1] << 8, input.size());
  const Fd vmlinux = file_of(input.substr(0, length)), module = file_of(input.substr(length));
  constexpr std::string_view kFunctions[] = {"f", "g"}, kTypes[] = {"s", "t"};
  try {
    const auto found = bpf::read_kernel_types(vmlinux, module, kFunctions, kTypes);
    for (const auto name : kFunctions) fuzz::hold(!found.function(name) || found.function(name)->id != 0);
    for (const auto type : kTypes) fuzz::hold(found.offset(type, "m").value_or(0) < 1u << 29);
  } catch (const Error& error) {
    fuzz::hold(error.kind == ErrorKind::unsupported && error.text.size() < 1000 &&
               error.text.find('\n') == std::string::npos);
  }
  return 0;
}
