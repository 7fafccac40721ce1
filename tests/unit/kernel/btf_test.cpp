// BTF of the kernel at hand, and of files that no kernel would write.
#include "kernel/btf.h"

#include <errno.h>
#include <linux/btf.h>

#include <catch2/catch.hpp>
#include <fstream>

#include "base/error.h"
#include "kernel/bpf_syscall.h"
#include "tests/unit/agent/temporary.h"

using namespace knet;
using namespace knet::bpf;
using namespace knet::test;

namespace {

constexpr uint32_t kField = 1u << 31;  // kind_flag

/// Writes a file of BTF; a split one goes on where `base` ends.
struct Btf {
  explicit Btf(const Btf* base = nullptr) : strings_from(base ? base->strings_from + base->strings.size() : 0) {
    if (!base) strings.push_back('\0');
  }
  uint32_t name(const std::string& text) {
    const size_t at = strings_from + strings.size();
    strings += text + '\0';
    return static_cast<uint32_t>(at);
  }
  void words(std::initializer_list<uint32_t> list) {
    for (uint32_t word : list) types.append(reinterpret_cast<const char*>(&word), sizeof word);
  }
  void type(uint32_t name, uint32_t kind, uint32_t count = 0, std::initializer_list<uint32_t> rest = {}) {
    words({name, kind << 24 | count, 0});
    words(rest);
  }
  std::string bytes() const {
    btf_header header{BTF_MAGIC, BTF_VERSION, 0, sizeof header, 0, 0, 0, 0};
    header.type_len = header.str_off = static_cast<uint32_t>(types.size());
    header.str_len = static_cast<uint32_t>(strings.size());
    return std::string(reinterpret_cast<const char*>(&header), sizeof header) + types + strings;
  }

