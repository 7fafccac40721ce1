// bpf(2) for the tunnels: maps, programs, their ids, and the trial run of a program. Descriptors are owned. Refusals are
// values: an Fd that is false, with errno as the kernel left it. Source: include/uapi/linux/bpf.h.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"

namespace knet::bpf {

struct MapShape {
  uint32_t type = 0;  // BPF_MAP_TYPE_*
  uint32_t key_bytes = 0;
  uint32_t value_bytes = 0;
  uint32_t entries = 0;
  uint32_t flags = 0;
  std::string_view name;  // at most 15 bytes
};

Fd make_map(const MapShape& shape);
/// Nothing if there is no such map any more, or it has another shape.
Fd open_map(uint32_t id, const MapShape& shape);
/// 0 if it can't be told.
uint32_t map_id(const Fd& map);
bool map_put(const Fd& map, const void* key, const void* value);
bool map_remove(const Fd& map, const void* key);
bool map_get(const Fd& map, const void* key, void* value);
/// The key after this one (null: the first). False at the end, with ENOENT, or on a refusal.
bool map_next(const Fd& map, const void* key, void* next);
/// A classifier (BPF_PROG_TYPE_SCHED_CLS). Where it is refused, `complaint` gets the verifier's last lines. `btf_files`: where
/// the kernel functions stand that it calls, by KernelCall::btf_file.
Fd load_classifier(std::span<const uint64_t> code, std::string_view name, std::string& complaint,
                   std::span<const int> btf_files = {});

/// What a program refers to.
struct ProgramInfo {
  uint32_t id = 0;
  std::string name;
  std::vector<uint32_t> maps;  // ids
};
/// False if there is no such program any more, or it may not be asked about.
bool program_info(uint32_t id, ProgramInfo& out);

Fd open_program(uint32_t id);
uint32_t program_id(const Fd& program);  // 0 if it can't be told
/// The program holds the map from now on, though its code does not name it (kernel 5.10).
bool bind_map(const Fd& program, const Fd& map);

/// Classifiers on a device's ingress by tcx (kernel 6.6): without a qdisc, whose coming and going loses packets of the
/// device's other traffic. They stay until they are detached. False with EINVAL where the kernel has no tcx.
bool ingress_programs(int index, std::vector<uint32_t>& ids);
/// In the place of another one (or, if that is false, behind all).
bool attach_ingress(int index, const Fd& program, const Fd& instead);
bool detach_ingress(int index, const Fd& program);

/// Runs a classifier once on an Ethernet frame. False where the kernel refuses to.
struct Trial {
  uint32_t verdict = 0;
  std::string frame;  // after it
};
bool try_program(const Fd& program, std::string_view frame, Trial& out);

/// A module's BTF, by which a program that calls its functions is loaded (kernel 5.11). False with ENOENT if there is
/// none, as where it is built in.
Fd open_module_btf(std::string_view module);

/// CPUs that there may be: a per-CPU map has a value for each.
uint32_t possible_cpus();

}  // namespace knet::bpf
