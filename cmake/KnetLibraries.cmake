# The libraries of others, always their static archives. Each is linked PRIVATE by its one home.
find_package(Threads REQUIRED)

# NAME is an archive's file name: the shared library next to it must not be picked.
function(knet_archive variable name)
  find_library(${variable} NAMES lib${name}.a)
  if(NOT ${variable})
    message(FATAL_ERROR "lib${name}.a is missing; scripts/deps installs it")
  endif()
endfunction()

# The same archive without unwind tables: for C code that calls nothing of ours which could throw, half a megabyte of
# tables that nobody reads. Copied once, at configure time. Further arguments go to objcopy.
function(knet_c_archive variable name)
  knet_archive(${variable} ${name})
  if(NOT CMAKE_OBJCOPY OR KNET_SANITIZE)
    return()
  endif()
  set(slim ${PROJECT_BINARY_DIR}/slim/lib${name}.a)
  set(arguments --remove-section=.eh_frame --remove-section=.rela.eh_frame ${ARGN})
  if(NOT EXISTS ${slim} OR ${${variable}} IS_NEWER_THAN ${slim} OR NOT "${arguments}" STREQUAL "${KNET_SLIM_${name}}")
    file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/slim)
    execute_process(COMMAND ${CMAKE_OBJCOPY} ${arguments} ${${variable}} ${slim} COMMAND_ERROR_IS_FATAL ANY)
    set(KNET_SLIM_${name} "${arguments}" CACHE INTERNAL "how ${slim} was made")
  endif()
  set(${variable} ${slim} PARENT_SCOPE)
endfunction()

# Headers only. The definitions that libfmt.a would hold are in src/base/fmt.cpp (Debian 12 has no libfmt.a).
find_path(KNET_FMT_DIR fmt/core.h REQUIRED)

find_path(KNET_JSON_DIR nlohmann/json.hpp REQUIRED)
add_library(knet_json INTERFACE)
target_include_directories(knet_json SYSTEM INTERFACE ${KNET_JSON_DIR})
# A conversion that can throw must be seen: j.get<int>(), never int n = j.
target_compile_definitions(knet_json INTERFACE JSON_USE_IMPLICIT_CONVERSIONS=0)

find_path(KNET_CLI11_DIR CLI/CLI.hpp REQUIRED)
add_library(knet_cli11 INTERFACE)
target_include_directories(knet_cli11 SYSTEM INTERFACE ${KNET_CLI11_DIR})

find_path(KNET_LIBNL_DIR netlink/netlink.h PATH_SUFFIXES libnl3 REQUIRED)
foreach(part nl-3 nl-route-3 nl-genl-3)
  knet_archive(KNET_LIB_${part} ${part})
endforeach()
add_library(knet_libnl INTERFACE)
target_include_directories(knet_libnl SYSTEM INTERFACE ${KNET_LIBNL_DIR})
target_link_libraries(knet_libnl INTERFACE ${KNET_LIB_nl-genl-3} ${KNET_LIB_nl-route-3} ${KNET_LIB_nl-3} Threads::Threads)

find_path(KNET_SQLITE_DIR sqlite3.h REQUIRED)
# SQL's mathematical functions, which our SQL never names, are all that would need libm: 0.3 MB. A weak reference draws
# nothing in.
set(weak "")
foreach(function acos acosh asin asinh atan atan2 atanh cos cosh exp fmod log log10 log2 pow sin sinh sqrt tan tanh)
  list(APPEND weak --weaken-symbol=${function})
endforeach()
knet_c_archive(KNET_LIB_sqlite3 sqlite3 ${weak})
add_library(knet_sqlite INTERFACE)
target_include_directories(knet_sqlite SYSTEM INTERFACE ${KNET_SQLITE_DIR})
target_link_libraries(knet_sqlite INTERFACE ${KNET_LIB_sqlite3} Threads::Threads m dl)

# mbedTLS from its source, for size, with what cmake/mbedtls/knet_mbedtls.h names. No unwind tables: nothing throws through it.
find_path(KNET_MBEDTLS_DIR library/ssl_tls.c PATHS ${PROJECT_SOURCE_DIR}/third_party/mbedtls NO_DEFAULT_PATH)
if(NOT KNET_MBEDTLS_DIR)
  message(FATAL_ERROR "third_party/mbedtls is missing; scripts/deps fetches it")
endif()
file(GLOB mbedtls_sources ${KNET_MBEDTLS_DIR}/library/*.c)
add_library(knet_mbedtls STATIC ${mbedtls_sources} ${PROJECT_SOURCE_DIR}/cmake/mbedtls/knet_random.c)
target_include_directories(knet_mbedtls SYSTEM PUBLIC ${KNET_MBEDTLS_DIR}/include ${PROJECT_SOURCE_DIR}/cmake/mbedtls)
target_compile_definitions(knet_mbedtls PUBLIC MBEDTLS_CONFIG_FILE=<knet_mbedtls.h>)
target_compile_options(knet_mbedtls PRIVATE -w)
if(NOT KNET_SANITIZE)
  target_compile_options(knet_mbedtls PRIVATE -fno-asynchronous-unwind-tables $<$<CONFIG:Release>:-Os>)
endif()
target_link_libraries(knet_mbedtls PUBLIC Threads::Threads)

# Never /usr/include/httplib.h: Debian's is split and needs its shared library.
find_path(KNET_HTTPLIB_DIR httplib.h PATHS ${PROJECT_SOURCE_DIR}/third_party/httplib NO_DEFAULT_PATH)
if(NOT KNET_HTTPLIB_DIR)
  message(FATAL_ERROR "third_party/httplib/httplib.h is missing; scripts/deps fetches it")
endif()
# The define changes its classes, so every file that includes it must have it: it travels with the target.
add_library(knet_httplib INTERFACE)
target_include_directories(knet_httplib SYSTEM INTERFACE ${KNET_HTTPLIB_DIR})
target_compile_definitions(knet_httplib INTERFACE CPPHTTPLIB_MBEDTLS_SUPPORT)
target_link_libraries(knet_httplib INTERFACE knet_mbedtls)
