list(APPEND ARKIT_ENGINE_SOURCES
  src/options/bench_table.cpp
  src/options/compute_table.cpp
  src/options/convert_table.cpp
  src/options/option_checks.cpp
  src/options/option_json.cpp
  src/options/quantize_table.cpp
  src/options/task_table.cpp)
arkit_compile_alone(${CMAKE_CURRENT_LIST_DIR}/bench_table.cpp ${CMAKE_CURRENT_LIST_DIR}/compute_table.cpp ${CMAKE_CURRENT_LIST_DIR}/convert_table.cpp ${CMAKE_CURRENT_LIST_DIR}/quantize_table.cpp ${CMAKE_CURRENT_LIST_DIR}/task_table.cpp)
