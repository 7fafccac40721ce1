// What the running kernel tells of itself in BTF: ids of functions that a BPF program may call, and where members stand
// in its structs. Read in pieces: vmlinux's BTF has 5 MB, of which we keep what was asked for. Files are taken as
// hostile. Format: Documentation/bpf/btf.rst, <linux/btf.h>.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/fd.h"

namespace knet::bpf {

/// Where a function stands that a program may call (kfunc).
struct KernelFunction {
  uint32_t id = 0;
  bool in_module = false;
};

/// What was asked for of the kernel's own types, as far as it is there.
class KernelTypes {
 public:
  std::optional<KernelFunction> function(std::string_view name) const;
  /// Bytes from the begin of the struct or union; nothing if there is no such type or member, or it is a bit field.
  /// Members of an unnamed struct or union inside of it are not looked for.
  std::optional<uint32_t> offset(std::string_view type, std::string_view member) const;

 private:
  friend class BtfReader;
  using Members = std::map<std::string, uint32_t, std::less<>>;
  std::map<std::string, KernelFunction, std::less<>> functions_;
  std::map<std::string, Members, std::less<>> types_;
};

using Names = std::span<const std::string_view>;

/// Reads `dir`/vmlinux and, where something is not in it, `dir`/`module` if that is there (a kernel that has it built
/// in has no such file). Of several with one name the first counts. Throws Error{unsupported} where there is no BTF, or
/// it is malformed.
KernelTypes read_kernel_types(std::string_view module, Names functions, Names types,
                              const std::filesystem::path& dir = "/sys/kernel/btf");
/// The same of open files; `module` may be none.
KernelTypes read_kernel_types(const Fd& vmlinux, const Fd& module, Names functions, Names types);

}  // namespace knet::bpf
