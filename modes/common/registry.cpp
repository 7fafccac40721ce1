// Here and not in core: core may not know which modes there are.
#include "core/mode.h"

namespace knet {

const ModeRegistry& mode_registry() {
  static const ModeRegistry registry(all_modes());
  return registry;
}

}  // namespace knet
