#include "base/json.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"

namespace knet {
namespace {

constexpr int kDeepest = 64;
constexpr size_t kReasonLimit = 160;

/// nlohmann's text without "[json.exception.parse_error.101] parse error at line 1, column 5: ".
std::string_view reason(std::string_view text) {
  if (const size_t at = text.find("] "); at != std::string_view::npos) text.remove_prefix(at + 2);
  if (text.starts_with("parse error")) {
    if (const size_t at = text.find(": "); at != std::string_view::npos) text.remove_prefix(at + 2);
  }
  return text;
}

}  // namespace

nlohmann::json parse_json(std::string_view text, std::string_view what) {
  using Json = nlohmann::json;
  const auto check_depth = [&](int depth, Json::parse_event_t event, Json&) {
    const bool opens =
        event == Json::parse_event_t::object_start || event == Json::parse_event_t::array_start;
    if (opens && depth >= kDeepest) {
      fail(ErrorKind::config, "{}: JSON nested deeper than {} levels", what, kDeepest);
    }
    return true;
  };
  try {
    return Json::parse(text, check_depth);
  } catch (const Json::parse_error& error) {
    fail(ErrorKind::config, "{}: not JSON at byte {}: {}", what, error.byte,
         printable(reason(error.what()), kReasonLimit));
  } catch (const Json::exception& error) {
    fail(ErrorKind::config, "{}: not JSON that can be read: {}", what,
         printable(reason(error.what()), kReasonLimit));
  }
}

}  // namespace knet
