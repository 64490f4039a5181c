# One line a file, sorted.
list(APPEND ARKIT_SDK_SOURCES
  ${CMAKE_CURRENT_LIST_DIR}/attention.cpp
  ${CMAKE_CURRENT_LIST_DIR}/attention_kernels.cpp
  ${CMAKE_CURRENT_LIST_DIR}/attention_scales.cpp
  ${CMAKE_CURRENT_LIST_DIR}/attention_tiles.cpp
  ${CMAKE_CURRENT_LIST_DIR}/autograd_scheme.cpp
  ${CMAKE_CURRENT_LIST_DIR}/bit_decode.cpp
  ${CMAKE_CURRENT_LIST_DIR}/bit_pack.cpp
  ${CMAKE_CURRENT_LIST_DIR}/bit_pack_ref.cpp
  ${CMAKE_CURRENT_LIST_DIR}/block_hooks.cpp
  ${CMAKE_CURRENT_LIST_DIR}/channel_scales.cpp
  ${CMAKE_CURRENT_LIST_DIR}/config_reader.cpp
  ${CMAKE_CURRENT_LIST_DIR}/export_folder.cpp
  ${CMAKE_CURRENT_LIST_DIR}/family.cpp
  ${CMAKE_CURRENT_LIST_DIR}/family_adapter.cpp
  ${CMAKE_CURRENT_LIST_DIR}/family_draft.cpp
  ${CMAKE_CURRENT_LIST_DIR}/family_layout.cpp
  ${CMAKE_CURRENT_LIST_DIR}/family_table.cpp
  ${CMAKE_CURRENT_LIST_DIR}/fixed_kernels.cpp
  ${CMAKE_CURRENT_LIST_DIR}/fixed_product.cpp
  ${CMAKE_CURRENT_LIST_DIR}/fixed_product_kernels.cpp
  ${CMAKE_CURRENT_LIST_DIR}/float_layouts.cpp
  ${CMAKE_CURRENT_LIST_DIR}/forward_context.cpp
  ${CMAKE_CURRENT_LIST_DIR}/forwarding_source.cpp
  ${CMAKE_CURRENT_LIST_DIR}/gguf_blocks.cpp
  ${CMAKE_CURRENT_LIST_DIR}/group.cpp
  ${CMAKE_CURRENT_LIST_DIR}/group_index.cpp
  ${CMAKE_CURRENT_LIST_DIR}/hadamard.cpp
  ${CMAKE_CURRENT_LIST_DIR}/hadamard_orders.cpp
  ${CMAKE_CURRENT_LIST_DIR}/hf_export.cpp
  ${CMAKE_CURRENT_LIST_DIR}/hf_texts.cpp
  ${CMAKE_CURRENT_LIST_DIR}/int_format.cpp
  ${CMAKE_CURRENT_LIST_DIR}/int_layouts.cpp
  ${CMAKE_CURRENT_LIST_DIR}/kernel_tensors.cpp
  ${CMAKE_CURRENT_LIST_DIR}/layer_rules.cpp
  ${CMAKE_CURRENT_LIST_DIR}/linear_layers.cpp
  ${CMAKE_CURRENT_LIST_DIR}/layout.cpp
  ${CMAKE_CURRENT_LIST_DIR}/llama_like.cpp
  ${CMAKE_CURRENT_LIST_DIR}/llama_like_weights.cpp
  ${CMAKE_CURRENT_LIST_DIR}/mx_scheme.cpp
  ${CMAKE_CURRENT_LIST_DIR}/nn.cpp
  ${CMAKE_CURRENT_LIST_DIR}/nn_kernels.cpp
  ${CMAKE_CURRENT_LIST_DIR}/observer.cpp
  ${CMAKE_CURRENT_LIST_DIR}/old_buffers.cpp
  ${CMAKE_CURRENT_LIST_DIR}/packed_folder.cpp
  ${CMAKE_CURRENT_LIST_DIR}/packed_source.cpp
  ${CMAKE_CURRENT_LIST_DIR}/paged_hook.cpp
  ${CMAKE_CURRENT_LIST_DIR}/quant_config.cpp
  ${CMAKE_CURRENT_LIST_DIR}/rope.cpp
  ${CMAKE_CURRENT_LIST_DIR}/row_layouts.cpp
  ${CMAKE_CURRENT_LIST_DIR}/safetensors_layout.cpp
  ${CMAKE_CURRENT_LIST_DIR}/scaled_activation.cpp
  ${CMAKE_CURRENT_LIST_DIR}/scaled_dispatch.cpp
  ${CMAKE_CURRENT_LIST_DIR}/scaled_kernels_avx2.cpp
  ${CMAKE_CURRENT_LIST_DIR}/scaled_kernels_avx512.cpp
  ${CMAKE_CURRENT_LIST_DIR}/scaled_kernels_baseline.cpp
  ${CMAKE_CURRENT_LIST_DIR}/scaled_scheme.cpp
  ${CMAKE_CURRENT_LIST_DIR}/scaled_tensors.cpp
  ${CMAKE_CURRENT_LIST_DIR}/sequence_cache.cpp
  ${CMAKE_CURRENT_LIST_DIR}/ste.cpp
  ${CMAKE_CURRENT_LIST_DIR}/signround_scheme.cpp
  ${CMAKE_CURRENT_LIST_DIR}/tensor_fate.cpp
  ${CMAKE_CURRENT_LIST_DIR}/text_config.cpp
  ${CMAKE_CURRENT_LIST_DIR}/tied_embeddings.cpp
  ${CMAKE_CURRENT_LIST_DIR}/toml_json.cpp
  ${CMAKE_CURRENT_LIST_DIR}/walsh_kernels.cpp)
