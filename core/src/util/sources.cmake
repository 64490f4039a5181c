list(APPEND ARKIT_CORE_SOURCES
  src/util/error.cpp
  src/util/escape.cpp
  src/util/heap.cpp
  src/util/host_info.cpp
  src/util/input_file.cpp
  src/util/interfaces.cpp
  src/util/json.cpp
  src/util/log.cpp
  src/util/numpy_random.cpp
  src/util/part_file.cpp
  src/util/python_random.cpp
  src/util/regex.cpp
  src/util/sha256.cpp
  src/util/str.cpp
  src/util/tensor_cache.cpp)
