# One line a file, sorted.
list(APPEND ARKIT_SDK_SOURCES
  ${CMAKE_CURRENT_LIST_DIR}/attention.cpp
  ${CMAKE_CURRENT_LIST_DIR}/autograd_scheme.cpp
  ${CMAKE_CURRENT_LIST_DIR}/config_reader.cpp
  ${CMAKE_CURRENT_LIST_DIR}/group.cpp
  ${CMAKE_CURRENT_LIST_DIR}/llama_like.cpp
  ${CMAKE_CURRENT_LIST_DIR}/llama_like_config.cpp
  ${CMAKE_CURRENT_LIST_DIR}/llama_like_weights.cpp
  ${CMAKE_CURRENT_LIST_DIR}/nn.cpp
  ${CMAKE_CURRENT_LIST_DIR}/nn_kernels.cpp
  ${CMAKE_CURRENT_LIST_DIR}/rope.cpp
  ${CMAKE_CURRENT_LIST_DIR}/ste.cpp)
set_source_files_properties(${CMAKE_CURRENT_LIST_DIR}/nn_kernels.cpp PROPERTIES SKIP_PRECOMPILE_HEADERS ON)
