# One line a file, sorted.
list(APPEND ARKIT_SDK_SOURCES
  ${CMAKE_CURRENT_LIST_DIR}/group.cpp)
