// installed.json: the list of files that knet put outside its own directories, so that leave takes away exactly those.
// A file is written down before it is made. One process at a time (join, leave); no threads.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace knet {

class InstalledFiles {
 public:
  struct Entry {
    std::string path;
    std::string backup;       // what stood there before, moved aside; "" if nothing
    std::string fingerprint;  // of the content that we wrote; "" for links
  };

  /// Reads the list; an absent file is an empty list. Throws Error{config} if it is damaged.
  explicit InstalledFiles(std::filesystem::path list);

  const std::vector<Entry>& entries() const { return entries_; }
  bool has(const std::filesystem::path& path) const;
  /// A file of ours. One that stands there and is not in the list is Error{conflict} unless it has the same bytes, or
  /// `force`: then it is moved to "<path>.before-knet" first.
  void write(const std::filesystem::path& path, std::string_view bytes, unsigned mode, bool force);
  /// A symbolic link of ours, by the same rules.
  void link(const std::filesystem::path& path, const std::filesystem::path& target, bool force);
  /// A file that its writer keeps up to date itself (subnet.env): only written down, to be removed whatever it holds.
  void note(const std::filesystem::path& path);
  /// Deletes what we put there and puts the backup back. A file that was changed since is left and said so.
  /// The entry goes in any case but an error. Returns what was done, for people; "" if nothing was there.
  std::string remove(const std::string& path);
  void save() const;

 private:
  void make_way(const std::filesystem::path& path, bool force, Entry& entry);
  Entry& entry(const std::filesystem::path& path);

  std::filesystem::path list_;
  std::vector<Entry> entries_;
};

}  // namespace knet
