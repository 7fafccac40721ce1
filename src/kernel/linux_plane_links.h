// Makes, changes and removes the devices of a plan, one request each: there are few, and each message needs the one
// before it. Part of LinuxPlane::apply; same thread, same namespace. Private to src/kernel.
#pragma once

#include "core/netstate.h"
#include "kernel/netlink.h"

namespace knet {

class LinkMaker {
 public:
  explicit LinkMaker(NlSocket& socket) : socket_(socket) {}

  /// Makes it, marks it with our alias, and only then sets it up. What could not be marked is removed again: it would
  /// be foreign to the next scan.
  NlFailure make(const Link& link);
  /// Sets what can be changed in place; `seen` (may be null) tells what is right already.
  NlFailure change(const Link& link, const Link* seen);
  /// One that was seen goes by its index: another of its name may have taken its place since.
  NlFailure remove(const Link& link);

 private:
  NlFailure make_vxlan(const Link& link);
  NlFailure mark(const Link& link);

  NlSocket& socket_;
  NlMessage message_;
};

}  // namespace knet
