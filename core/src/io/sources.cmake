list(APPEND ARKIT_CORE_SOURCES
  src/io/companion_files.cpp
  src/io/file_start.cpp
  src/io/hf_folder.cpp
  src/io/lost_file.cpp
  src/io/mapped_file.cpp
  src/io/safe_path.cpp
  src/io/safetensors_header.cpp
  src/io/safetensors_index.cpp
  src/io/safetensors_source.cpp
  src/io/weight_names.cpp)
arkit_compile_alone(${CMAKE_CURRENT_LIST_DIR}/safetensors_index.cpp)
