# Finds nvcc once: ARKIT_NVCC, empty where there is none, and ARKIT_CUDA_VERSION ("13.0"). It compiles device code alone; everything else is
# compiled as always, and what is built is linked to nothing of CUDA.
if(NOT DEFINED ARKIT_CUDA_ARCHITECTURES)
  set(ARKIT_CUDA_ARCHITECTURES 80 CACHE STRING "GPUs that kernels are compiled for, e.g. 80;90;100; later ones take the PTX of the last")
endif()
find_program(ARKIT_NVCC nvcc HINTS ENV CUDA_PATH ENV CUDA_HOME PATHS /usr/local/cuda PATH_SUFFIXES bin DOC "NVIDIA's compiler; plugins for its GPUs are left out without it")
if(ARKIT_NVCC AND NOT ARKIT_CUDA_VERSION)
  execute_process(COMMAND ${ARKIT_NVCC} --version OUTPUT_VARIABLE text ERROR_QUIET)
  if(text MATCHES "release ([0-9]+)\\.([0-9]+)")
    set(ARKIT_CUDA_VERSION ${CMAKE_MATCH_1}.${CMAKE_MATCH_2} CACHE INTERNAL "")
  else()
    message(WARNING "${ARKIT_NVCC} does not say its version: plugins for NVIDIA's GPUs are left out")
    set(ARKIT_NVCC "" CACHE FILEPATH "" FORCE)
  endif()
endif()

# arkit_cuda_image(<target> SOURCE kernels.cu SYMBOL name [INCLUDE folder...]): device code for ARKIT_CUDA_ARCHITECTURES as constant bytes
#   `extern "C" const unsigned char name[]` in the target, which also gets ARKIT_CUDA_TOOLKIT (13000 = 13.0).
function(arkit_cuda_image target)
  cmake_parse_arguments(P "" "SOURCE;SYMBOL" "INCLUDE" ${ARGN})
  get_filename_component(name ${P_SOURCE} NAME_WE)
  get_filename_component(source ${P_SOURCE} ABSOLUTE)
  set(image ${CMAKE_CURRENT_BINARY_DIR}/${name}.fatbin)
  set(flags)
  foreach(architecture ${ARKIT_CUDA_ARCHITECTURES})
    list(APPEND flags -gencode arch=compute_${architecture},code=sm_${architecture})
    set(last ${architecture})
  endforeach()
  list(APPEND flags -gencode arch=compute_${last},code=compute_${last})
  get_target_property(folders arkit::backend INTERFACE_INCLUDE_DIRECTORIES)
  foreach(folder ${folders} ${P_INCLUDE})
    list(APPEND flags $<$<BOOL:${folder}>:-I${folder}>)
  endforeach()
  add_custom_command(OUTPUT ${image} DEPENDS ${source} DEPFILE ${image}.d VERBATIM COMMAND_EXPAND_LISTS
    COMMENT "Device code ${name} for sm_${ARKIT_CUDA_ARCHITECTURES}"
    COMMAND ${ARKIT_NVCC} -std=c++20 -O3 -fatbin -MD -MF ${image}.d ${flags} -o ${image} ${source})
  set(embedding ${CMAKE_CURRENT_BINARY_DIR}/${name}_image.cpp)
  file(CONFIGURE OUTPUT ${embedding} @ONLY CONTENT [[// Made by arkit_cuda_image().
asm(".pushsection .rodata\n"
    ".balign 64\n"
    ".global @P_SYMBOL@\n"
    ".hidden @P_SYMBOL@\n"
    "@P_SYMBOL@:\n"
    ".incbin \"@image@\"\n"
    ".popsection\n");
]])
  set_source_files_properties(${embedding} PROPERTIES OBJECT_DEPENDS ${image})
  target_sources(${target} PRIVATE ${embedding})
  string(REPLACE "." ";" parts ${ARKIT_CUDA_VERSION})
  list(GET parts 0 major)
  list(GET parts 1 minor)
  math(EXPR number "${major} * 1000 + ${minor} * 10")
  target_compile_definitions(${target} PRIVATE ARKIT_CUDA_TOOLKIT=${number})
endfunction()
