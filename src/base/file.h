// Files of ours: whole reads with a size limit, atomic writes (temporary + fsync + rename), directories.
// Errors are knet::Error{kernel} that name the path.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "base/fd.h"

namespace knet {

/// The whole file, or nothing if it does not exist. More than `limit` bytes is an error.
std::optional<std::string> read_file(const std::filesystem::path& path, size_t limit = 16u << 20);
/// All of a descriptor (stdin) up to `limit` bytes; more is an error naming `what`.
std::string read_all(int fd, std::string_view what, size_t limit = 4u << 20);
/// Replaces the file atomically; the directory is made (0755) if missing. Skips the write when the bytes are
/// equal. Returns whether it wrote.
bool write_file(const std::filesystem::path& path, std::string_view bytes, unsigned mode = 0644,
                bool durable = true);
/// Creates the file, complete or not at all, only if it does not exist. False: it was there.
bool create_file(const std::filesystem::path& path, std::string_view bytes, unsigned mode = 0644,
                 bool durable = true);
/// True if it was there and is gone now.
bool remove_file(const std::filesystem::path& path);
void make_directories(const std::filesystem::path& path, unsigned mode = 0755);

/// Exclusive flock on a lock file that is made if missing; released when the Fd closes. Waits at most
/// `timeout_ms`.
Fd lock_file(const std::filesystem::path& path, int timeout_ms = 10'000);

}  // namespace knet
