// ClusterStore's promises as tests, run on each Store: what design 4 says of identity, leases, reservations, presence.
#pragma once

#include "tests/support/store_contract.h"

namespace knet::test {

void cluster_contract(StoreRig& rig);

}  // namespace knet::test
