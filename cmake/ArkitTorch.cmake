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
  foreach(root ${ARKIT_TORCH_HINTS})
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

# at::parallel_for is a template over OpenMP: our code and LibTorch must agree on it.
find_package(OpenMP REQUIRED COMPONENTS CXX)
if(TARGET arkit_torch)
  return()  # find_package(arkit) in a second folder of one project
endif()
add_library(arkit_c10 SHARED IMPORTED GLOBAL)
set_target_properties(arkit_c10 PROPERTIES IMPORTED_LOCATION ${ARKIT_TORCH_ROOT}/lib/libc10.so)
add_library(arkit_torch_cpu SHARED IMPORTED GLOBAL)
set_target_properties(arkit_torch_cpu PROPERTIES IMPORTED_LOCATION ${ARKIT_TORCH_ROOT}/lib/libtorch_cpu.so)
add_library(arkit_torch INTERFACE IMPORTED GLOBAL)
add_library(arkit::torch ALIAS arkit_torch)
target_include_directories(arkit_torch SYSTEM INTERFACE
  ${ARKIT_TORCH_ROOT}/include ${ARKIT_TORCH_ROOT}/include/torch/csrc/api/include)
target_link_libraries(arkit_torch INTERFACE arkit_torch_cpu arkit_c10 OpenMP::OpenMP_CXX)
target_link_options(arkit_torch INTERFACE LINKER:-rpath-link,${ARKIT_TORCH_ROOT}/lib)
