list(APPEND ARKIT_CORE_SOURCES
  src/jobs/calibrate.cpp
  src/jobs/evaluate_job.cpp
  src/jobs/export_set.cpp
  src/jobs/forward_job.cpp
  src/jobs/generate_job.cpp
  src/jobs/inspect_job.cpp
  src/jobs/list_job.cpp
  src/jobs/memory_estimate.cpp
  src/jobs/open_source.cpp
  src/jobs/quantize_job.cpp
  src/jobs/quantize_steps.cpp
  src/jobs/run_record.cpp
  src/jobs/source_hashes.cpp
  src/jobs/token_source.cpp
  src/jobs/tokenize_job.cpp
  src/jobs/truncated_source.cpp
  src/jobs/verify_job.cpp)
