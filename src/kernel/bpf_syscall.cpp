#include "kernel/bpf_syscall.h"

#include <errno.h>
#include <linux/bpf.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"

namespace knet::bpf {

namespace {

constexpr size_t kFrameRoom = 512;
constexpr uint32_t kTcxIngress = 46;  // BPF_TCX_INGRESS, younger than the headers that we are built with
constexpr size_t kMostPrograms = 64;  // BPF_MPROG_MAX

class Call {
 public:
  Call() { memset(&attr, 0, sizeof attr); }  // padding too: the kernel wants what it does not know to be zero
  int make(bpf_cmd command) { return static_cast<int>(syscall(SYS_bpf, command, &attr, sizeof attr)); }
  bpf_attr attr;
};

uint64_t address(const void* at) { return reinterpret_cast<uint64_t>(at); }

template <size_t kSize>
void set_name(char (&to)[kSize], std::string_view name) {
  memcpy(to, name.data(), std::min(name.size(), kSize - 1));
}

bool map_call(bpf_cmd command, const Fd& map, const void* key, const void* value) {
  Call call;
  call.attr.map_fd = static_cast<uint32_t>(map.get());
  call.attr.key = address(key);
  call.attr.value = address(value);  // and next_key
  return call.make(command) == 0;
}

template <typename Info>
bool info_of(const Fd& fd, Info& info) {
  Call call;
  call.attr.info.bpf_fd = static_cast<uint32_t>(fd.get());
  call.attr.info.info_len = sizeof info;
  call.attr.info.info = address(&info);
  return fd && call.make(BPF_OBJ_GET_INFO_BY_FD) == 0;
}

Fd by_id(bpf_cmd command, uint32_t id) {
  Call call;
  call.attr.prog_id = id;  // and map_id, btf_id
  return Fd(call.make(command));
}

/// Before 5.11 maps and programs count as locked memory.
template <typename Make>
int make_despite_memlock(Make make) {
  int fd = make();
  rlimit limit{};
  if (fd >= 0 || errno != EPERM || getrlimit(RLIMIT_MEMLOCK, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY) return fd;
  const rlimit all{RLIM_INFINITY, RLIM_INFINITY};
  if (setrlimit(RLIMIT_MEMLOCK, &all) == 0) fd = make();
  const int error = errno;
  setrlimit(RLIMIT_MEMLOCK, &limit);
  errno = error;
  return fd;
}

/// The verifier's text ends with what it refused, and some figures.
std::string last_lines(const std::vector<char>& log) {
  std::string_view text = trim(std::string_view(log.data()));
  size_t at = text.size();
  for (int lines = 0; lines < 3 && at != std::string_view::npos && at != 0; ++lines) at = text.rfind('\n', at - 1);
  std::string out(at == std::string_view::npos || at == 0 ? text : text.substr(at + 1));
  for (char& c : out)
    if (c == '\n') c = ';';
  return out;
}

}  // namespace

Fd make_map(const MapShape& shape) {
  return Fd(make_despite_memlock([&] {
    Call call;
    call.attr.map_type = shape.type;
    call.attr.key_size = shape.key_bytes;
    call.attr.value_size = shape.value_bytes;
    call.attr.max_entries = shape.entries;
    call.attr.map_flags = shape.flags;
    set_name(call.attr.map_name, shape.name);
    return call.make(BPF_MAP_CREATE);
  }));
}

Fd open_map(uint32_t id, const MapShape& shape) {
  Fd map = by_id(BPF_MAP_GET_FD_BY_ID, id);
  bpf_map_info info{};
  if (!info_of(map, info) || info.type != shape.type || info.key_size != shape.key_bytes ||
      info.value_size != shape.value_bytes || info.map_flags != shape.flags ||
      std::string_view(info.name, strnlen(info.name, sizeof info.name)) != shape.name)
    return {};
  return map;
}

uint32_t map_id(const Fd& map) {
  bpf_map_info info{};
  return info_of(map, info) ? info.id : 0;
}

bool map_put(const Fd& map, const void* key, const void* value) {
  return map_call(BPF_MAP_UPDATE_ELEM, map, key, value);
}
bool map_remove(const Fd& map, const void* key) { return map_call(BPF_MAP_DELETE_ELEM, map, key, nullptr); }
bool map_get(const Fd& map, const void* key, void* value) { return map_call(BPF_MAP_LOOKUP_ELEM, map, key, value); }
bool map_next(const Fd& map, const void* key, void* next) { return map_call(BPF_MAP_GET_NEXT_KEY, map, key, next); }

Fd load_classifier(std::span<const uint64_t> code, std::string_view name, std::string& complaint,
                   std::span<const int> btf_files) {
  std::vector<char> log;
  auto load = [&] {
    Call call;
    call.attr.prog_type = BPF_PROG_TYPE_SCHED_CLS;
    call.attr.insns = address(code.data());
    call.attr.insn_cnt = static_cast<uint32_t>(code.size());
    call.attr.license = address("GPL");  // as tunnel.c says: Apache-2.0 OR GPL-2.0-only
    set_name(call.attr.prog_name, name);
    if (!btf_files.empty()) call.attr.fd_array = address(btf_files.data());
    if (!log.empty()) {
      call.attr.log_level = 1;
      call.attr.log_buf = address(log.data());
      call.attr.log_size = static_cast<uint32_t>(log.size());
    }
    return call.make(BPF_PROG_LOAD);
  };
  Fd program(make_despite_memlock(load));
  if (program) return program;
  const int error = errno;
  complaint = "BPF_PROG_LOAD: " + errno_text(error);
  if (error == EPERM) {
    complaint += " (unprivileged user namespace?)";
  } else {
    // Asked for only now: it slows the verifier.
    log.resize(1 << 20);
    if (Fd again{load()}) return again;
    if (std::string lines = last_lines(log); !lines.empty()) complaint += ": " + lines;
  }
  errno = error;
  return {};
}

bool program_info(uint32_t id, ProgramInfo& out) {
  Fd program = by_id(BPF_PROG_GET_FD_BY_ID, id);
  bpf_prog_info info{};
  uint32_t maps[16];
  info.nr_map_ids = std::size(maps);
  info.map_ids = address(maps);
  if (!info_of(program, info)) return false;
  out.id = info.id;
  out.name.assign(info.name, strnlen(info.name, sizeof info.name));
  out.maps.assign(maps, maps + std::min<size_t>(info.nr_map_ids, std::size(maps)));
  return true;
}

uint32_t program_id(const Fd& program) {
  bpf_prog_info info{};
  return info_of(program, info) ? info.id : 0;
}

Fd open_program(uint32_t id) { return by_id(BPF_PROG_GET_FD_BY_ID, id); }

bool bind_map(const Fd& program, const Fd& map) {
  Call call;
  call.attr.prog_bind_map.prog_fd = static_cast<uint32_t>(program.get());
  call.attr.prog_bind_map.map_fd = static_cast<uint32_t>(map.get());
  return call.make(BPF_PROG_BIND_MAP) == 0;
}

bool ingress_programs(int index, std::vector<uint32_t>& ids) {
  ids.resize(kMostPrograms);
  Call call;
  call.attr.query.target_fd = static_cast<uint32_t>(index);
  call.attr.query.attach_type = kTcxIngress;
  call.attr.query.prog_ids = address(ids.data());
  call.attr.query.prog_cnt = kMostPrograms;
  const bool asked = call.make(BPF_PROG_QUERY) == 0;
  ids.resize(asked ? std::min<size_t>(call.attr.query.prog_cnt, kMostPrograms) : 0);
  return asked || errno == ENOENT;  // none was ever attached
}

bool attach_ingress(int index, const Fd& program, const Fd& instead) {
  Call call;
  call.attr.target_fd = static_cast<uint32_t>(index);
  call.attr.attach_bpf_fd = static_cast<uint32_t>(program.get());
  call.attr.attach_type = kTcxIngress;
  if (instead) {
    call.attr.attach_flags = BPF_F_REPLACE;
    call.attr.replace_bpf_fd = static_cast<uint32_t>(instead.get());
  }
  return call.make(BPF_PROG_ATTACH) == 0;
}

bool detach_ingress(int index, const Fd& program) {
  Call call;
  call.attr.target_fd = static_cast<uint32_t>(index);
  call.attr.attach_bpf_fd = static_cast<uint32_t>(program.get());
  call.attr.attach_type = kTcxIngress;
  return call.make(BPF_PROG_DETACH) == 0;
}

bool try_program(const Fd& program, std::string_view frame, Trial& out) {
  char room[kFrameRoom];
  Call call;
  call.attr.test.prog_fd = static_cast<uint32_t>(program.get());
  call.attr.test.data_in = address(frame.data());
  call.attr.test.data_size_in = static_cast<uint32_t>(frame.size());
  call.attr.test.data_out = address(room);
  call.attr.test.data_size_out = sizeof room;
  call.attr.test.repeat = 1;
  if (call.make(BPF_PROG_TEST_RUN) < 0) return false;
  out.verdict = call.attr.test.retval;
  out.frame.assign(room, std::min<size_t>(call.attr.test.data_size_out, sizeof room));
  return true;
}

Fd open_module_btf(std::string_view module) {
  for (uint32_t id = 0;;) {
    Call call;
    call.attr.start_id = id;
    if (call.make(BPF_BTF_GET_NEXT_ID) < 0) return {};  // ENOENT behind the last
    id = call.attr.next_id;
    Fd btf = by_id(BPF_BTF_GET_FD_BY_ID, id);
    if (!btf && errno != ENOENT) return {};  // else it went away just now
    char name[64] = {};                      // a module's has less
    bpf_btf_info info{};
    info.name = address(name);
    info.name_len = sizeof name;
    if (info_of(btf, info) && info.kernel_btf && std::string_view(name, strnlen(name, sizeof name)) == module)
      return btf;
  }
}

uint32_t possible_cpus() {
  // "0-3" or "0,2-5": values are there up to the last one.
  const auto text = read_file("/sys/devices/system/cpu/possible", 4096);
  if (!text) return static_cast<uint32_t>(sysconf(_SC_NPROCESSORS_CONF));
  std::string_view line = trim(*text);
  const size_t at = line.find_last_of(",-");
  return static_cast<uint32_t>(strtoul(line.substr(at == std::string_view::npos ? 0 : at + 1).data(), nullptr, 10)) + 1;
}

}  // namespace knet::bpf
