list(APPEND ARKIT_ENGINE_SOURCES
  src/calibration/calibration.cpp
  src/calibration/dataset_registry.cpp
  src/calibration/dataset_spec.cpp
  src/calibration/documents.cpp
  src/calibration/sampling.cpp
  src/calibration/samples.cpp
  src/calibration/self_dataset.cpp)
