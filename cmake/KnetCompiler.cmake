# Language, warnings, sections, sanitizers; how an executable is made static.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()
set(CMAKE_C_FLAGS_RELEASE "-O2 -DNDEBUG")
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -DNDEBUG")

find_program(KNET_CCACHE ccache)
if(KNET_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_C_COMPILER_LAUNCHER ${KNET_CCACHE})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${KNET_CCACHE})
endif()

add_compile_options(-Wall -Wextra)
if(KNET_WERROR)
  add_compile_options(-Werror)
endif()

if(KNET_SANITIZE)
  # Not the C of others: it may have another compiler.
  add_compile_options("$<$<COMPILE_LANGUAGE:CXX>:-O1;-g1;-fno-omit-frame-pointer;-fsanitize=address,undefined;-fno-sanitize-recover=all>")
  # GCC's instrumentation makes it see uninitialised reads where there are none (its own <regex>, say).
  add_compile_options($<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
  add_link_options(-fsanitize=address,undefined)
else()
  add_compile_options(-ffunction-sections -fdata-sections -fno-pie)
  add_link_options(-no-pie -Wl,--gc-sections)
  add_compile_options($<$<CONFIG:Release>:-fstack-protector-strong>)
  add_compile_definitions($<$<CONFIG:Release>:_FORTIFY_SOURCE=2>)
endif()

if(KNET_FUZZ)
  # Use with KNET_SANITIZE: cmake --preset asan -B build/fuzz -D CMAKE_CXX_COMPILER=clang++ -D KNET_FUZZ=ON
  if(NOT CMAKE_CXX_COMPILER_ID STREQUAL Clang)
    message(FATAL_ERROR "KNET_FUZZ needs clang++ (libFuzzer)")
  endif()
  add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-fsanitize=fuzzer-no-link>)
endif()

# gold folds functions whose code is the same (templates of the command line and JSON libraries): 2 % of the binary.
include(CheckLinkerFlag)
check_linker_flag(CXX "-fuse-ld=gold;-Wl,--icf=safe" KNET_GOLD)

# The linker notes getaddrinfo, dlopen and the like in a static program; they were tried in an empty chroot. It is not told
# to be silent: binutils 2.40's --no-warnings lets undefined symbols pass too, as calls to address 0.
function(knet_static target)
  if(NOT KNET_SANITIZE)
    target_link_options(${target} PRIVATE -static $<$<CONFIG:Release>:-s>)
    if(KNET_GOLD)
      target_link_options(${target} PRIVATE -fuse-ld=gold -Wl,--icf=safe)
    endif()
  endif()
endfunction()
