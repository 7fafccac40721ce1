# knet_folder(NAME DIR [COMPACT] [PUBLIC target...] [PRIVATE target...]): library knet_NAME of all *.cpp in DIR and the
# folders below it. COMPACT: no hot path, compiled for size. A folder without sources gives a header-only target, so that others may link it all the same.
set(KNET_GENERATED ${PROJECT_BINARY_DIR}/generated)

function(knet_folder name dir)
  cmake_parse_arguments(PARSE_ARGV 2 arg "COMPACT" "" "PUBLIC;PRIVATE")
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${dir}/*.cpp)
  set(include_dirs ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR} ${KNET_GENERATED})
  if(sources)
    add_library(knet_${name} STATIC ${sources})
    target_include_directories(knet_${name} PUBLIC ${include_dirs})
    target_link_libraries(knet_${name} PUBLIC ${arg_PUBLIC} PRIVATE ${arg_PRIVATE})
    if(arg_COMPACT AND NOT KNET_SANITIZE)
      target_compile_options(knet_${name} PRIVATE $<$<CONFIG:Release>:-Os>)
    endif()
  else()
    add_library(knet_${name} INTERFACE)
    target_include_directories(knet_${name} INTERFACE ${include_dirs})
    target_link_libraries(knet_${name} INTERFACE ${arg_PUBLIC})
  endif()
endfunction()

# Adds a generated source to a folder's library; a folder that is still empty takes none.
function(knet_add_generated target source)
  get_target_property(type ${target} TYPE)
  if(NOT type STREQUAL INTERFACE_LIBRARY)
    target_sources(${target} PRIVATE ${source})
  endif()
endfunction()
