list(APPEND ARKIT_ENGINE_SOURCES
  src/harness/child_process.cpp
  src/harness/interpreter.cpp
  src/harness/progress_line.cpp
  src/harness/served_model.cpp
  src/harness/task_eval.cpp
  src/harness/task_request.cpp
  src/harness/task_runner.cpp)
