list(APPEND ARKIT_ENGINE_SOURCES
  src/hub/cached_hub.cpp
  src/hub/local_file.cpp)
