# Warnings for our own code: add_library(x ...) then arkit_warnings(x). LibTorch and Boost come as system includes.
function(arkit_warnings target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion
                                           -Wno-missing-field-initializers)
  if(ARKIT_WERROR)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
endfunction()
