list(APPEND ARKIT_ENGINE_SOURCES
  src/source/canonical_source.cpp
  src/source/open_source.cpp
  src/source/outlined_source.cpp)
