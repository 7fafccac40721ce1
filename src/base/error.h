// The one failure type. Thrown at edges and by parsers; caught in four places only: main, the CNI
// entry, one turn of the agent's loop, a service thread's entry. Answers ("already exists", "no such
// lease") are values, not errors. Context is added where the noun is known.
#pragma once

#include <fmt/core.h>

#include <exception>
#include <string>
#include <string_view>
#include <utility>

namespace knet {

enum class ErrorKind {
  usage,        // the words typed are wrong
  config,       // the cluster's or the node's configuration is wrong
  store,        // the store can't be reached or refused
  kernel,       // the kernel refused
  conflict,     // somebody else holds what we want
  unsupported,  // not possible on this kernel or in this version
  bug,          // a broken invariant of ours
};

struct Error : std::exception {
  Error(ErrorKind kind, std::string what) : kind(kind), text(std::move(what)) {}
  const char* what() const noexcept override { return text.c_str(); }

  ErrorKind kind;
  std::string text;
};

template <typename... Args>
[[noreturn]] void fail(ErrorKind kind, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(kind, fmt::format(format, std::forward<Args>(args)...));
}

/// Text of an errno value, as strerror gives it. Thread-safe.
std::string errno_text(int error);

/// Throws Error{kernel} "<formatted>: <strerror(errno)>".
template <typename... Args>
[[noreturn]] void throw_errno(int error, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(ErrorKind::kernel,
              fmt::format(format, std::forward<Args>(args)...) + ": " + errno_text(error));
}

/// The same error with "<context>: " put before its text.
Error with_context(const Error& error, std::string_view context);

std::string_view to_string(ErrorKind kind);

/// Process exit status: 0 fine, 1 failed, 2 usage, 3 looked and found drift or breakage, 4 store unreachable.
inline constexpr int kExitOk = 0;
inline constexpr int kExitFailed = 1;
inline constexpr int kExitUsage = 2;
inline constexpr int kExitDrift = 3;
inline constexpr int kExitStore = 4;

/// The one table kind -> exit status.
int exit_code(ErrorKind kind);

/// The one table kind -> CNI error code (CNI spec 1.1, "Error": 4 invalid environment, 5 I/O, 6 decode,
/// 7 invalid network config, 11 try again later, 100+ plugin specific).
int cni_code(ErrorKind kind);

}  // namespace knet
