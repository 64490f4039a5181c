list(APPEND ARKIT_CORE_SOURCES
  src/rotation/decoder_layout.cpp
  src/rotation/hadamard.cpp
  src/rotation/hadamard_orders.cpp
  src/rotation/rotated_source.cpp
  src/rotation/rotation_spec.cpp
  src/rotation/tensor_turn.cpp
  src/rotation/walsh_kernels.cpp)
