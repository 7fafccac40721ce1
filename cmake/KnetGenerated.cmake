# Sources made from the tree: version, the tables of commands and modes, the completions.

# base/version.h: the release from project(VERSION), the commit from git where there is one.
# The commit is looked up in each build, and only version.cpp is compiled again when it moved.
function(knet_generate_version target)
  set(source ${KNET_GENERATED}/version.cpp)
  configure_file(${PROJECT_SOURCE_DIR}/cmake/version.h.in ${KNET_GENERATED}/base/version.h @ONLY)
  add_custom_target(knet_commit
    COMMAND ${CMAKE_COMMAND} -D SOURCE_DIR=${PROJECT_SOURCE_DIR} -D OUTPUT=${source}
            -P ${PROJECT_SOURCE_DIR}/cmake/write-commit.cmake
    BYPRODUCTS ${source}
    COMMENT "looking up the commit")
  knet_add_generated(${target} ${source})
  add_dependencies(${target} knet_commit)
endfunction()

# knet_generate_table(TARGET DIR TYPE HEADER): for each DIR/foo-bar.cpp the function
# `const knet::TYPE& foo_bar_<type>()`, in a table sorted by file name, declared in DIR_table.h:
# `std::span<const knet::TYPE* const> knet::all_DIR()`.
function(knet_generate_table target dir type header)
  string(TOLOWER ${type} suffix)
  file(GLOB sources CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR}/${dir} ${PROJECT_SOURCE_DIR}/${dir}/*.cpp)
  list(SORT sources)
  set(declarations "")
  set(entries "")
  foreach(source IN LISTS sources)
    string(REGEX REPLACE "\\.cpp$" "" name ${source})
    string(REPLACE "-" "_" name ${name})
    string(APPEND declarations "const ${type}& ${name}_${suffix}();\n")
    string(APPEND entries "      &${name}_${suffix}(),\n")
  endforeach()
  if(sources)
    set(body "  static const ${type}* const table[] = {\n${entries}  };\n  return table;\n")
  else()
    set(body "  return {};\n")
  endif()
  set(stem ${KNET_GENERATED}/${dir}_table)
  file(CONFIGURE OUTPUT ${stem}.h @ONLY CONTENT
"// Written by CMake from the files in ${dir}/.
#pragma once

#include <span>

#include \"${header}\"

namespace knet {

std::span<const ${type}* const> all_${dir}();

}  // namespace knet
")
  file(CONFIGURE OUTPUT ${stem}.cpp @ONLY CONTENT
"// Written by CMake from the files in ${dir}/.
#include \"${dir}_table.h\"

namespace knet {

${declarations}
std::span<const ${type}* const> all_${dir}() {
${body}}

}  // namespace knet
")
  knet_add_generated(${target} ${stem}.cpp)
endfunction()

# completions.h: `std::string_view knet::completion_script(std::string_view shell)` gives the text of
# completions/knet.bash, knet.zsh or knet.fish by "bash", "zsh", "fish"; empty for another shell.
function(knet_generate_completions target)
  file(GLOB scripts CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/completions/knet.*)
  set(output ${KNET_GENERATED}/completions.cpp)
  configure_file(${PROJECT_SOURCE_DIR}/cmake/completions.h.in ${KNET_GENERATED}/completions.h COPYONLY)
  add_custom_command(OUTPUT ${output}
    COMMAND ${CMAKE_COMMAND} -D "SCRIPTS=${scripts}" -D OUTPUT=${output}
            -P ${PROJECT_SOURCE_DIR}/cmake/embed-completions.cmake
    DEPENDS ${scripts} ${PROJECT_SOURCE_DIR}/cmake/embed-completions.cmake
    COMMENT "embedding the completions" VERBATIM)
  knet_add_generated(${target} ${output})
endfunction()
