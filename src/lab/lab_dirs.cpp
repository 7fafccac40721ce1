#include "lab/lab_dirs.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <thread>

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"

namespace knet {
namespace {

constexpr const char* kStateFile = "lab.json";
constexpr std::chrono::seconds kLockTime{60};
constexpr int kCapSysAdmin = 21;  // capabilities(7)

/// The directory must be ours: below /tmp anybody may have made one of that name.
void make_own_dir(const std::filesystem::path& dir) {
  make_directories(dir.parent_path());
  if (mkdir(dir.c_str(), 0700) != 0 && errno != EEXIST) throw_errno(errno, "make {}", dir.string());
  struct stat info;
  if (lstat(dir.c_str(), &info) != 0) throw_errno(errno, "look at {}", dir.string());
  if (!S_ISDIR(info.st_mode) || info.st_uid != geteuid())
    fail(ErrorKind::conflict, "{} belongs to somebody else; set XDG_RUNTIME_DIR to a directory of yours", dir.string());
}

}  // namespace

bool can_make_namespaces() {
  if (geteuid() != 0) return false;
  const auto status = read_file("/proc/self/status", 64u << 10);
  if (!status) return true;
  const size_t at = status->find("CapEff:");
  if (at == std::string::npos) return true;
  return (std::strtoull(status->c_str() + at + 7, nullptr, 16) >> kCapSysAdmin & 1) != 0;
}

std::filesystem::path labs_dir() {
  if (can_make_namespaces()) return "/run/knet-lab";
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");
  if (runtime != nullptr && runtime[0] == '/') return std::filesystem::path(runtime) / "knet-lab";
  return fmt::format("/tmp/knet-lab-{}", geteuid());
}

std::filesystem::path lab_dir(const std::string& name) { return labs_dir() / name; }

Fd make_lab_dir(const std::string& name) {
  make_own_dir(labs_dir());
  const std::filesystem::path dir = lab_dir(name);
  if (mkdir(dir.c_str(), 0700) != 0) {
    if (errno != EEXIST) throw_errno(errno, "make {}", dir.string());
    fail(ErrorKind::conflict, "lab {} is up already, or was left by a crash; take it down with: knet lab down{}", name,
         name == LabWords{}.name ? "" : " --name " + name);
  }
  return lock_lab(name);
}

Fd lock_lab(const std::string& name) {
  const std::filesystem::path dir = lab_dir(name);
  Fd fd(open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd && errno == ENOENT) return {};
  if (!fd) throw_errno(errno, "open {}", dir.string());
  const auto deadline = std::chrono::steady_clock::now() + kLockTime;
  while (flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) throw_errno(errno, "lock {}", dir.string());
    if (std::chrono::steady_clock::now() > deadline)
      fail(ErrorKind::conflict, "another knet lab command has been busy with {} for {} s", name, kLockTime.count());
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return fd;
}

void tidy_labs_dir() { rmdir(labs_dir().c_str()); }

std::optional<Lab> load_lab(const std::string& name) {
  const std::filesystem::path dir = lab_dir(name);
  const auto text = read_file(dir / kStateFile);
  if (!text) return std::nullopt;
  Lab lab = parse_lab(*text, (dir / kStateFile).string());
  lab.dir = dir;
  return lab;
}

Lab get_lab(const std::string& name) {
  if (auto lab = load_lab(name)) return std::move(*lab);
  const std::vector<std::string> others = lab_names();
  const std::string named = name == LabWords{}.name ? "" : " --name " + name;
  if (others.empty()) fail(ErrorKind::usage, "no lab is up; start one with: knet lab up{}", named);
  fail(ErrorKind::usage, "no lab '{}' is up; there are: {}; start it with: knet lab up{}", printable(name), join(others, ", "),
       named);
}

void save_lab(const Lab& lab) { write_file(lab.dir / kStateFile, format_lab(lab), 0644, false); }

std::vector<std::string> lab_names() {
  std::vector<std::string> names;
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator(labs_dir(), none))
    if (entry.is_directory(none)) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

std::optional<LabPlace> lab_of(const std::filesystem::path& run_dir) {
  const std::filesystem::path node_dir = run_dir.parent_path();
  const std::filesystem::path dir = node_dir.parent_path();
  std::optional<std::string> text;
  try {
    text = read_file(dir / kStateFile);
  } catch (const Error&) {
    return std::nullopt;  // some other directory that we may not read
  }
  if (!text) return std::nullopt;
  LabPlace place{parse_lab(*text, (dir / kStateFile).string()), node_dir.filename().string()};
  place.lab.dir = dir;
  if (!place.lab.find_node(place.node)) return std::nullopt;
  return place;
}

}  // namespace knet
