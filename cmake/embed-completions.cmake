# SCRIPTS (completions/knet.<shell>) -> OUTPUT, a .cpp with their bytes.
# Bytes rather than a raw literal: no delimiter can clash with what a script contains.
set(functions "")
set(branches "")
foreach(script IN LISTS SCRIPTS)
  get_filename_component(shell ${script} LAST_EXT)
  string(SUBSTRING ${shell} 1 -1 shell)
  file(READ ${script} hex HEX)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "\\\\x\\1" bytes "${hex}")
  # Literals of 32 bytes side by side: \x would swallow a following hex digit, but each byte is escaped.
  string(REPEAT "\\\\x[0-9a-f][0-9a-f]" 32 line)
  string(REGEX REPLACE "(${line})" "\\1\"\n    \"" bytes "${bytes}")
  string(APPEND functions "constexpr std::string_view k_${shell} =\n    \"${bytes}\"sv;\n")
  string(APPEND branches "  if (shell == \"${shell}\") return k_${shell};\n")
endforeach()
file(WRITE ${OUTPUT}
"// Written by CMake from completions/.
#include \"completions.h\"

namespace knet {
namespace {

using namespace std::literals;

${functions}
}  // namespace

std::string_view completion_script([[maybe_unused]] std::string_view shell) {
${branches}  return {};
}

}  // namespace knet
")
