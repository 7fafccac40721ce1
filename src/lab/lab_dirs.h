// Where labs are kept: one directory each below /run/knet-lab (root), $XDG_RUNTIME_DIR/knet-lab or /tmp/knet-lab-<uid>.
// Reads and writes lab.json. Never follows a directory that somebody else owns.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "lab/lab.h"

namespace knet {

/// Whether this process may make network namespaces as it is (CAP_SYS_ADMIN in the first user namespace's sense).
bool can_make_namespaces();

std::filesystem::path labs_dir();
std::filesystem::path lab_dir(const std::string& name);

/// Makes a lab's directory and locks it. Throws Error{conflict} if there is one: a lab of that name is up or was left.
Fd make_lab_dir(const std::string& name);
/// One command at a time changes a lab; released when the Fd closes. -1 if there is no such lab.
Fd lock_lab(const std::string& name);
/// Removes the labs' common directory once it is empty.
void tidy_labs_dir();

std::optional<Lab> load_lab(const std::string& name);
/// Throws Error{usage} "no lab 'x' is up; there are: ..." with the way to start one.
Lab get_lab(const std::string& name);
void save_lab(const Lab& lab);
/// Directories below labs_dir(), sorted; also those whose lab.json is missing or damaged.
std::vector<std::string> lab_names();

/// The lab whose node has this run dir, and that node's name: how a command that runs inside a lab knows it.
struct LabPlace {
  Lab lab;
  std::string node;
};
std::optional<LabPlace> lab_of(const std::filesystem::path& run_dir);

}  // namespace knet
