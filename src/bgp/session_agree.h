// What two OPENs come to: whether theirs is acceptable, and what both sides agree on. Pure. Private to
// src/bgp/session*.cpp.
#pragma once

#include <variant>

#include "bgp/session.h"

namespace knet::bgp {

/// The OPEN that goes out. `restarting` is the R bit; `kept` the F bit of all families.
Open open_of(const SessionConfig& config, bool restarting, bool kept);
/// What is agreed on, or the NOTIFICATION that their OPEN is answered with (RFC 4271 6.2, RFC 5492, RFC 6286).
std::variant<Agreed, MessageError> agree(const SessionConfig& config, const Open& theirs, bool outgoing);
/// Leaves out what is of a family that was not agreed on; false if nothing is left of an UPDATE that said something.
bool keep_agreed(const Agreed& agreed, Update& update);
/// Both have the N bit: routes are kept past a NOTIFICATION that is no hard reset (RFC 8538).
bool both_keep_by_notification(const SessionConfig& config, const Agreed& agreed);
/// How the end of a session is told to a peer with both N bits: what it shall not survive as a hard reset. A change of
/// configuration and a lack of resources stay as they are: the session comes back at once, its routes may wait for it.
Notification as_hard_reset(const Notification& notification);
bool is_hard_reset(const Notification& notification);

}  // namespace knet::bgp
