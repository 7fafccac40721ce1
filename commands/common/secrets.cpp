#include "commands/common/secrets.h"

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "core/mode.h"

namespace knet {
namespace {

constexpr size_t kMostBytes = 64u << 10;

}  // namespace

std::vector<std::string> read_secrets(std::vector<std::string> words, const std::string& flag) {
  for (std::string& word : words) {
    const size_t equals = word.find('=');
    if (equals == std::string::npos) continue;
    const std::string key = word.substr(0, equals), value = word.substr(equals + 1);
    const std::string name = lower(key).starts_with("backend.") ? key.substr(8) : key;
    if (value.empty() || !is_secret_option(name, mode_registry())) continue;
    const std::string what = flag.empty() ? key : flag + " " + key;
    if (value[0] != '@')
      fail(ErrorKind::usage, "{}: a secret on a command line is seen by everybody; put it into a file and give {}=@FILE",
           what, key);
    const std::string file = value.substr(1);
    const auto text = read_file(file, kMostBytes);
    if (!text) fail(ErrorKind::usage, "{}: {}: no such file", what, printable(file));
    word = key + "=" + std::string(trim(*text));
  }
  return words;
}

}  // namespace knet
