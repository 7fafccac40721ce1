// The pods' records in <run-dir>/endpoints: read at start, then what inotify names. For the agent's loop; one thread.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/fd.h"
#include "core/endpoint.h"

namespace knet {

/// All records of a directory, sorted by id; what can't be read is named in `problems`. An absent directory is an empty
/// one.
std::vector<Endpoint> read_endpoints(const std::filesystem::path& dir, std::vector<std::string>* problems = nullptr);

/// The records as they are now, but those whose link was not seen. Read after the links: CNI writes a record when its
/// link stands.
std::vector<Endpoint> present_pods(const std::filesystem::path& dir, const Observed& observed);

class EndpointWatch {
 public:
  /// Makes the directory if need be.
  explicit EndpointWatch(std::filesystem::path dir);
  int fd() const { return inotify_.get(); }
  /// Takes in what happened since; whether a record came, went or changed.
  bool drain();
  std::vector<Endpoint> endpoints() const;  // sorted by id
  size_t size() const { return records_.size(); }
  std::vector<std::string> problems() const;

 private:
  struct Record {
    Endpoint endpoint;
    std::string problem;  // why it can't be read
    bool operator==(const Record&) const = default;
  };
  void begin();
  void read_all();
  bool read_one(const std::string& name);

  std::filesystem::path dir_;
  Fd inotify_;
  std::map<std::string, Record> records_;  // by file name
};

}  // namespace knet
