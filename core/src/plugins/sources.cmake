# One line a file, sorted.
list(APPEND ARKIT_CORE_SOURCES
  src/plugins/backend_door/backend.cpp
  src/plugins/backend_door/calls.cpp
  src/plugins/backend_door/description.cpp
  src/plugins/backend_door/host_table.cpp
  src/plugins/backend_door/interface.cpp
  src/plugins/backend_door/lanes.cpp
  src/plugins/backend_door/prepared.cpp
  src/plugins/backend_door/weights.cpp
  src/plugins/discovery.cpp
  src/plugins/elf_file.cpp
  src/plugins/guard.cpp
  src/plugins/guard_exporter.cpp
  src/plugins/guard_source.cpp
  src/plugins/guard_call.cpp
  src/plugins/host.cpp
  src/plugins/inspect.cpp
  src/plugins/loaded_manifest.cpp
  src/plugins/manifest.cpp
  src/plugins/probe.cpp
  src/plugins/probe_cache.cpp
  src/plugins/questions.cpp
  src/plugins/registry.cpp
  src/plugins/search_path.cpp)
