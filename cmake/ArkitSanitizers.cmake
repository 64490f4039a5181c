# -DARKIT_SANITIZE=address,undefined instruments everything of ours; LibTorch stays as it is (presets set ASAN_OPTIONS for that).
if(ARKIT_SANITIZE)
  add_compile_options(-fsanitize=${ARKIT_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=undefined)
  add_link_options(-fsanitize=${ARKIT_SANITIZE})
endif()
