list(APPEND ARKIT_CORE_SOURCES
  src/jobs/evaluate_job.cpp
  src/jobs/export_set.cpp
  src/jobs/forward_job.cpp
  src/jobs/generate_job.cpp
  src/jobs/open_source.cpp
  src/jobs/run_record.cpp
  src/jobs/token_source.cpp
  src/jobs/truncated_source.cpp)
