list(APPEND ARKIT_ENGINE_SOURCES
  src/util/finite.cpp
  src/util/finite_kernels.cpp
  src/util/heap.cpp
  src/util/hub_cache.cpp
  src/util/numpy_random.cpp
  src/util/python_random.cpp
  src/util/safetensors_file.cpp
  src/util/tensor_cache.cpp)
# Kernels do without LibTorch and want the loop vectoriser.
set_source_files_properties(${CMAKE_CURRENT_SOURCE_DIR}/src/util/finite_kernels.cpp PROPERTIES
  SKIP_PRECOMPILE_HEADERS ON COMPILE_OPTIONS "-O3")
