list(APPEND ARKIT_ENGINE_SOURCES
  src/model_free/checkpoint_source.cpp
  src/model_free/completeness.cpp
  src/model_free/foreign_tensors.cpp
  src/model_free/numbered_modules.cpp
  src/model_free/weights_model.cpp)
