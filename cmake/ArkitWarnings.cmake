# Warnings for our own code: add_library(x ...) then arkit_warnings(x). LibTorch and Boost come as system includes.
function(arkit_warnings target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion
                                           -Wno-missing-field-initializers)
  if(ARKIT_WERROR)
    # GCC 12 sees overflows in inlined std::string code that are not there (its bugs 105329, 105651): warnings, not errors.
    target_compile_options(${target} PRIVATE -Werror -Wno-error=stringop-overflow -Wno-error=restrict -Wno-error=array-bounds
                                             -Wno-error=stringop-overread)
  endif()
endfunction()
