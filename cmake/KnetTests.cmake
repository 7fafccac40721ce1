# Tests, all run by ctest and told apart by label.
#   unit     tests/unit/<folder>/*_test.cpp   one executable unit_<folder>; one ctest test per file
#            tests/fuzz/<name>.cpp            fuzz_<name> replays tests/fuzz/corpus/<name>/
#   netns    tests/netns/*.sh                 real kernel, own namespaces
#   etcd     tests/etcd/*.sh                  real etcd
#   interop  tests/interop/*.sh               real peers
#   surface  tests/surface/*.sh, scripts/check-*
# The guest tier (tests/guest/run: scripts of tests/netns in a virtual machine) is not ctest's: one boot runs many.
# tests/contract/<name>_test.cpp become executables contract_<name> that the scripts run inside what they set up.
# tests/support/*.cpp (fakes, fixtures) is linked into each of these.
# A script says `skip: why` and exits 77 if it can't run; it finds the program in $KNET, this build's
# executables in $KNET_BUILD and the tree in $KNET_SOURCE. Two run at once; a line `# serial` in it keeps all others
# away while it runs (for what is measured in time), `# timeout: SECONDS` replaces the tier's limit.
if(NOT KNET_TESTS)
  return()
endif()
enable_testing()

set(KNET_TEST_ENV
  KNET=${PROJECT_BINARY_DIR}/knet KNET_BUILD=${PROJECT_BINARY_DIR} KNET_SOURCE=${PROJECT_SOURCE_DIR})

function(knet_script_tests label timeout)
  file(GLOB scripts CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/${label}/*.sh)
  foreach(script IN LISTS scripts)
    get_filename_component(name ${script} NAME_WE)
    if(name STREQUAL lib)
      continue()
    endif()
    add_test(NAME ${label}.${name} COMMAND bash ${script} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
    set_tests_properties(${label}.${name} PROPERTIES
      LABELS ${label} TIMEOUT ${timeout} SKIP_RETURN_CODE 77 ENVIRONMENT "${KNET_TEST_ENV}")
    file(STRINGS ${script} wishes REGEX "^# (serial|timeout: [0-9]+)$")
    foreach(wish IN LISTS wishes)
      if(wish MATCHES "timeout: ([0-9]+)")
        set_tests_properties(${label}.${name} PROPERTIES TIMEOUT ${CMAKE_MATCH_1})
      else()
        set_tests_properties(${label}.${name} PROPERTIES RUN_SERIAL ON)
      endif()
    endforeach()
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${script})
  endforeach()
endfunction()

knet_script_tests(netns 120)
knet_script_tests(etcd 180)
knet_script_tests(interop 180)
knet_script_tests(surface 60)
foreach(check arrows surface)
  add_test(NAME surface.check-${check} COMMAND bash ${PROJECT_SOURCE_DIR}/scripts/check-${check})
  set_tests_properties(surface.check-${check} PROPERTIES LABELS surface TIMEOUT 60 SKIP_RETURN_CODE 77)
endforeach()

find_path(KNET_CATCH2_DIR catch2/catch.hpp)
find_library(KNET_LIB_catch2 NAMES libCatch2WithMain.a)
if(NOT KNET_CATCH2_DIR OR NOT KNET_LIB_catch2)
  message(STATUS "catch2 is not installed: no unit tests (scripts/deps test installs it)")
  return()
endif()

# Tests may look into a folder's own library: those headers are private to the folder, not secret.
add_library(knet_catch2 INTERFACE)
target_include_directories(knet_catch2 SYSTEM INTERFACE ${KNET_CATCH2_DIR})
target_include_directories(knet_catch2 INTERFACE ${PROJECT_SOURCE_DIR})
target_link_libraries(knet_catch2 INTERFACE ${KNET_LIB_catch2} knet_json)
target_compile_definitions(knet_catch2 INTERFACE
  KNET_TEST_DATA="${PROJECT_SOURCE_DIR}/tests/data" $<$<BOOL:${KNET_SANITIZE}>:KNET_SANITIZED>)

file(GLOB support CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/support/*.cpp)
if(support)
  add_library(knet_support STATIC ${support})
  target_link_libraries(knet_support PUBLIC knet_core PRIVATE knet_catch2)
else()
  add_library(knet_support INTERFACE)
endif()

add_custom_target(unit_tests)

file(GLOB folders CONFIGURE_DEPENDS LIST_DIRECTORIES true ${PROJECT_SOURCE_DIR}/tests/unit/*)
foreach(folder IN LISTS folders)
  get_filename_component(name ${folder} NAME)
  file(GLOB sources CONFIGURE_DEPENDS ${folder}/*.cpp)
  if(NOT sources)
    continue()
  endif()
  if(NOT TARGET knet_${name})
    message(FATAL_ERROR "tests/unit/${name} has no library knet_${name}")
  endif()
  add_executable(unit_${name} ${sources})
  target_link_libraries(unit_${name} PRIVATE knet_catch2 knet_support knet_${name})
  if(name STREQUAL kernel)
    target_link_libraries(unit_${name} PRIVATE knet_libnl)
  elseif(name STREQUAL store)
    target_link_libraries(unit_${name} PRIVATE knet_sqlite knet_httplib)
  elseif(name STREQUAL commands)
    target_link_libraries(unit_${name} PRIVATE knet_cli11)
  endif()
  add_dependencies(unit_tests unit_${name})
  foreach(source IN LISTS sources)
    get_filename_component(stem ${source} NAME_WE)
    if(NOT stem MATCHES "_test$")
      continue()
    endif()
    string(REGEX REPLACE "_test$" "" case ${stem})
    # Catch tags each case with its file's name; a file whose cases all vanished fails.
    add_test(NAME unit.${name}.${case} COMMAND unit_${name} --filenames-as-tags "[#${stem}]" --warn NoTests)
    set_tests_properties(unit.${name}.${case} PROPERTIES LABELS unit TIMEOUT 120)
  endforeach()
endforeach()

file(GLOB contracts CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/contract/*_test.cpp)
foreach(source IN LISTS contracts)
  get_filename_component(name ${source} NAME_WE)
  string(REGEX REPLACE "_test$" "" name ${name})
  add_executable(contract_${name} ${source})
  target_link_libraries(contract_${name} PRIVATE knet_catch2 knet_support knet_store knet_kernel)
endforeach()

file(GLOB fuzzers CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/fuzz/*.cpp)
list(REMOVE_ITEM fuzzers ${PROJECT_SOURCE_DIR}/tests/fuzz/replay.cpp)
foreach(source IN LISTS fuzzers)
  get_filename_component(name ${source} NAME_WE)
  if(KNET_FUZZ)
    add_executable(fuzz_${name} ${source})
    target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
  else()
    add_executable(fuzz_${name} ${source} ${PROJECT_SOURCE_DIR}/tests/fuzz/replay.cpp)
    add_test(NAME unit.fuzz.${name} COMMAND fuzz_${name} ${PROJECT_SOURCE_DIR}/tests/fuzz/corpus/${name})
    set_tests_properties(unit.fuzz.${name} PROPERTIES LABELS unit TIMEOUT 120)
    add_dependencies(unit_tests fuzz_${name})
  endif()
  target_link_libraries(fuzz_${name} PRIVATE knet_json knet_agent knet_cni knet_view)
endforeach()
