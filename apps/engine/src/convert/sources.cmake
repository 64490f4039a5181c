list(APPEND ARKIT_ENGINE_SOURCES
  src/convert/cast_source.cpp
  src/convert/config_difference.cpp
  src/convert/export_plan.cpp
  src/convert/grid.cpp
  src/convert/layer_trial.cpp
  src/convert/proof.cpp
  src/convert/weight_difference.cpp)
