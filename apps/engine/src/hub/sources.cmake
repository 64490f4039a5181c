# The hub client knows of HTTP and of files; LibTorch's headers are not seen here.
add_library(arkit_hub OBJECT
  src/hub/cache.cpp
  src/hub/cached_hub.cpp
  src/hub/content_hash.cpp
  src/hub/disk.cpp
  src/hub/file_lock.cpp
  src/hub/http.cpp
  src/hub/listing.cpp
  src/hub/local_file.cpp
  src/hub/model_files.cpp
  src/hub/model_outline.cpp
  src/hub/model_place.cpp
  src/hub/pinned_hub.cpp
  src/hub/protocol.cpp
  src/hub/remote_access.cpp
  src/hub/remote_hub.cpp
  src/hub/repo_names.cpp
  src/hub/retries.cpp
  src/hub/settings.cpp
  src/hub/streamed_model.cpp
  src/hub/transfer.cpp
  src/hub/voice.cpp
  src/hub/weight_header.cpp)
target_include_directories(arkit_hub PRIVATE ${ARKIT_ENGINE_INCLUDES})
target_link_libraries(arkit_hub PRIVATE Boost::headers CURL::libcurl)
target_compile_definitions(arkit_hub PRIVATE ARKIT_VERSION="${PROJECT_VERSION}")
arkit_warnings(arkit_hub)
list(APPEND ARKIT_ENGINE_SOURCES $<TARGET_OBJECTS:arkit_hub>)
