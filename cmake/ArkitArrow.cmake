# Arrow's C++ libraries out of pyarrow's wheel, headers and all (Debian 12 has no package of them): target arkit_arrow, where a program that
# passes std::string to them links with this compiler. Looked for in ARKIT_PYARROW_DIR, in the venv of ./setup and beside LibTorch.
# docs/adr/0044-data-sets.md says why.
set(ARKIT_PYARROW_DIR "$ENV{ARKIT_PYARROW_DIR}" CACHE STRING "pyarrow's folder (site-packages/pyarrow) for reading parquet; empty = looked for, none = do without")
file(GLOB _places CONFIGURE_DEPENDS LIST_DIRECTORIES true ${PROJECT_SOURCE_DIR}/.deps/venv/lib/python3*/site-packages/pyarrow ${ARKIT_TORCH_ROOT}/../pyarrow)
if(ARKIT_PYARROW_DIR)
  set(_places ${ARKIT_PYARROW_DIR})
endif()
foreach(_place ${_places})
  file(GLOB _arrow ${_place}/libarrow.so.*)
  file(GLOB _parquet ${_place}/libparquet.so.*)
  list(LENGTH _arrow _found)
  if(EXISTS ${_place}/include/parquet/arrow/reader.h AND _found EQUAL 1 AND _parquet)
    get_filename_component(_root ${_place} ABSOLUTE)
    break()
  endif()
endforeach()

if(NOT _root)
  message(STATUS "Arrow: not found; parquet files will not be read (./setup installs pyarrow)")
  return()
endif()
if(NOT ARKIT_ARROW_CHECKED STREQUAL _root)
  file(WRITE ${CMAKE_BINARY_DIR}/arrow_check.cpp
"#include <arrow/io/file.h>
#include <arrow/memory_pool.h>
int main() {
  arrow::CappedMemoryPool pool(arrow::system_memory_pool(), 1);
  return arrow::io::ReadableFile::Open(std::string(\"no such file\"), &pool).ok() ? 1 : 0;
}
")
  try_compile(_links ${CMAKE_BINARY_DIR}/arrow_check ${CMAKE_BINARY_DIR}/arrow_check.cpp
    CMAKE_FLAGS -DINCLUDE_DIRECTORIES=${_root}/include
    LINK_LIBRARIES ${_arrow} ${_parquet} -Wl,-rpath,${_root}
    CXX_STANDARD 20 CXX_STANDARD_REQUIRED ON OUTPUT_VARIABLE _why)
  if(NOT _links)
    file(WRITE ${CMAKE_BINARY_DIR}/arrow_check.log "${_why}")
    message(WARNING "Arrow in ${_root} does not link with this compiler (another libstdc++ ABI, or older than 20); parquet files will not be "
      "read. Details: ${CMAKE_BINARY_DIR}/arrow_check.log")
    return()
  endif()
  set(ARKIT_ARROW_CHECKED ${_root} CACHE INTERNAL "Arrow that was found to link")
endif()
message(STATUS "Arrow: ${_root}")
add_library(arkit_arrow INTERFACE)
target_include_directories(arkit_arrow SYSTEM INTERFACE ${_root}/include)
target_link_libraries(arkit_arrow INTERFACE ${_parquet} ${_arrow})
set(ARKIT_ARROW_ROOT ${_root})