  size_t strings_from;
  std::string types, strings;
};

constexpr std::string_view kFunctions[] = {"call_me", "call_other"};
constexpr std::string_view kTypes[] = {"thing", "other"};

struct Folder {
  Temporary dir;
  void write(const char* name, const std::string& bytes) {
    std::ofstream(dir.path() / name, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }
  KernelTypes read() { return read_kernel_types("module", kFunctions, kTypes, dir.path()); }
  std::string complaint() {
    try {
      read();
    } catch (const Error& error) {
      CHECK(error.kind == ErrorKind::unsupported);
      return error.text;
    }
    return {};
  }
};

/// A type of each kind, and at the end what is wanted.
Btf all_kinds() {
  Btf btf;
  const uint32_t a = btf.name("a"), b = btf.name("b"), call = btf.name("call_me"), thing = btf.name("thing");
  btf.type(a, BTF_KIND_INT, 0, {32});
  btf.type(0, BTF_KIND_PTR);
  btf.type(0, BTF_KIND_ARRAY, 0, {1, 1, 4});
  btf.type(b, BTF_KIND_UNION, 1, {a, 1, 0});
  btf.type(b, BTF_KIND_ENUM, 2, {a, 0, b, 1});
  btf.type(thing, BTF_KIND_FWD);
  for (uint32_t kind : {BTF_KIND_TYPEDEF, BTF_KIND_VOLATILE, BTF_KIND_CONST, BTF_KIND_RESTRICT}) btf.type(0, kind);
  btf.type(0, BTF_KIND_FUNC_PROTO, 1, {a, 1});
  btf.type(call, BTF_KIND_VAR, 0, {1});
  btf.type(a, BTF_KIND_DATASEC, 1, {12, 0, 4});
  btf.type(a, BTF_KIND_FLOAT);
  btf.type(call, BTF_KIND_DECL_TAG, 0, {0});
  btf.type(a, BTF_KIND_TYPE_TAG);
  btf.type(b, BTF_KIND_ENUM64, 1, {a, 0, 0});
  btf.type(call, BTF_KIND_FUNC);  // 18
  return btf;
}

}  // namespace

TEST_CASE("the running kernel's functions and members are found") {
  if (!std::filesystem::exists("/sys/kernel/btf/vmlinux")) {
    WARN("skip: no /sys/kernel/btf/vmlinux");
    return;
  }
  const std::string_view functions[] = {"bpf_skb_ct_lookup", "bpf_ct_release", "knet_no_such"};
  const std::string_view types[] = {"sk_buff", "nf_conn", "nf_conntrack_proto", "ip_ct_tcp", "knet_no_such"};
  const KernelTypes found = read_kernel_types("nf_conntrack", functions, types);
  CHECK(found.offset("sk_buff", "len").value_or(0) > 0);
  CHECK(found.offset("sk_buff", "data").value_or(0) > *found.offset("sk_buff", "len"));
  CHECK(!found.offset("sk_buff", "knet_no_such"));
  CHECK(!found.offset("knet_no_such", "len"));
  CHECK(!found.offset("net_device", "mtu"));  // not asked for
  CHECK(!found.function("knet_no_such"));
  if (!found.function("bpf_skb_ct_lookup") || !found.offset("nf_conn", "status")) {
    WARN("skip: this kernel's conntrack is not there, or offers no functions");
    return;
  }
  CHECK(found.function("bpf_skb_ct_lookup")->id > 0);
  CHECK(found.function("bpf_ct_release")->id != found.function("bpf_skb_ct_lookup")->id);
  CHECK(found.offset("nf_conn", "proto").value_or(0) > *found.offset("nf_conn", "status"));
  CHECK(found.offset("nf_conntrack_proto", "tcp") == 0u);
  CHECK(found.offset("ip_ct_tcp", "state").value_or(0) > 0);
  const bool split = found.function("bpf_ct_release")->in_module;
  const Fd btf = open_module_btf("nf_conntrack");
  const int error = errno;
  if (!btf && error == EPERM) return;
  CHECK(bool(btf) == split);
  if (!split) CHECK(error == ENOENT);
}

TEST_CASE("a module's BTF goes by its name") {
  const Fd none = open_module_btf("knet_no_such");
  const int error = errno;
  CHECK(!none);
  if (error != ENOENT) {
    WARN("skip: " << errno_text(error));
    return;
  }
  if (std::filesystem::exists("/sys/kernel/btf/vmlinux")) CHECK(open_module_btf("vmlinux"));
}

TEST_CASE("records of all kinds are passed, in one file or split over two") {
  Folder folder;
  Btf base = all_kinds();
  const uint32_t x = base.name("x"), y = base.name("y"), z = base.name("z"), other = base.name("other");
  base.type(other, BTF_KIND_STRUCT, 3, {x, 1, 0, y, 1, 64, z, 1, 3});  // 19
  base.type(other, BTF_KIND_STRUCT, 1, {x, 1, 32});                    // 20
  folder.write("vmlinux", base.bytes());

  KernelTypes found = folder.read();
  REQUIRE(found.function("call_me"));
  CHECK(found.function("call_me")->id == 18);
  CHECK(!found.function("call_me")->in_module);
  CHECK(!found.function("call_other"));
  CHECK(found.offset("other", "x") == 0u);  // the first of the name
  CHECK(found.offset("other", "y") == 8u);
  CHECK(!found.offset("other", "z"));  // not at a byte
  CHECK(!found.offset("thing", "x"));  // only told of

  Btf module(&base);
  const uint32_t own = module.name("own"), call = module.name("call_other"), again = module.name("call_me");
  // "thing" is a string of the base: "\0a\0b\0call_me\0thing".
  const auto thing = static_cast<uint32_t>(base.strings.find("thing"));
  module.type(again, BTF_KIND_FUNC);                                                                            // 21
  module.type(thing, BTF_KIND_STRUCT | kField >> 24, 4, {x, 1, 8, y, 1, 3u << 24 | 16, own, 1, 32, 0, 1, 64});  // 22
  module.type(call, BTF_KIND_FUNC);                                                                             // 23
  folder.write("module", module.bytes());

  found = folder.read();
  CHECK(found.function("call_me")->id == 18);
  REQUIRE(found.function("call_other"));
  CHECK(found.function("call_other")->id == 23);
  CHECK(found.function("call_other")->in_module);
  CHECK(found.offset("thing", "x") == 1u);
  CHECK(!found.offset("thing", "y"));  // a bit field
  CHECK(found.offset("thing", "own") == 4u);
  CHECK(!found.offset("thing", ""));
  CHECK(found.offset("other", "y") == 8u);

  module.type(static_cast<uint32_t>(base.strings.size() + module.strings.size()), BTF_KIND_PTR);
  folder.write("module", module.bytes());
  CHECK_THAT(folder.complaint(), Catch::Contains("outside of the strings"));
}

TEST_CASE("records and names lie across pieces") {
  for (uint32_t shift = 0; shift < 8; ++shift) {
    Folder folder;
    Btf btf;
    for (uint32_t i = 0; i < 20'000; ++i) btf.name("filler" + std::to_string(i + (shift << 20)));
    const uint32_t thing = btf.name("thing"), call = btf.name("call_me"), member = btf.name("member");
    for (uint32_t i = 0; i < shift; ++i) btf.type(0, BTF_KIND_INT, 0, {32});
    for (uint32_t i = 0; i < 5'000; ++i) btf.type(0, BTF_KIND_ARRAY, 0, {1, 1, i});
    btf.words({thing, BTF_KIND_STRUCT << 24 | 3000u, 0});
    for (uint32_t i = 0; i < 3000; ++i) btf.words({i == 2999 ? member : 1 + i, 1, i * 8});
    btf.words({1, BTF_KIND_UNION << 24 | 0xffffu, 0});  // longer than a piece, not wanted
    for (uint32_t i = 0; i < 0xffff; ++i) btf.words({1, 1, 0});
    btf.type(call, BTF_KIND_FUNC);
    folder.write("vmlinux", btf.bytes());
    const KernelTypes found = folder.read();
    REQUIRE(found.function("call_me"));
    CHECK(found.function("call_me")->id == shift + 5'003);
    CHECK(found.offset("thing", "member") == 2999u);
  }
}

TEST_CASE("malformed BTF is said to be so") {
  Folder folder;
  CHECK_THAT(folder.complaint(),
             Catch::Contains("this kernel tells nothing of its types (" + folder.dir.path().string()));
  auto refused = [&](const std::string& bytes, const char* why) {
    folder.write("vmlinux", bytes);
    INFO(bytes.size());
    CHECK_THAT(folder.complaint(), Catch::Contains(why));
  };
  Btf good = all_kinds();
  good.type(static_cast<uint32_t>(good.strings.find("thing")), BTF_KIND_STRUCT, 1, {1, 1, 0});
  const std::string bytes = good.bytes();
  auto changed = [&](size_t at, char to) {
    std::string out = bytes;
    out[at] = to;
    return out;
  };
  folder.write("vmlinux", bytes);
  CHECK(folder.complaint().empty());

  for (size_t length = 0; length < bytes.size(); ++length) refused(bytes.substr(0, length), "malformed");
  refused(changed(0, 0), "of another format");  // magic
  refused(changed(2, 2), "of another format");  // version
  refused(changed(offsetof(btf_header, hdr_len), 8), "of another format");
  refused(changed(offsetof(btf_header, type_off) + 3, -1), "outside of the file");
  refused(changed(offsetof(btf_header, str_len) + 3, -1), "outside of the file");
  refused(changed(offsetof(btf_header, type_len), static_cast<char>(good.types.size() - 4)), "ends too soon");
  refused(changed(bytes.size() - 1, 'x'), "ends too soon");               // the last name has no end
  refused(changed(sizeof(btf_header) + 3, 1), "outside of the strings");  // the first type's name
  refused(changed(sizeof(btf_header) + 7, 0), "unknown kind 0");
  refused(changed(sizeof(btf_header) + 7, 20), "unknown kind 20");
  refused(changed(sizeof(btf_header) + 6, 1), "unknown bits");
  refused(changed(sizeof(btf_header) + good.types.size() - 9, 1), "outside of the strings");  // a member's name

  Btf members;
  const uint32_t thing = members.name("thing");
  members.words({thing, BTF_KIND_STRUCT << 24 | 0xffffu, 0});
  for (uint32_t i = 0; i < 0xffff; ++i) members.words({thing, 1, 0});
  refused(members.bytes(), "too many members");
  Btf longest;
  longest.name(std::string(100'000, 'x'));
  refused(longest.bytes(), "too long");
}
