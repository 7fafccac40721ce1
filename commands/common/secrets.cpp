#include "commands/common/secrets.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

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

std::string read_password_file(std::string_view flag, const std::string& file, std::vector<std::string>& notices) {
  constexpr size_t kMostOfMd5 = 80;  // TCP_MD5SIG_MAXKEYLEN
  std::string text;
  if (file == "-") {
    text = read_all(STDIN_FILENO, "stdin", kMostBytes);
  } else {
    const auto bytes = read_file(file, kMostBytes);
    if (!bytes) fail(ErrorKind::usage, "{} {}: no such file", flag, printable(file));
    text = *bytes;
    struct stat status {};
    if (::stat(file.c_str(), &status) == 0 && (status.st_mode & (S_IRWXG | S_IRWXO)) != 0)
      notices.push_back(fmt::format("others may read {}; chmod 0600 {}", printable(file), printable(file)));
  }
  while (text.ends_with('\n') || text.ends_with('\r')) text.pop_back();
  if (text.empty()) fail(ErrorKind::usage, "{} {}: there is no password in it", flag, printable(file));
  if (text.size() > kMostOfMd5)
    fail(ErrorKind::usage, "{} {}: a password has {} bytes at most, this one has {}", flag, printable(file), kMostOfMd5, text.size());
  if (std::any_of(text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }))
    fail(ErrorKind::usage, "{} {}: a password is one line of printable text", flag, printable(file));
  return text;
}

std::string shown_password(const std::string& password) { return password.empty() ? "none" : "(hidden)"; }

}  // namespace knet
