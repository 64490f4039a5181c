list(APPEND ARKIT_ENGINE_SOURCES
  src/rounding/global_scales.cpp
  src/rounding/round_model.cpp
  src/rounding/round_units.cpp
  src/rounding/rtn_mode.cpp
  src/rounding/strip_rounding.cpp
  src/rounding/usable_numbers.cpp)

# Loops over elements do not see LibTorch's headers.
add_library(arkit_rounding_kernels OBJECT src/rounding/error_kernels.cpp)
target_include_directories(arkit_rounding_kernels PRIVATE ${ARKIT_ENGINE_INCLUDES})
target_compile_options(arkit_rounding_kernels PRIVATE -O3 -fopenmp-simd)
arkit_warnings(arkit_rounding_kernels)
list(APPEND ARKIT_ENGINE_SOURCES $<TARGET_OBJECTS:arkit_rounding_kernels>)
