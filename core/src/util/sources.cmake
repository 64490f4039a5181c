list(APPEND ARKIT_CORE_SOURCES
  src/util/cpu_limit.cpp
  src/util/error.cpp
  src/util/escape.cpp
  src/util/fixed_order.cpp
  src/util/host_info.cpp
  src/util/input_file.cpp
  src/util/interfaces.cpp
  src/util/json.cpp
  src/util/log.cpp
  src/util/openmp_threads.cpp
  src/util/part_file.cpp
  src/util/regex.cpp
  src/util/str.cpp)
