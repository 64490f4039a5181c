list(APPEND ARKIT_ENGINE_SOURCES
  src/quant/attention_plan.cpp
  src/quant/embedding_tables.cpp
  src/quant/format_lookup.cpp
  src/quant/free_formats.cpp
  src/quant/layer_config.cpp
  src/quant/plan.cpp
  src/quant/quant_filter.cpp
  src/quant/quant_key.cpp
  src/quant/recipes.cpp
  src/quant/runtime_rules.cpp
  src/quant/scheme_resolver.cpp
  src/quant/scheme_traits.cpp)
arkit_compile_alone(${CMAKE_CURRENT_LIST_DIR}/free_formats.cpp)
