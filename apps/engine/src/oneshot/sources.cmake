list(APPEND ARKIT_ENGINE_SOURCES
  src/oneshot/layer_quant.cpp
  src/oneshot/modifier.cpp
  src/oneshot/quant_args.cpp
  src/oneshot/recipe_document.cpp
  src/oneshot/recipe_plan.cpp
  src/oneshot/target_match.cpp)
