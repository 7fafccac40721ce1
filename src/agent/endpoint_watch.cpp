#include "agent/endpoint_watch.h"

#include <sys/inotify.h>

#include <algorithm>

#include "base/error.h"
#include "base/file.h"

namespace knet {
namespace fs = std::filesystem;
namespace {

constexpr size_t kLargestRecord = 256u << 10;
constexpr std::string_view kExtension = ".json";

bool is_record(std::string_view name) { return name.ends_with(kExtension) && !name.starts_with('.'); }

std::vector<std::string> record_names(const fs::path& dir) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator at(dir, error), end; !error && at != end; at.increment(error))
    if (std::string name = at->path().filename().string(); is_record(name)) names.push_back(std::move(name));
  return names;
}

}  // namespace

std::vector<Endpoint> read_endpoints(const fs::path& dir, std::vector<std::string>* problems) {
  std::vector<Endpoint> out;
  for (const std::string& name : record_names(dir)) {
    try {
      if (auto bytes = read_file(dir / name, kLargestRecord)) out.push_back(parse_endpoint(*bytes));
    } catch (const Error& error) {
      if (problems) problems->push_back(fmt::format("{}: {}", (dir / name).string(), error.text));
    }
  }
  std::sort(out.begin(), out.end(), [](const Endpoint& a, const Endpoint& b) { return a.id < b.id; });
  return out;
}

std::vector<Endpoint> present_pods(const fs::path& dir, const Observed& observed) {
  std::vector<Endpoint> pods = read_endpoints(dir);
  drop_linkless(pods, observed);
  return pods;
}

EndpointWatch::EndpointWatch(fs::path dir) : dir_(std::move(dir)), inotify_(inotify_init1(IN_CLOEXEC | IN_NONBLOCK)) {
  if (!inotify_) throw_errno(errno, "watch {}", dir_.string());
  begin();
}

void EndpointWatch::begin() {
  make_directories(dir_);
  constexpr uint32_t kEvents = IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_MOVE_SELF | IN_ONLYDIR;
  if (inotify_add_watch(inotify_.get(), dir_.c_str(), kEvents) < 0) throw_errno(errno, "watch {}", dir_.string());
  read_all();
}

void EndpointWatch::read_all() {
  records_.clear();
  for (const std::string& name : record_names(dir_)) read_one(name);
}

bool EndpointWatch::read_one(const std::string& name) {
  Record record;
  try {
    auto bytes = read_file(dir_ / name, kLargestRecord);
    if (!bytes) return records_.erase(name) > 0;
    record.endpoint = parse_endpoint(*bytes);
  } catch (const Error& error) {
    record.problem = fmt::format("{}: {}", (dir_ / name).string(), error.text);
  }
  Record& known = records_[name];
  if (known == record) return false;
  known = std::move(record);
  return true;
}

bool EndpointWatch::drain() {
  bool changed = false;
  alignas(inotify_event) char buffer[16384];
  for (;;) {
    const ssize_t n = ::read(inotify_.get(), buffer, sizeof buffer);
    if (n <= 0) return changed;
    for (ssize_t at = 0; at < n;) {
      const auto* event = reinterpret_cast<const inotify_event*>(buffer + at);
      at += static_cast<ssize_t>(sizeof(inotify_event) + event->len);
      if (event->mask & (IN_IGNORED | IN_MOVE_SELF)) {
        // The directory was removed or renamed: what comes at its place is watched.
        if (event->mask & IN_MOVE_SELF) inotify_rm_watch(inotify_.get(), event->wd);
        else begin();
        changed = true;
      } else if (event->mask & IN_Q_OVERFLOW) {
        read_all();
        changed = true;
      } else if (event->len > 0 && is_record(event->name)) {
        changed = read_one(event->name) || changed;
      }
    }
  }
}

std::vector<Endpoint> EndpointWatch::endpoints() const {
  std::vector<Endpoint> out;
  for (const auto& [name, record] : records_)
    if (record.problem.empty()) out.push_back(record.endpoint);
  std::sort(out.begin(), out.end(), [](const Endpoint& a, const Endpoint& b) { return a.id < b.id; });
  return out;
}

std::vector<std::string> EndpointWatch::problems() const {
  std::vector<std::string> out;
  for (const auto& [name, record] : records_)
    if (!record.problem.empty()) out.push_back(record.problem);
  return out;
}

}  // namespace knet
