list(APPEND ARKIT_CORE_SOURCES
  src/util/cpu_limit.cpp
  src/util/error.cpp
  src/util/escape.cpp
  src/util/fixed_order.cpp
  src/util/fixed_product.cpp
  src/util/heap.cpp
  src/util/host_info.cpp
  src/util/input_file.cpp
  src/util/interfaces.cpp
  src/util/json.cpp
  src/util/log.cpp
  src/util/numpy_random.cpp
  src/util/openmp_threads.cpp
  src/util/part_file.cpp
  src/util/python_random.cpp
  src/util/regex.cpp
  src/util/sha256.cpp
  src/util/str.cpp
  src/util/tensor_cache.cpp)

# Equal bits on every machine: a product and a sum are never fused.
add_library(arkit_fixed_kernels OBJECT src/util/fixed_product_kernels.cpp)
target_include_directories(arkit_fixed_kernels PRIVATE src include)
target_compile_options(arkit_fixed_kernels PRIVATE -O3 -ffp-contract=off)
arkit_warnings(arkit_fixed_kernels)
list(APPEND ARKIT_CORE_SOURCES $<TARGET_OBJECTS:arkit_fixed_kernels>)
