list(APPEND ARKIT_ENGINE_SOURCES
  src/calibration/byte_stream.cpp
  src/calibration/calibration.cpp
  src/calibration/data_files.cpp
  src/calibration/dataset_default.cpp
  src/calibration/dataset_name.cpp
  src/calibration/dataset_registry.cpp
  src/calibration/dataset_spec.cpp
  src/calibration/document_source.cpp
  src/calibration/parquet_rows.cpp
  src/calibration/row_reader.cpp
  src/calibration/sampling.cpp
  src/calibration/samples.cpp
  src/calibration/self_dataset.cpp
  src/calibration/text_rule.cpp)

# Parquet through Arrow's C++ libraries, opened at run time (ADR 0044). Without them such files are refused with a sentence.
include(ArkitArrow)
if(TARGET arkit_arrow)
  add_library(arkit_parquet MODULE src/calibration/parquet_json.cpp src/calibration/parquet_module.cpp)
  target_include_directories(arkit_parquet PRIVATE src)
  target_link_libraries(arkit_parquet PRIVATE arkit_arrow)
  target_link_options(arkit_parquet PRIVATE LINKER:-z,defs)
  set_target_properties(arkit_parquet PROPERTIES BUILD_RPATH "${ARKIT_ARROW_ROOT}" INSTALL_RPATH "${ARKIT_ARROW_ROOT}")
  arkit_warnings(arkit_parquet)
  install(TARGETS arkit_parquet LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
endif()

# Data sets known by name.
arkit_share(datasets)
arkit_compile_alone(${CMAKE_CURRENT_LIST_DIR}/dataset_default.cpp ${CMAKE_CURRENT_LIST_DIR}/dataset_registry.cpp)
