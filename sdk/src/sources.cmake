# One line a file, sorted.
list(APPEND ARKIT_SDK_SOURCES
  ${CMAKE_CURRENT_LIST_DIR}/attention.cpp
  ${CMAKE_CURRENT_LIST_DIR}/attention_kernels.cpp
  ${CMAKE_CURRENT_LIST_DIR}/attention_tiles.cpp
  ${CMAKE_CURRENT_LIST_DIR}/autograd_scheme.cpp
  ${CMAKE_CURRENT_LIST_DIR}/bit_decode.cpp
  ${CMAKE_CURRENT_LIST_DIR}/bit_pack.cpp
  ${CMAKE_CURRENT_LIST_DIR}/bit_pack_ref.cpp
  ${CMAKE_CURRENT_LIST_DIR}/config_reader.cpp
  ${CMAKE_CURRENT_LIST_DIR}/export_folder.cpp
  ${CMAKE_CURRENT_LIST_DIR}/group.cpp
  ${CMAKE_CURRENT_LIST_DIR}/hf_export.cpp
  ${CMAKE_CURRENT_LIST_DIR}/hf_texts.cpp
  ${CMAKE_CURRENT_LIST_DIR}/int_format.cpp
  ${CMAKE_CURRENT_LIST_DIR}/int_layouts.cpp
  ${CMAKE_CURRENT_LIST_DIR}/llama_like.cpp
  ${CMAKE_CURRENT_LIST_DIR}/llama_like_config.cpp
  ${CMAKE_CURRENT_LIST_DIR}/llama_like_weights.cpp
  ${CMAKE_CURRENT_LIST_DIR}/nn.cpp
  ${CMAKE_CURRENT_LIST_DIR}/nn_kernels.cpp
  ${CMAKE_CURRENT_LIST_DIR}/packed_source.cpp
  ${CMAKE_CURRENT_LIST_DIR}/quant_config.cpp
  ${CMAKE_CURRENT_LIST_DIR}/rope.cpp
  ${CMAKE_CURRENT_LIST_DIR}/safetensors_layout.cpp
  ${CMAKE_CURRENT_LIST_DIR}/ste.cpp
  ${CMAKE_CURRENT_LIST_DIR}/tensor_fate.cpp)
set_source_files_properties(${CMAKE_CURRENT_LIST_DIR}/nn_kernels.cpp ${CMAKE_CURRENT_LIST_DIR}/attention_kernels.cpp
  PROPERTIES SKIP_PRECOMPILE_HEADERS ON)
# Element loops: no LibTorch in them, and worth every optimisation.
set_source_files_properties(${CMAKE_CURRENT_LIST_DIR}/bit_pack.cpp ${CMAKE_CURRENT_LIST_DIR}/bit_pack_ref.cpp
                            ${CMAKE_CURRENT_LIST_DIR}/bit_decode.cpp
  PROPERTIES SKIP_PRECOMPILE_HEADERS ON COMPILE_OPTIONS -O3)
