// The URL grammar of --store, and which store it opens.
#include <algorithm>
#include <cstdlib>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "store/etcd_store.h"
#include "store/sqlite_store.h"
#include "store/store.h"

namespace knet {

namespace {

constexpr std::string_view kExamples = "give http://192.168.77.1:2379, a comma list of such, https:// with --cacert, or sqlite:///var/lib/knet/knet.db";
constexpr std::string_view kDefaultPort = "2379";

[[noreturn]] void refuse(std::string_view url, std::string_view why) {
  fail(ErrorKind::usage, "--store {}: {}; {}", printable(url), why, kExamples);
}

/// "http://host:port" of one endpoint; the port is 2379 if none is given.
std::string etcd_endpoint(std::string_view text) {
  size_t slashes = text.find("://");
  std::string scheme = lower(text.substr(0, slashes));
  std::string_view rest = slashes == std::string_view::npos ? text : text.substr(slashes + 3);
  // Before anything is printed: it may hold a password.
  if (rest.find('@') != std::string_view::npos) {
    std::string masked = (slashes == std::string_view::npos ? "" : scheme + "://") + "...@" + std::string(rest.substr(rest.rfind('@') + 1));
    refuse(masked, "a user and password do not belong into the URL, where everybody reads them; use --user and --password-file or KNET_STORE_PASSWORD");
  }
  if (slashes == std::string_view::npos) {
    if (text.starts_with('/')) refuse(text, "a file is written sqlite://" + std::string(text));
    refuse(text, "has no scheme; perhaps http://" + std::string(text));
  }
  if (scheme != "http" && scheme != "https") {
    std::vector<std::string> known{"http", "https", "sqlite"};
    std::optional<std::string> meant = nearest(scheme, known);
    refuse(text, "scheme " + scheme + " is not known" + (meant ? "; did you mean " + *meant + "?" : ""));
  }
  if (rest.ends_with('/')) rest.remove_suffix(1);
  if (rest.find_first_of("/?#") != std::string_view::npos) refuse(text, "an etcd's URL has no path");
  std::string_view host = rest, port = kDefaultPort;
  if (rest.starts_with('[')) {
    size_t close = rest.find(']');
    if (close == std::string_view::npos) refuse(text, "the bracket is not closed");
    host = rest.substr(0, close + 1);
    std::optional<IpAddr> ip = IpAddr::parse(rest.substr(1, close - 1));
    if (!ip || !ip->is_v6()) refuse(text, "what is in brackets is not an IPv6 address");
    rest.remove_prefix(close + 1);
    if (!rest.empty() && !rest.starts_with(':')) refuse(text, "after the bracket comes :PORT");
    if (!rest.empty()) port = rest.substr(1);
  } else if (size_t colon = rest.find(':'); colon != std::string_view::npos) {
    if (rest.find(':', colon + 1) != std::string_view::npos) refuse(text, "an IPv6 address is written in brackets: http://[fd00::1]:2379");
    host = rest.substr(0, colon);
    port = rest.substr(colon + 1);
  }
  auto plain = [](unsigned char c) { return std::isalnum(c) || c == '.' || c == '-' || c == '_' || c == '[' || c == ']' || c == ':'; };
  if (host.empty() || !std::all_of(host.begin(), host.end(), plain)) refuse(text, "the host is missing or not a name");
  std::optional<int64_t> number = parse_int(port);
  if (!number || *number < 1 || *number > 65535) refuse(text, "the port is not 1 to 65535");
  return scheme + "://" + std::string(host) + ":" + std::to_string(*number);
}

std::string password_of(const StoreOptions& options) {
  if (!options.password_file.empty()) {
    std::optional<std::string> text = read_file(options.password_file, 4096);
    if (!text) fail(ErrorKind::usage, "the password file {} does not exist", options.password_file);
    while (text->ends_with('\n') || text->ends_with('\r')) text->pop_back();
    return std::move(*text);
  }
  const char* given = std::getenv("KNET_STORE_PASSWORD");
  return given ? given : "";
}

std::unique_ptr<Store> open_sqlite(const StoreOptions& options, std::string_view path) {
  if (!path.starts_with('/')) refuse(options.url, "the path must be absolute: sqlite:///var/lib/knet/knet.db");
  if (path.ends_with('/')) refuse(options.url, "is a directory, not a file");
  if (path.find('\0') != std::string_view::npos) refuse(options.url, "the path holds a zero byte");
  if (!options.user.empty() || !options.cert_file.empty() || !options.key_file.empty() || !options.ca_file.empty())
    refuse(options.url, "an embedded store takes no user and no certificates");
  SqliteSettings settings;
  settings.path = path;
  settings.timeout = options.timeout;
  return std::make_unique<SqliteStore>(std::move(settings));
}

}  // namespace

std::unique_ptr<Store> open_store(const StoreOptions& options) {
  constexpr std::string_view kSqlite = "sqlite://";
  std::string_view url = trim(options.url);
  if (url.empty()) refuse(url, "is empty");
  if (options.timeout.count() <= 0) fail(ErrorKind::usage, "--timeout: give a time above 0, such as 5s");
  if (!options.prefix.starts_with('/') || options.prefix.ends_with('/') || options.prefix.find("//") != std::string::npos)
    fail(ErrorKind::usage, "--prefix {}: begins with / and does not end with it, as in /coreos.com/network", printable(options.prefix));
  if (url.starts_with(kSqlite)) return open_sqlite(options, url.substr(kSqlite.size()));

  EtcdSettings settings;
  std::set<std::string> once;
  for (std::string_view part : split(url, ',')) {
    if (trim(part).empty()) refuse(url.find('@') == std::string_view::npos ? url : "", "has an empty place in the list");
    std::string endpoint = etcd_endpoint(trim(part));
    if (once.insert(endpoint).second) settings.endpoints.push_back(std::move(endpoint));
  }
  bool secure = settings.endpoints.front().starts_with("https:");
  for (const std::string& endpoint : settings.endpoints)
    if (endpoint.starts_with("https:") != secure) refuse(join(settings.endpoints, ","), "mixes http and https");
  settings.tls = {options.cert_file, options.key_file, options.ca_file};
  if (options.cert_file.empty() != options.key_file.empty())
    fail(ErrorKind::usage, "--cert and --key go together; {} is missing", options.cert_file.empty() ? "--cert" : "--key");
  if (!secure && (!options.cert_file.empty() || !options.ca_file.empty()))
    refuse(join(settings.endpoints, ","), "certificates are of no use without https://");
  settings.user = options.user;
  if (!settings.user.empty()) {
    settings.password = password_of(options);
    if (settings.password.empty())
      fail(ErrorKind::usage, "--user {}: no password; give --password-file, or KNET_STORE_PASSWORD in the environment", printable(options.user));
  }
  settings.timeout = options.timeout;
  return std::make_unique<EtcdStore>(std::move(settings));
}

}  // namespace knet
