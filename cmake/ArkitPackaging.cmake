# Install rules beside those of the programs and plugins: headers, package config, templates; CPack settings of the `dist` preset.
include(CMakePackageConfigHelpers)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/arkit)

set_target_properties(arkit_core PROPERTIES EXPORT_NAME core)
set_target_properties(arkit_engine PROPERTIES EXPORT_NAME engine)
set_target_properties(arkit_api PROPERTIES EXPORT_NAME api)
set_target_properties(arkit_sdk PROPERTIES EXPORT_NAME sdk)
install(TARGETS arkit_core EXPORT arkitTargets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT runtime NAMELINK_COMPONENT development)
install(TARGETS arkit_engine EXPORT arkitEngineTargets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT runtime NAMELINK_COMPONENT development)
set_target_properties(arkit_backend PROPERTIES EXPORT_NAME backend)
install(TARGETS arkit_backend EXPORT arkitBackendTargets)
install(EXPORT arkitBackendTargets NAMESPACE arkit:: DESTINATION ${package_dir} COMPONENT development)
install(TARGETS arkit_api arkit_sdk EXPORT arkitTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT development)
install(EXPORT arkitTargets NAMESPACE arkit:: DESTINATION ${package_dir} COMPONENT development)
install(EXPORT arkitEngineTargets NAMESPACE arkit:: DESTINATION ${package_dir} COMPONENT development)

install(DIRECTORY core/include/ sdk/include/ apps/engine/include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT development)
install(DIRECTORY sdk/conformance/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/arkit/sdk/conformance COMPONENT development
        FILES_MATCHING PATTERN "*.h")
foreach(folder template examples)
  if(EXISTS ${CMAKE_SOURCE_DIR}/sdk/${folder})
    install(DIRECTORY sdk/${folder} DESTINATION ${CMAKE_INSTALL_DATADIR}/arkit COMPONENT development)
  endif()
endforeach()
install(FILES LICENSE README.md docs/PLUGINS.md docs/ARCHITECTURE.md DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT development OPTIONAL)

# The build tree can be found as an installation can: CMAKE_PREFIX_PATH=build/<preset>.
set(build_package_dir ${CMAKE_BINARY_DIR}/${package_dir})
configure_package_config_file(cmake/arkitConfig.cmake.in ${build_package_dir}/arkitConfig.cmake INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${build_package_dir}/arkitConfigVersion.cmake COMPATIBILITY SameMinorVersion)
foreach(script ArkitTorch ArkitHeaderHash ArkitPlugin ArkitCuda)
  configure_file(cmake/${script}.cmake ${build_package_dir}/${script}.cmake COPYONLY)
  list(APPEND package_scripts cmake/${script}.cmake)
endforeach()
export(EXPORT arkitBackendTargets NAMESPACE arkit:: FILE ${build_package_dir}/arkitBackendTargets.cmake)
export(EXPORT arkitTargets NAMESPACE arkit:: FILE ${build_package_dir}/arkitTargets.cmake)
export(EXPORT arkitEngineTargets NAMESPACE arkit:: FILE ${build_package_dir}/arkitEngineTargets.cmake)
# Included as <arkit/sdk/conformance/...>, installed or not.
file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/include/arkit/sdk)
file(CREATE_LINK ${CMAKE_SOURCE_DIR}/sdk/conformance ${CMAKE_BINARY_DIR}/include/arkit/sdk/conformance SYMBOLIC)
file(REMOVE ${CMAKE_BINARY_DIR}/arkitConfig.cmake)  # of configurations before it moved; it would be found first

install(FILES ${build_package_dir}/arkitConfig.cmake ${build_package_dir}/arkitConfigVersion.cmake ${package_scripts}
        DESTINATION ${package_dir} COMPONENT development)

# LibTorch stays outside the packages: the installed libraries look for it where it was at build time.
set(CPACK_PACKAGE_NAME arkit)
set(CPACK_PACKAGE_VENDOR "arkit authors")
set(CPACK_PACKAGE_CONTACT "arkit authors <arkit@localhost>")
set(CPACK_RESOURCE_FILE_LICENSE ${CMAKE_SOURCE_DIR}/LICENSE)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${ARKIT_TORCH_ROOT}/lib)
set(CPACK_DEBIAN_PACKAGE_DEPENDS
    "libboost-json1.81.0, libboost-program-options1.81.0, libtomlplusplus3, libyaml-cpp0.7, libpcre2-8-0, libcurl4, libzstd1, zlib1g, libdnnl2, libgomp1")
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_GROUPING ALL_COMPONENTS_IN_ONE)
include(CPack)
