list(APPEND ARKIT_CORE_SOURCES
  src/io/companion_files.cpp
  src/io/file_start.cpp
  src/io/finite.cpp
  src/io/finite_kernels.cpp
  src/io/hf_folder.cpp
  src/io/lost_file.cpp
  src/io/mapped_file.cpp
  src/io/safe_path.cpp
  src/io/safetensors_file.cpp
  src/io/safetensors_header.cpp
  src/io/safetensors_index.cpp
  src/io/safetensors_source.cpp)
# Kernels do without LibTorch and want the loop vectoriser.
set_source_files_properties(${CMAKE_CURRENT_SOURCE_DIR}/src/io/finite_kernels.cpp PROPERTIES
  SKIP_PRECOMPILE_HEADERS ON COMPILE_OPTIONS "-O3")
