// What etcd itself said no to, with its gRPC code, for the callers inside src/store that know what it means.
#pragma once

#include <string>

#include "base/error.h"

namespace knet {

struct EtcdRefusal : Error {
  EtcdRefusal(std::string what, int code, std::string said)
      : Error(ErrorKind::store, std::move(what)), code(code), said(std::move(said)) {}
  bool compacted() const { return said.find("has been compacted") != std::string::npos; }
  bool no_such_lease() const { return said.find("requested lease not found") != std::string::npos; }

  int code;          // of gRPC
  std::string said;  // "etcdserver: permission denied"
};

}  // namespace knet
