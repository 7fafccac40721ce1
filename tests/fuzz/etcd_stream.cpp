// etcd's watch stream as a hostile server could send it: cut into pieces, split into lines, each line parsed; and the
// same bytes as the answers of plain requests. Only Error{store} may come of it.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/error.h"
#include "store/etcd_wire.h"

namespace {

template <typename Parse>
void expect_store_error(Parse parse) {
  try {
    parse();
  } catch (const knet::Error& error) {
    if (error.kind != knet::ErrorKind::store) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  // The first byte says how the network cuts what follows.
  const size_t step = size_t{data[0]} + 1;
  std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::string_view whole = rest;
  knet::etcd::LineSplitter lines(4096);
  for (bool on = true; on && !rest.empty();) {
    std::string_view piece = rest.substr(0, step);
    rest.remove_prefix(piece.size());
    on = lines.feed(piece, [](std::string_view line) {
      expect_store_error([&] {
        const knet::etcd::WatchMessage message = knet::etcd::parse_watch_message(line);
        for (const knet::StoreEvent& event : message.events)
          if (event.rev <= 0 || (event.deleted && !event.value.empty())) std::abort();
      });
      return true;
    });
    if (lines.rest().size() > 4096) std::abort();
  }
  knet::etcd::parse_error(lines.rest());
  expect_store_error([&] { knet::etcd::parse_range(whole); });
  expect_store_error([&] { knet::etcd::parse_commit(whole); });
  expect_store_error([&] { knet::etcd::parse_lease_answer(whole); });
  expect_store_error([&] { knet::etcd::parse_token(whole); });
  return 0;
}
