list(APPEND ARKIT_ENGINE_SOURCES
  src/rotation/decoder_layout.cpp
  src/rotation/rotated_source.cpp
  src/rotation/rotation_spec.cpp
  src/rotation/tensor_turn.cpp)
