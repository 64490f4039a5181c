list(APPEND ARKIT_ENGINE_SOURCES
  src/verify/block_hooks.cpp
  src/verify/code_check.cpp
  src/verify/config_check.cpp
  src/verify/expected_error.cpp
  src/verify/head_logits.cpp
  src/verify/json_numbers.cpp
  src/verify/layer_check.cpp
  src/verify/list_check.cpp
  src/verify/model_check.cpp
  src/verify/rope_meaning.cpp
  src/verify/target_rules.cpp
  src/verify/target_view.cpp
  src/verify/tensor_check.cpp
  src/verify/verify_report.cpp)
arkit_compile_alone(${CMAKE_CURRENT_LIST_DIR}/list_check.cpp ${CMAKE_CURRENT_LIST_DIR}/model_check.cpp)
