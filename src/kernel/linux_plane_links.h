// Makes, changes and removes the devices of a plan, one request each: there are few, and each message needs the one
// before it. Part of LinuxPlane::apply; same thread, same namespace. Private to src/kernel.
#pragma once

#include "core/netstate.h"
#include "kernel/netlink.h"
#include "kernel/wireguard.h"

namespace knet {

class LinkMaker {
 public:
  LinkMaker(NlSocket& socket, Wireguard& wireguard) : socket_(socket), wireguard_(wireguard) {}

  /// Makes it, marks it with our alias, and only then sets it up. What could not be marked is removed again: it would
  /// be foreign to the next scan.
  NlFailure make(const Link& link);
  /// Sets what can be changed in place; `seen` (may be null) tells what is right already.
  NlFailure change(const Link& link, const Link* seen);
  /// One that was seen goes by its index: another of its name may have taken its place since.
  NlFailure remove(const Link& link);

 private:
  NlFailure make_vxlan(const Link& link);
  NlFailure make_ipip(const Link& link);
  NlFailure make_wireguard(const Link& link);
  NlFailure make_tun(const Link& link);
  NlFailure mark(const Link& link);
  void begin_new(const Link& link);

  NlSocket& socket_;
  Wireguard& wireguard_;
  NlMessage message_;
};

}  // namespace knet
