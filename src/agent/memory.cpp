#include "agent/memory.h"

#include <malloc.h>
#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>

#include "base/file.h"
#include "base/text.h"

namespace knet {
namespace {

// A line of /proc/self/maps: "00400000-00452000 r-xp 00000000 08:02 173521      /usr/bin/knet".
void drop_pages(std::string_view line) {
  const size_t dash = line.find('-');
  const size_t space = line.find(' ');
  if (dash == std::string_view::npos || space == std::string_view::npos || dash > space || line.size() < space + 5)
    return;
  const std::string_view rights = line.substr(space + 1, 4);
  if (rights[0] != 'r' || rights[1] == 'w' || line.find('/', space) == std::string_view::npos) return;
  const auto begin = std::strtoull(std::string(line.substr(0, dash)).c_str(), nullptr, 16);
  const auto end = std::strtoull(std::string(line.substr(dash + 1, space - dash - 1)).c_str(), nullptr, 16);
  // Never written and backed by a file: nothing is lost. The start maps whole neighbourhoods of each page it touches;
  // from now on only what is used comes back.
  madvise(reinterpret_cast<void*>(begin), end - begin, MADV_RANDOM);
  madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

}  // namespace

void give_back_memory() {
  malloc_trim(0);
  try {
    auto maps = read_file("/proc/self/maps", 4u << 20);
    if (!maps) return;
    for (std::string_view line : split(*maps, '\n')) drop_pages(line);
  } catch (const std::exception&) {
    // Without /proc we stay as large as we are.
  }
}

}  // namespace knet
