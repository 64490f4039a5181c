# One precompiled header for everything that uses LibTorch operators.
if(ARKIT_PCH)
  file(WRITE ${CMAKE_BINARY_DIR}/pch/arkit_pch.cpp "// Owner of the precompiled header.\n")
  add_library(arkit_pch OBJECT ${CMAKE_BINARY_DIR}/pch/arkit_pch.cpp)
  target_link_libraries(arkit_pch PRIVATE arkit::torch)
  arkit_warnings(arkit_pch)  # GCC wants equal flags: -Wpedantic changes predefined macros
  target_precompile_headers(arkit_pch PRIVATE <ATen/ATen.h> <ATen/Parallel.h>)
endif()
function(arkit_use_pch target)
  if(ARKIT_PCH AND TARGET arkit_pch)
    target_precompile_headers(${target} REUSE_FROM arkit_pch)
  endif()
endfunction()
