list(APPEND ARKIT_ENGINE_SOURCES
  src/util/data_file.cpp
  src/util/finite.cpp
  src/util/finite_kernels.cpp
  src/util/heap.cpp
  src/util/numpy_random.cpp
  src/util/peak_kernels.cpp
  src/util/peaks.cpp
  src/util/python_random.cpp
  src/util/safetensors_file.cpp
  src/util/sha256.cpp
  src/util/svg_text.cpp
  src/util/tensor_cache.cpp
  src/util/yaml_reader.cpp)
# Kernels do without LibTorch and want the loop vectoriser.
set_source_files_properties(${CMAKE_CURRENT_SOURCE_DIR}/src/util/finite_kernels.cpp
  ${CMAKE_CURRENT_SOURCE_DIR}/src/util/peak_kernels.cpp PROPERTIES
  SKIP_PRECOMPILE_HEADERS ON COMPILE_OPTIONS "-O3")
