# Finds LibTorch >= 2.8, CPU or CUDA build, and offers it as arkit::torch. ARKIT_TORCH_DIR is a torch package folder, a LibTorch folder or
# its share/cmake; without it the private venv that ./setup makes is used.
set(ARKIT_TORCH_DIR "$ENV{ARKIT_TORCH_DIR}" CACHE PATH "LibTorch: site-packages/torch, an unpacked LibTorch, or its share/cmake")

function(_arkit_find_torch_root result)
  if(ARKIT_TORCH_DIR)
    foreach(root ${ARKIT_TORCH_DIR} ${ARKIT_TORCH_DIR}/../.. ${ARKIT_TORCH_DIR}/../../..)
      if(EXISTS ${root}/lib/libtorch_cpu.so)
        get_filename_component(root ${root} ABSOLUTE)
        set(${result} ${root} PARENT_SCOPE)
        return()
      endif()
    endforeach()
    message(FATAL_ERROR "ARKIT_TORCH_DIR='${ARKIT_TORCH_DIR}' holds no lib/libtorch_cpu.so; give the folder of the torch package or of LibTorch")
  endif()
  file(GLOB candidates LIST_DIRECTORIES true ${CMAKE_CURRENT_SOURCE_DIR}/.deps/venv/lib/python3*/site-packages/torch)
  foreach(root ${candidates})
    if(EXISTS ${root}/lib/libtorch_cpu.so)
      set(${result} ${root} PARENT_SCOPE)
      return()
    endif()
  endforeach()
  message(FATAL_ERROR "LibTorch not found: run ./setup, or set ARKIT_TORCH_DIR to an existing one (>= 2.8)")
endfunction()

_arkit_find_torch_root(ARKIT_TORCH_ROOT)
set(ARKIT_TORCH_ROOT ${ARKIT_TORCH_ROOT} CACHE INTERNAL "")

# Imported by hand rather than through find_package(Torch): the same ten lines serve CPU and CUDA builds, whose own config demands a
# CUDA toolkit (docs/adr/0003-libtorch.md).
file(STRINGS ${ARKIT_TORCH_ROOT}/include/torch/headeronly/version.h _version_lines REGEX "define TORCH_VERSION_(MAJOR|MINOR|PATCH)")
string(REGEX MATCH "TORCH_VERSION_MAJOR ([0-9]+)" _ "${_version_lines}")
set(_major ${CMAKE_MATCH_1})
string(REGEX MATCH "TORCH_VERSION_MINOR ([0-9]+)" _ "${_version_lines}")
set(ARKIT_TORCH_VERSION ${_major}.${CMAKE_MATCH_1})
if(ARKIT_TORCH_VERSION VERSION_LESS 2.8)
  message(FATAL_ERROR "LibTorch ${ARKIT_TORCH_VERSION} in ${ARKIT_TORCH_ROOT} is too old; arkit needs 2.8 or newer")
endif()
message(STATUS "LibTorch ${ARKIT_TORCH_VERSION}: ${ARKIT_TORCH_ROOT}")

add_library(arkit_c10 SHARED IMPORTED GLOBAL)
set_target_properties(arkit_c10 PROPERTIES IMPORTED_LOCATION ${ARKIT_TORCH_ROOT}/lib/libc10.so)
add_library(arkit_torch_cpu SHARED IMPORTED GLOBAL)
set_target_properties(arkit_torch_cpu PROPERTIES IMPORTED_LOCATION ${ARKIT_TORCH_ROOT}/lib/libtorch_cpu.so)
add_library(arkit_torch INTERFACE)
add_library(arkit::torch ALIAS arkit_torch)
target_include_directories(arkit_torch SYSTEM INTERFACE
  $<BUILD_INTERFACE:${ARKIT_TORCH_ROOT}/include> $<BUILD_INTERFACE:${ARKIT_TORCH_ROOT}/include/torch/csrc/api/include>)
target_link_libraries(arkit_torch INTERFACE $<BUILD_INTERFACE:arkit_torch_cpu> $<BUILD_INTERFACE:arkit_c10>)
# at::parallel_for is a template over OpenMP: our code and LibTorch must agree on it.
find_package(OpenMP REQUIRED COMPONENTS CXX)
target_link_libraries(arkit_torch INTERFACE $<BUILD_INTERFACE:OpenMP::OpenMP_CXX>)
target_link_options(arkit_torch INTERFACE $<BUILD_INTERFACE:LINKER:-rpath-link,${ARKIT_TORCH_ROOT}/lib>)

# One precompiled header for everything that uses LibTorch operators (architecture.md 4.3).
if(ARKIT_PCH)
  file(WRITE ${CMAKE_BINARY_DIR}/pch/arkit_pch.cpp "// Owner of the precompiled header.\n")
  add_library(arkit_pch OBJECT ${CMAKE_BINARY_DIR}/pch/arkit_pch.cpp)
  target_link_libraries(arkit_pch PRIVATE arkit::torch)
  arkit_warnings(arkit_pch)  # GCC wants equal flags: -Wpedantic changes predefined macros
  target_precompile_headers(arkit_pch PRIVATE <ATen/ATen.h> <ATen/Parallel.h>)
endif()
function(arkit_use_pch target)
  if(ARKIT_PCH AND TARGET arkit_pch)
    target_precompile_headers(${target} REUSE_FROM arkit_pch)
  endif()
endfunction()
