#include "agent/installed.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/digest.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"

namespace knet {
namespace fs = std::filesystem;
namespace {

using Json = nlohmann::json;
constexpr int kInstalledSchema = 1;
constexpr size_t kLargest = 64u << 20;  // a copied program

std::string digest_text(std::string_view bytes) { return fmt::format("{:016x}", fingerprint(bytes)); }

bool there(const fs::path& path) {
  std::error_code ignored;
  return fs::symlink_status(path, ignored).type() != fs::file_type::not_found;
}

}  // namespace

InstalledFiles::InstalledFiles(fs::path list) : list_(std::move(list)) {
  auto bytes = read_file(list_, 1u << 20);
  if (!bytes) return;
  const Json tree = parse_json(*bytes, list_.string());
  const auto files = tree.is_object() ? tree.find("files") : tree.end();
  if (!tree.is_object() || files == tree.end() || !files->is_array())
    fail(ErrorKind::config, "{}: not a list of installed files", list_.string());
  for (const Json& item : *files) {
    if (!item.is_object() || !item.contains("path") || !item["path"].is_string())
      fail(ErrorKind::config, "{}: an entry has no path", list_.string());
    Entry entry{item["path"].get<std::string>(), item.value("backup", ""), item.value("fingerprint", "")};
    entries_.push_back(std::move(entry));
  }
}

bool InstalledFiles::has(const fs::path& path) const {
  return std::any_of(entries_.begin(), entries_.end(), [&](const Entry& e) { return e.path == path.string(); });
}

InstalledFiles::Entry& InstalledFiles::entry(const fs::path& path) {
  for (Entry& known : entries_)
    if (known.path == path.string()) return known;
  entries_.push_back({path.string(), "", ""});
  return entries_.back();
}

void InstalledFiles::make_way(const fs::path& path, bool force, Entry& ours) {
  if (!force)
    fail(ErrorKind::conflict, "{} is there already and not ours; give --force to move it to {}.before-knet",
         path.string(), path.string());
  const std::string backup = path.string() + ".before-knet";
  if (there(backup))
    fail(ErrorKind::conflict, "{} can't be moved to {}: that is there from an earlier time; move one of them away",
         path.string(), backup);
  std::error_code error;
  fs::rename(path, backup, error);
  if (error) throw_errno(error.value(), "move {} to {}", path.string(), backup);
  ours.backup = backup;
}

void InstalledFiles::write(const fs::path& path, std::string_view bytes, unsigned mode, bool force) {
  const bool known = has(path);
  Entry ours = known ? entry(path) : Entry{path.string(), "", ""};
  if (!known && there(path)) {
    const bool regular = fs::is_regular_file(fs::symlink_status(path));
    auto present = regular ? read_file(path, kLargest) : std::nullopt;
    if (!present || *present != bytes) make_way(path, force, ours);
  }
  ours.fingerprint = digest_text(bytes);
  entry(path) = ours;
  save();
  std::error_code ignored;
  if (fs::is_symlink(fs::symlink_status(path, ignored))) remove_file(path);
  write_file(path, bytes, mode);
}

void InstalledFiles::link(const fs::path& path, const fs::path& target, bool force) {
  std::error_code error;
  const auto status = fs::symlink_status(path, error);
  const bool same = fs::is_symlink(status) && fs::read_symlink(path, error) == target;
  Entry ours = has(path) ? entry(path) : Entry{path.string(), "", ""};
  if (!has(path) && there(path) && !same) make_way(path, force, ours);
  ours.fingerprint.clear();
  entry(path) = ours;
  save();
  if (same) return;
  make_directories(path.parent_path());
  const fs::path fresh = path.string() + ".knet-new";
  fs::remove(fresh, error);
  fs::create_symlink(target, fresh, error);
  if (!error) fs::rename(fresh, path, error);
  if (error) throw_errno(error.value(), "link {} to {}", path.string(), target.string());
}

void InstalledFiles::note(const fs::path& path) {
  if (has(path)) return;
  entry(path);
  save();
}

std::string InstalledFiles::remove(const std::string& path) {
  auto at = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& e) { return e.path == path; });
  if (at == entries_.end()) return "";
  std::string done;
  if (there(path)) {
    auto present = at->fingerprint.empty() || !fs::is_regular_file(fs::symlink_status(path))
                       ? std::nullopt
                       : read_file(path, kLargest);
    if (present && digest_text(*present) != at->fingerprint) {
      done = fmt::format("{} was changed since knet wrote it; left there", path);
    } else {
      remove_file(path);
      done = path;
    }
  }
  if (!at->backup.empty() && there(at->backup) && !there(path)) {
    std::error_code error;
    fs::rename(at->backup, path, error);
    if (error) throw_errno(error.value(), "put {} back to {}", at->backup, path);
    done += fmt::format(" (put back from {})", at->backup);
  }
  entries_.erase(at);
  save();
  return done;
}

void InstalledFiles::save() const {
  Json files = Json::array();
  for (const Entry& entry : entries_) {
    Json item = {{"path", entry.path}};
    if (!entry.backup.empty()) item["backup"] = entry.backup;
    if (!entry.fingerprint.empty()) item["fingerprint"] = entry.fingerprint;
    files.push_back(std::move(item));
  }
  write_file(list_, Json{{"schema", kInstalledSchema}, {"files", std::move(files)}}.dump(2) + "\n");
}

}  // namespace knet
