// Shared by the fuzz targets: input as text, and the promise that every parser of hostile input keeps.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/error.h"

namespace knet::fuzz {

inline std::string_view text(const uint8_t* data, size_t size) { return {reinterpret_cast<const char*>(data), size}; }

/// A broken promise ends the run, as a crash would.
inline void hold(bool promise) {
  if (!promise) std::abort();
}

/// Runs a parser: it either answers or throws Error{config} with one clear line.
template <typename Parse>
void try_parse(Parse&& parse) {
  try {
    parse();
  } catch (const Error& error) {
    hold(error.kind == ErrorKind::config && !error.text.empty() && error.text.size() < 1000 &&
         error.text.find('\n') == std::string::npos);
  }
}

}  // namespace knet::fuzz
