# The hash of the headers that plugins and arkit must share, part of the ABI tag (arkit/plugin.h): a plugin that was compiled against other
# headers is refused, never run. As a script, it writes <arkit/header_hash.h>, and only when the hash has changed:
#   cmake -DHEADERS=<folder of plugin.h> -DOUTPUT=<file> -P ArkitHeaderHash.cmake

# Programs use registry.h, no object of it crosses the boundary of a plugin; backend_c.h has a version of its own.
set(ARKIT_PROGRAM_HEADERS backend_c.h registry.h)

# arkit_header_hash(<variable> <folder>): over names and contents of the folder's headers, in the order of their names.
function(arkit_header_hash result folder)
  file(GLOB headers ${folder}/*.h)
  list(SORT headers)
  set(all "")
  foreach(header ${headers})
    get_filename_component(name ${header} NAME)
    if(name IN_LIST ARKIT_PROGRAM_HEADERS OR name STREQUAL "header_hash.h")
      continue()
    endif()
    file(SHA256 ${header} hash)
    string(APPEND all "${name} ${hash}\n")
  endforeach()
  string(SHA256 hash "${all}")
  string(SUBSTRING ${hash} 0 12 hash)
  set(${result} ${hash} PARENT_SCOPE)
endfunction()

if(CMAKE_SCRIPT_MODE_FILE STREQUAL CMAKE_CURRENT_LIST_FILE)
  arkit_header_hash(hash ${HEADERS})
  file(CONFIGURE OUTPUT ${OUTPUT} CONTENT [[#pragma once
// Made by cmake/ArkitHeaderHash.cmake from the headers beside it. Outside arkit's tree arkit_add_plugin() defines the
// macro from the headers it finds, so that a changed copy of them is noticed too.
#ifndef ARKIT_HEADER_HASH
#define ARKIT_HEADER_HASH "@hash@"
#endif
]] @ONLY)
endif()
