list(APPEND ARKIT_CORE_SOURCES
  src/jobs/export_set.cpp
  src/jobs/open_source.cpp
  src/jobs/run_record.cpp
  src/jobs/truncated_source.cpp)
