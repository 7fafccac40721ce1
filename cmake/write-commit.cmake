# Writes OUTPUT only if the commit changed, so that a build without news compiles nothing.
set(commit "")
if(EXISTS ${SOURCE_DIR}/.git)
  execute_process(COMMAND git -C ${SOURCE_DIR} describe --tags --long --match v[0-9]*
    OUTPUT_VARIABLE commit RESULT_VARIABLE failed OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  if(failed)
    execute_process(COMMAND git -C ${SOURCE_DIR} rev-parse --short=8 HEAD
      OUTPUT_VARIABLE commit RESULT_VARIABLE failed OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
    if(failed)
      set(commit "")
    else()
      string(PREPEND commit g)
    endif()
  endif()
endif()
file(CONFIGURE OUTPUT ${OUTPUT} @ONLY CONTENT
"// Written by CMake.
#include \"base/version.h\"

namespace knet {

std::string_view build_commit() { return \"${commit}\"; }

}  // namespace knet
")
