// The bgp mode's runtime part: a bgp::Speaker that is told what the view asks for and answers the questions of
// `knet bgp`. follow() and part() are the agent's loop's, answer() and counters() any thread's.
#pragma once

#include <memory>

#include "core/mode.h"

namespace knet {

std::unique_ptr<Service> make_bgp_service(ServiceHost host);

}  // namespace knet
