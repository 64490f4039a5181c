list(APPEND ARKIT_ENGINE_SOURCES
  src/tuning/attention_ranges.cpp
  src/tuning/block_folds.cpp
  src/tuning/collect.cpp
  src/tuning/gemm.cpp
  src/tuning/index_sampler.cpp
  src/tuning/losses.cpp
  src/tuning/neuqi_plan.cpp
  src/tuning/optimizer.cpp
  src/tuning/process_block.cpp
  src/tuning/product_speed.cpp
  src/tuning/sample_needs.cpp
  src/tuning/tune_block.cpp
  src/tuning/tune_options.cpp
  src/tuning/tuned_linear.cpp
  src/tuning/vector_tuning.cpp)

# Loops over elements do not see LibTorch's headers.
add_library(arkit_tuning_kernels OBJECT src/tuning/tuning_kernels.cpp)
target_include_directories(arkit_tuning_kernels PRIVATE ${ARKIT_ENGINE_INCLUDES})
target_compile_options(arkit_tuning_kernels PRIVATE -O3 -fopenmp-simd)
arkit_warnings(arkit_tuning_kernels)
list(APPEND ARKIT_ENGINE_SOURCES $<TARGET_OBJECTS:arkit_tuning_kernels>)

# Matrix products through Debian's oneDNN, opened at run time (gemm_onednn.h says why). Without it LibTorch multiplies.
find_path(DNNL_INCLUDE_DIR oneapi/dnnl/dnnl.hpp)
find_library(DNNL_LIBRARY dnnl)
find_package(OpenMP QUIET COMPONENTS CXX)
if(DNNL_INCLUDE_DIR AND DNNL_LIBRARY AND OpenMP_CXX_FOUND)
  add_library(arkit_onednn MODULE src/tuning/gemm_onednn.cpp)
  target_include_directories(arkit_onednn PRIVATE src SYSTEM ${DNNL_INCLUDE_DIR})
  target_link_libraries(arkit_onednn PRIVATE ${DNNL_LIBRARY} OpenMP::OpenMP_CXX)
  arkit_warnings(arkit_onednn)
  install(TARGETS arkit_onednn LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
endif()
