# ccache, where installed, makes a second clean build a matter of seconds. With a precompiled header it needs to be told that the
# header's timestamp and macros do not matter, and GCC to leave the #pragma in the preprocessed text; and it is to remember the hash of that
# header, whose 390 MB it would read again for every file (half a second of each).
find_program(ARKIT_CCACHE_PROGRAM ccache)
if(ARKIT_CCACHE AND ARKIT_CCACHE_PROGRAM AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
                                  CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_INODECACHE=true ${ARKIT_CCACHE_PROGRAM})
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    add_compile_options(-fpch-preprocess)
  endif()
endif()
