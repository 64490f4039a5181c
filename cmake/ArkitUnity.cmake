# Several .cpp files in one compilation: what a file parses (LibTorch, Boost.JSON, the standard library) costs four times what it says, so that
# a clean build takes a third of the time (docs/adr/0063-files-compiled-together.md). Every file still has to compile by itself: debug and asan
# builds do not use it.
option(ARKIT_UNITY "Compile several source files together" OFF)
if(ARKIT_UNITY)
  set(CMAKE_UNITY_BUILD ON)
  set(CMAKE_UNITY_BUILD_BATCH_SIZE 8)
  # A class of a file whose members are of that file's anonymous namespace: fine in a .cpp, which GCC takes the unit's file for a header of.
  add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-Wno-subobject-linkage>)
endif()

# arkit_compile_alone(a.cpp...): files of this folder's targets whose local names another file of the same target has, too.
function(arkit_compile_alone)
  set_source_files_properties(${ARGN} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
endfunction()
