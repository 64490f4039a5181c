list(APPEND ARKIT_ENGINE_SOURCES
  src/inference/attention_quantizer.cpp
  src/inference/backend_catalogue.cpp
  src/inference/backend_choice.cpp
  src/inference/backend_probes.cpp
  src/inference/batcher.cpp
  src/inference/better_backend.cpp
  src/inference/constraint.cpp
  src/inference/continuation_eval.cpp
  src/inference/engine.cpp
  src/inference/generator.cpp
  src/inference/largest.cpp
  src/inference/prepared_cache.cpp
  src/inference/residency.cpp
  src/inference/row_scores.cpp
  src/inference/sampler.cpp
  src/inference/sampling_choice.cpp
  src/inference/score_sums.cpp
  src/inference/session.cpp
  src/inference/token_scores.cpp
  src/inference/whole_blocks.cpp
  src/inference/whole_windows.cpp
  src/inference/window_eval.cpp)
set_source_files_properties(src/inference/largest.cpp PROPERTIES SKIP_PRECOMPILE_HEADERS ON COMPILE_OPTIONS -O3)
