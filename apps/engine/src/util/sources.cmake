list(APPEND ARKIT_ENGINE_SOURCES
  src/util/heap.cpp
  src/util/hub_cache.cpp
  src/util/numpy_random.cpp
  src/util/python_random.cpp
  src/util/tensor_cache.cpp)
