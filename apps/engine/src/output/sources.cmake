list(APPEND ARKIT_ENGINE_SOURCES
  src/output/file_tree.cpp
  src/output/folder_guard.cpp
  src/output/old_export.cpp
  src/output/output_folder.cpp
  src/output/part_folder.cpp
  src/output/swap_journal.cpp)
arkit_compile_alone(${CMAKE_CURRENT_LIST_DIR}/output_folder.cpp ${CMAKE_CURRENT_LIST_DIR}/swap_journal.cpp)
