# arkit_share(NAME): share/NAME, data the program reads when it runs, lies beside its libraries, in the build tree and installed.
function(arkit_share name)
  file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/share/arkit)
  file(CREATE_LINK ${PROJECT_SOURCE_DIR}/share/${name} ${CMAKE_BINARY_DIR}/share/arkit/${name} SYMBOLIC)
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/share/${name} DESTINATION ${CMAKE_INSTALL_DATADIR}/arkit COMPONENT runtime)
endfunction()
