list(APPEND ARKIT_ENGINE_SOURCES
  src/model_free/checkpoint_source.cpp
  src/model_free/completeness.cpp
  src/model_free/weights_model.cpp)