set_source_files_properties(${CMAKE_CURRENT_LIST_DIR}/attention_kernels.cpp
  PROPERTIES SKIP_PRECOMPILE_HEADERS ON COMPILE_OPTIONS -O3)
# Samples a model writes itself are the same on every machine: a product and a sum are never fused.
set_source_files_properties(${CMAKE_CURRENT_LIST_DIR}/fixed_kernels.cpp ${CMAKE_CURRENT_LIST_DIR}/nn_kernels.cpp
  PROPERTIES SKIP_PRECOMPILE_HEADERS ON COMPILE_OPTIONS "-O3;-ffp-contract=off")
set_source_files_properties(${CMAKE_CURRENT_LIST_DIR}/fixed_product_kernels.cpp
  PROPERTIES SKIP_PRECOMPILE_HEADERS ON COMPILE_OPTIONS "-O3;-ffp-contract=off")
set_source_files_properties(${CMAKE_CURRENT_LIST_DIR}/walsh_kernels.cpp PROPERTIES COMPILE_OPTIONS -O3)
# Element loops: no LibTorch in them, and worth every optimisation.
set_source_files_properties(${CMAKE_CURRENT_LIST_DIR}/bit_pack.cpp ${CMAKE_CURRENT_LIST_DIR}/bit_pack_ref.cpp
                            ${CMAKE_CURRENT_LIST_DIR}/bit_decode.cpp
  PROPERTIES SKIP_PRECOMPILE_HEADERS ON COMPILE_OPTIONS -O3)
# Equal bits whatever the instruction set: a product and a sum are never fused. GCC 12 takes the undefined upper halves
# of its own AVX-512 intrinsics for uninitialized variables.
set(scaled_options -O3 -ffp-contract=off -Wno-maybe-uninitialized -Wno-uninitialized)
set_source_files_properties(${CMAKE_CURRENT_LIST_DIR}/scaled_dispatch.cpp PROPERTIES SKIP_PRECOMPILE_HEADERS ON)
set_source_files_properties(${CMAKE_CURRENT_LIST_DIR}/scaled_kernels_baseline.cpp
  PROPERTIES SKIP_PRECOMPILE_HEADERS ON COMPILE_OPTIONS "${scaled_options}")
set_source_files_properties(${CMAKE_CURRENT_LIST_DIR}/scaled_kernels_avx2.cpp
  PROPERTIES SKIP_PRECOMPILE_HEADERS ON COMPILE_OPTIONS "${scaled_options};-mavx2;-mf16c")
set_source_files_properties(${CMAKE_CURRENT_LIST_DIR}/scaled_kernels_avx512.cpp
  PROPERTIES SKIP_PRECOMPILE_HEADERS ON
             COMPILE_OPTIONS "${scaled_options};-mavx2;-mf16c;-mavx512f;-mavx512bw;-mavx512dq;-mavx512vl")
arkit_compile_alone(${CMAKE_CURRENT_LIST_DIR}/family_layout.cpp ${CMAKE_CURRENT_LIST_DIR}/packed_source.cpp)
