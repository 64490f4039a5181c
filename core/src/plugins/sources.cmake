# One line a file, sorted.
list(APPEND ARKIT_CORE_SOURCES
  src/plugins/elf_file.cpp
  src/plugins/host.cpp
  src/plugins/inspect.cpp
  src/plugins/manifest.cpp
  src/plugins/registry.cpp
  src/plugins/search_path.cpp)
