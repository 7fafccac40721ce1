#include "kernel/btf.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/btf.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/error.h"

namespace knet::bpf {

namespace {

constexpr size_t kPiece = 16 << 10;           // sysfs gives a page at a time, whatever is asked for
constexpr uint64_t kLongestName = 512;        // KSYM_NAME_LEN
constexpr uint32_t kMostMembers = 4096;       // of a type that is kept; task_struct has 300
constexpr uint32_t kUnusedInfo = 0x60ff0000;  // a kernel that uses them counts or names in another way

[[noreturn]] void malformed(std::string_view what) {
  fail(ErrorKind::unsupported, "what this kernel tells of its types (BTF) is malformed: {}", what);
}

/// A part of a file, read once from its begin to its end.
class Part {
 public:
  Part(const Fd& fd, uint64_t at, uint64_t bytes) : fd_(fd.get()), at_(at), left_(bytes) {
    room_.resize(std::min<uint64_t>(bytes, kPiece));
  }
  bool at_end() const { return begin_ == end_ && left_ == 0; }

  template <typename T>
  T take() {
    while (end_ - begin_ < sizeof(T)) fill();
    T out;
    memcpy(&out, room_.data() + begin_, sizeof out);
    begin_ += sizeof out;
    return out;
  }

  void skip(uint64_t bytes) {
    const uint64_t held = std::min<uint64_t>(bytes, end_ - begin_);
    begin_ += held;
    bytes -= held;
    if (bytes > left_) malformed("a section ends too soon");
    at_ += bytes;
    left_ -= bytes;
  }

  /// Up to the next NUL; good until the next call.
  std::string_view take_name() {
    for (size_t seen = 0;;) {
      const char* const from = room_.data() + begin_;
      const size_t held = end_ - begin_;
      const void* const nul = held > seen ? memchr(from + seen, 0, held - seen) : nullptr;
      if (nul) {
        const std::string_view name(from, static_cast<size_t>(static_cast<const char*>(nul) - from));
        begin_ += name.size() + 1;
        return name;
      }
      seen = held;
      fill();
    }
  }

 private:
  /// At least one byte more.
  void fill() {
    if (left_ == 0) malformed("a section ends too soon");
    std::copy(room_.data() + begin_, room_.data() + end_, room_.data());
    end_ -= std::exchange(begin_, 0);
    if (end_ == room_.size()) malformed("a name is too long");
    ssize_t got;
    do got = pread(fd_, room_.data() + end_, std::min<uint64_t>(left_, room_.size() - end_), static_cast<off_t>(at_));
    while (got < 0 && errno == EINTR);
    if (got < 0) fail(ErrorKind::unsupported, "what this kernel tells of its types (BTF): {}", errno_text(errno));
    if (got == 0) malformed("the file ends too soon");
    end_ += static_cast<size_t>(got);
    at_ += static_cast<uint64_t>(got);
    left_ -= static_cast<uint64_t>(got);
  }

  int fd_;
  uint64_t at_;    // what is read next
  uint64_t left_;  // of the part, behind at_
  std::vector<char> room_;
  size_t begin_ = 0, end_ = 0;  // what is read and not taken
};

/// What follows a record's first twelve bytes.
uint64_t bytes_behind(uint32_t kind, uint64_t count) {
  switch (kind) {
    case BTF_KIND_INT:
      return sizeof(uint32_t);
    case BTF_KIND_ARRAY:
      return sizeof(btf_array);
    case BTF_KIND_STRUCT:
    case BTF_KIND_UNION:
      return count * sizeof(btf_member);
    case BTF_KIND_ENUM:
      return count * sizeof(btf_enum);
    case BTF_KIND_ENUM64:
      return count * sizeof(btf_enum64);
    case BTF_KIND_FUNC_PROTO:
      return count * sizeof(btf_param);
    case BTF_KIND_VAR:
      return sizeof(btf_var);
    case BTF_KIND_DATASEC:
      return count * sizeof(btf_var_secinfo);
    case BTF_KIND_DECL_TAG:
      return sizeof(btf_decl_tag);
    case BTF_KIND_PTR:
    case BTF_KIND_FWD:
    case BTF_KIND_TYPEDEF:
    case BTF_KIND_VOLATILE:
    case BTF_KIND_CONST:
    case BTF_KIND_RESTRICT:
    case BTF_KIND_FUNC:
    case BTF_KIND_FLOAT:
    case BTF_KIND_TYPE_TAG:
      return 0;
    default:
      malformed(fmt::format("type of unknown kind {}", kind));
  }
}

}  // namespace

/// Reads vmlinux's file, then a module's: its BTF is split, ids and offsets of strings go on where vmlinux's end.
class BtfReader {
 public:
  BtfReader(Names functions, Names types) : functions_(functions.begin(), functions.end()) {
    types_.assign(types.begin(), types.end());
  }

  void read(const Fd& fd, bool in_module) {
    struct stat info {};
    if (fstat(fd.get(), &info) < 0 || info.st_size <= 0) malformed("the file is empty");
    const auto size = static_cast<uint64_t>(info.st_size);
    const auto header = Part(fd, 0, size).take<btf_header>();
    if (header.magic != BTF_MAGIC || header.version != BTF_VERSION || header.hdr_len < sizeof header)
      malformed("the header is of another format");
    const uint64_t types_at = uint64_t{header.hdr_len} + header.type_off;
    const uint64_t strings_at = uint64_t{header.hdr_len} + header.str_off;
    if (types_at + header.type_len > size || strings_at + header.str_len > size)
      malformed("a section lies outside of the file");
    strings_.push_back({&fd, strings_at, strings_end_, strings_end_ + header.str_len});
    find_names(strings_.back());
    for (Part types(fd, types_at, header.type_len); !types.at_end(); ++next_id_) read_type(types, in_module);
  }

