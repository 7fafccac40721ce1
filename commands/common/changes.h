// What a `set` verb says: each value that changes from -> to, what follows from it, and where it was written. One thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace knet {

class Changes {
 public:
  /// Remembers a value that differs. Equal ones are left out.
  void put(std::string_view what, const std::string& from, const std::string& to);
  /// A line for each, "none" where there was nothing before.
  void put_list(std::string_view what, const std::vector<std::string>& from, const std::vector<std::string>& to);
  /// A secret: that it changes, never what it is.
  void put_secret(std::string_view what, const std::string& from, const std::string& to);
  bool empty() const { return rows_.empty(); }
  bool has(std::string_view what) const;

  std::vector<std::string> notices;
  std::string next;  // a command that can be pasted, "" for none

  /// To stdout, and the exit status. `object`: "the cluster's BGP settings"; `where`: store and key.
  int report(std::string_view object, const std::string& where, bool dry_run, bool json) const;

 private:
  struct Row {
    std::string what, from, to;
  };
  std::vector<Row> rows_;
};

}  // namespace knet
