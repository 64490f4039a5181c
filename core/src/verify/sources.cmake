list(APPEND ARKIT_CORE_SOURCES
  src/verify/block_check.cpp
  src/verify/layer_check.cpp
  src/verify/tensor_check.cpp
  src/verify/verify_report.cpp)
