#include "agent/service.h"

#include <filesystem>

#include "base/error.h"
#include "base/process.h"
#include "base/text.h"

namespace knet {

bool systemd_runs() {
  std::error_code ignored;
  return std::filesystem::is_directory("/run/systemd/system", ignored);
}

std::string systemctl(const std::string& verb, const std::string& unit, bool now) {
  std::vector<std::string> words = {"systemctl", "--quiet", verb};
  if (now) words.push_back("--now");
  if (!unit.empty()) words.push_back(unit);
  try {
    const Finished done = run(words, {}, {}, std::chrono::seconds(120));
    if (done.status == 0) return "";
    return fmt::format("systemctl {}{}: {}", verb, unit.empty() ? "" : " " + unit, printable(trim(done.err), 400));
  } catch (const Error& error) {
    return error.text;
  }
}

bool service_active(const std::string& unit) { return systemctl("is-active", unit).empty(); }

}  // namespace knet
