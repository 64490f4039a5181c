list(APPEND ARKIT_ENGINE_SOURCES
  src/autoscheme/accounting.cpp
  src/autoscheme/allocation.cpp
  src/autoscheme/groups.cpp
  src/autoscheme/kept_file.cpp
  src/autoscheme/layer_file.cpp
  src/autoscheme/mix_picture.cpp
  src/autoscheme/options.cpp
  src/autoscheme/pool.cpp
  src/autoscheme/program.cpp
  src/autoscheme/ratio_cache.cpp
  src/autoscheme/refine.cpp
  src/autoscheme/refine_meter.cpp
  src/autoscheme/score.cpp
  src/autoscheme/score_cache.cpp
  src/autoscheme/score_compat.cpp
  src/autoscheme/score_ends.cpp
  src/autoscheme/score_experts.cpp
  src/autoscheme/score_fisher.cpp
  src/autoscheme/score_labels.cpp
  src/autoscheme/score_linear.cpp
  src/autoscheme/score_pass.cpp
  src/autoscheme/score_sums.cpp
  src/autoscheme/score_weights.cpp
  src/autoscheme/tuned_ratio.cpp
  src/autoscheme/tuned_scores.cpp)

# Loops over elements do not see LibTorch's headers.
add_library(arkit_autoscheme_kernels OBJECT src/autoscheme/score_kernels.cpp)
target_include_directories(arkit_autoscheme_kernels PRIVATE ${ARKIT_ENGINE_INCLUDES})
target_compile_options(arkit_autoscheme_kernels PRIVATE -O3 -fopenmp-simd)
arkit_warnings(arkit_autoscheme_kernels)
list(APPEND ARKIT_ENGINE_SOURCES $<TARGET_OBJECTS:arkit_autoscheme_kernels>)
arkit_compile_alone(${CMAKE_CURRENT_LIST_DIR}/score_ends.cpp)
