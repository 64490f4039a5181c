list(APPEND ARKIT_CORE_SOURCES
  src/model_free/checkpoint_source.cpp
  src/model_free/completeness.cpp
  src/model_free/layer_rules.cpp
  src/model_free/text_config.cpp
  src/model_free/weights_model.cpp)