  bool found_all() const {
    return found_.functions_.size() + found_.types_.size() == functions_.size() + types_.size();
  }
  KernelTypes take() { return std::move(found_); }

 private:
  struct Wanted {
    Wanted(std::string_view name) : name(name) {}
    bool is_at(uint32_t offset) const { return std::find(offsets.begin(), offsets.end(), offset) != offsets.end(); }

    std::string_view name;
    std::vector<uint64_t> offsets;  // one for each file that has it
  };
  struct Strings {
    const Fd* fd;
    uint64_t at;  // in the file
    uint64_t begin, end;
  };

  void find_names(const Strings& strings) {
    std::vector<Wanted*> missing;
    for (auto* list : {&functions_, &types_})
      for (Wanted& wanted : *list) missing.push_back(&wanted);
    strings_end_ = strings.begin;
    for (Part part(*strings.fd, strings.at, strings.end - strings.begin); !part.at_end();) {
      const std::string_view name = part.take_name();
      std::erase_if(missing, [&](Wanted* wanted) {
        if (name.empty() || wanted->name != name) return false;
        wanted->offsets.push_back(strings_end_);
        return true;
      });
      strings_end_ += name.size() + 1;
    }
  }

  void read_type(Part& part, bool in_module) {
    const auto type = part.take<btf_type>();
    const uint32_t kind = BTF_INFO_KIND(type.info);
    const uint32_t count = BTF_INFO_VLEN(type.info);
    if (type.info & kUnusedInfo) malformed("a type's information has unknown bits");
    if (type.name_off != 0 && type.name_off >= strings_end_) malformed("a name lies outside of the strings");
    uint64_t behind = bytes_behind(kind, count);
    if (kind == BTF_KIND_FUNC) {
      for (const Wanted& wanted : functions_)
        if (wanted.is_at(type.name_off))
          found_.functions_.try_emplace(std::string(wanted.name), KernelFunction{next_id_, in_module});
    } else if (kind == BTF_KIND_STRUCT || kind == BTF_KIND_UNION) {
      for (const Wanted& wanted : types_)
        if (wanted.is_at(type.name_off) && !found_.types_.contains(wanted.name)) {
          found_.types_.emplace(wanted.name, read_members(part, count, BTF_INFO_KFLAG(type.info)));
          behind = 0;
        }
    }
    part.skip(behind);
  }

  KernelTypes::Members read_members(Part& part, uint32_t count, bool sizes) {
    if (count > kMostMembers) malformed("a type has too many members");
    KernelTypes::Members out;
    for (; count != 0; --count) {
      const auto member = part.take<btf_member>();
      const uint32_t bits = sizes ? BTF_MEMBER_BIT_OFFSET(member.offset) : member.offset;
      const bool is_field = (sizes && BTF_MEMBER_BITFIELD_SIZE(member.offset) != 0) || bits % 8 != 0;
      if (member.name_off != 0 && !is_field) out.try_emplace(name_at(member.name_off), bits / 8);
    }
    return out;
  }

  std::string name_at(uint32_t offset) const {
    for (const Strings& in : strings_)
      if (offset >= in.begin && offset < in.end) {
        const uint64_t skipped = offset - in.begin;
        return std::string(Part(*in.fd, in.at + skipped, std::min(in.end - offset, kLongestName)).take_name());
      }
    malformed("a name lies outside of the strings");
  }

  std::vector<Wanted> functions_, types_;
  std::vector<Strings> strings_;  // of the files, as their offsets follow one another
  uint64_t strings_end_ = 0;
  uint32_t next_id_ = 1;
  KernelTypes found_;
};

std::optional<KernelFunction> KernelTypes::function(std::string_view name) const {
  const auto it = functions_.find(name);
  return it == functions_.end() ? std::nullopt : std::optional(it->second);
}

std::optional<uint32_t> KernelTypes::offset(std::string_view type, std::string_view member) const {
  const auto it = types_.find(type);
  if (it == types_.end()) return {};
  const auto at = it->second.find(member);
  return at == it->second.end() ? std::nullopt : std::optional(at->second);
}

KernelTypes read_kernel_types(const Fd& vmlinux, const Fd& module, Names functions, Names types) {
  BtfReader reader(functions, types);
  reader.read(vmlinux, false);
  if (module && !reader.found_all()) reader.read(module, true);
  return reader.take();
}

KernelTypes read_kernel_types(std::string_view module, Names functions, Names types, const std::filesystem::path& dir) {
  auto open_btf = [&](std::string_view name) { return Fd(open((dir / name).c_str(), O_RDONLY | O_CLOEXEC)); };
  const Fd vmlinux = open_btf("vmlinux");
  if (!vmlinux)
    fail(ErrorKind::unsupported, "this kernel tells nothing of its types ({}): {}", (dir / "vmlinux").string(),
         errno_text(errno));
  return read_kernel_types(vmlinux, open_btf(module), functions, types);
}

}  // namespace knet::bpf
