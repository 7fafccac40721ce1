#include "base/error.h"

#include <array>
#include <cstring>

namespace knet {
namespace {

struct KindRow {
  ErrorKind kind;
  std::string_view name;
  int exit;
  int cni;
};

constexpr std::array kKinds{
    KindRow{ErrorKind::usage, "usage", kExitUsage, 4},
    KindRow{ErrorKind::config, "config", kExitFailed, 7},
    KindRow{ErrorKind::store, "store", kExitStore, 11},
    KindRow{ErrorKind::kernel, "kernel", kExitFailed, 101},
    KindRow{ErrorKind::conflict, "conflict", kExitFailed, 102},
    KindRow{ErrorKind::unsupported, "unsupported", kExitFailed, 103},
    KindRow{ErrorKind::bug, "bug", kExitFailed, 999},
};

const KindRow& row(ErrorKind kind) {
  for (const KindRow& candidate : kKinds) {
    if (candidate.kind == kind) return candidate;
  }
  return kKinds.back();
}

}  // namespace

std::string errno_text(int error) {
  std::array<char, 128> buffer{};
  return strerror_r(error, buffer.data(), buffer.size());
}

Error with_context(const Error& error, std::string_view context) {
  return {error.kind, fmt::format("{}: {}", context, error.text)};
}

std::string_view to_string(ErrorKind kind) { return row(kind).name; }
int exit_code(ErrorKind kind) { return row(kind).exit; }
int cni_code(ErrorKind kind) { return row(kind).cni; }

}  // namespace knet
