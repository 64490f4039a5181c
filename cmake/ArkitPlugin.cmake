include(${CMAKE_CURRENT_LIST_DIR}/ArkitHeaderHash.cmake)

# arkit_add_plugin(NAME auto_gptq KIND exporter SOURCES a.cpp b.cpp [LINK lib...] [KERNELS k.cpp...])
#   makes libarkit_<kind>_<name>.so with hidden symbols; undefined symbols fail at link time. KERNELS are compiled without LibTorch's
#   include folder. A backend stands behind a door made of C: it is compiled with arkit::backend alone, LINK adds what it needs beside it. In
#   arkit's own tree the file lands in lib/arkit/plugins and is installed; elsewhere in the current binary folder.
function(arkit_add_plugin)
  cmake_parse_arguments(P "" "NAME;KIND" "SOURCES;LINK;KERNELS" ${ARGN})
  if(NOT P_NAME OR NOT P_KIND OR NOT P_SOURCES)
    message(FATAL_ERROR "arkit_add_plugin needs NAME, KIND and SOURCES")
  endif()
  set(target arkit_${P_KIND}_${P_NAME})
  add_library(${target} MODULE ${P_SOURCES})
  if(P_KIND STREQUAL "backend")
    target_link_libraries(${target} PRIVATE arkit::backend ${P_LINK})
  else()
    target_link_libraries(${target} PRIVATE arkit::sdk arkit::core ${P_LINK})
  endif()
  target_link_options(${target} PRIVATE LINKER:-z,defs)
  set_target_properties(${target} PROPERTIES PREFIX lib CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
  target_compile_features(${target} PRIVATE cxx_std_20)
  if(P_KERNELS)
    add_library(${target}_kernels OBJECT ${P_KERNELS})
    target_include_directories(${target}_kernels PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
    target_compile_options(${target}_kernels PRIVATE -fPIC -O3)
    target_compile_features(${target}_kernels PRIVATE cxx_std_20)
    set_target_properties(${target}_kernels PROPERTIES UNITY_BUILD OFF)  # one source for several instruction sets
    target_sources(${target} PRIVATE $<TARGET_OBJECTS:${target}_kernels>)
  endif()
  if(COMMAND arkit_warnings)
    arkit_warnings(${target})
    if(NOT P_KIND STREQUAL "backend")
      arkit_use_pch(${target})
    endif()
    set_target_properties(${target} PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${ARKIT_PLUGIN_DIR}
      BUILD_RPATH "${ARKIT_TORCH_ROOT}/lib" INSTALL_RPATH "$ORIGIN/../..;${ARKIT_TORCH_ROOT}/lib")
    install(TARGETS ${target} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/arkit/plugins COMPONENT plugins)
    set_property(GLOBAL APPEND PROPERTY ARKIT_PLUGINS ${target})
  else()
    target_compile_options(${target} PRIVATE -fPIC)
    if(NOT P_KIND STREQUAL "backend")
      arkit_found_header_hash(hash)
      target_compile_definitions(${target} PRIVATE ARKIT_HEADER_HASH="${hash}")
    endif()
  endif()
  # The host refuses files and folders that others can write; the umask of whoever builds must not decide.
  add_custom_command(TARGET ${target} POST_BUILD VERBATIM
    COMMAND chmod go-w $<TARGET_FILE:${target}> $<TARGET_FILE_DIR:${target}>)
endfunction()

# arkit_add_family(NAME llama [ID org.example.llama] [VENDOR v] [LICENSE l] [URL u]): the plugin of a model family that is data alone:
#   family.toml (docs/FAMILIES.md) in the current folder becomes part of libarkit_model_llama.so. A family with code beside its data is an
#   arkit_add_plugin() whose adapter derives from sdk::FamilyAdapter.
function(arkit_add_family)
  cmake_parse_arguments(P "" "NAME;ID;VENDOR;LICENSE;URL" "" ${ARGN})
  if(NOT P_NAME)
    message(FATAL_ERROR "arkit_add_family needs NAME")
  endif()
  foreach(field "ID=org.arkit.model.${P_NAME}" "VENDOR=arkit" "LICENSE=Apache-2.0" "URL=https://github.com/arkit/arkit")
    string(REGEX MATCH "^([A-Z]+)=(.*)$" _ ${field})
    if(NOT P_${CMAKE_MATCH_1})
      set(P_${CMAKE_MATCH_1} ${CMAKE_MATCH_2})
    endif()
  endforeach()
  set(toml ${CMAKE_CURRENT_SOURCE_DIR}/family.toml)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${toml})
  file(READ ${toml} P_TEXT)
  string(REGEX MATCH "(^|\n)summary *= *\"([^\"\n]*)\"" _ "${P_TEXT}")
  set(P_SUMMARY "${CMAKE_MATCH_2}")
  if(NOT P_SUMMARY)
    message(FATAL_ERROR "${toml}: summary = \"...\" is missing")
  endif()
  set(source ${CMAKE_CURRENT_BINARY_DIR}/family_${P_NAME}.cpp)
  file(CONFIGURE OUTPUT ${source} @ONLY CONTENT [[// Made from family.toml by arkit_add_family().
#include <arkit/plugin.h>
#include <arkit/sdk/family.h>

namespace {

constexpr char kFamily[] = R"family(@P_TEXT@)family";

class Adapter final : public arkit::sdk::FamilyAdapter {
 public:
  Adapter() : FamilyAdapter(arkit::sdk::parse_family(kFamily, "family.toml of @P_NAME@")) {}
};

}  // namespace

ARKIT_PLUGIN("@P_ID@", "0.1.0", "@P_VENDOR@", "@P_LICENSE@", "@P_URL@",
             arkit::component<arkit::ModelAdapter, Adapter>("@P_NAME@", "@P_SUMMARY@"));
]])
  arkit_add_plugin(NAME ${P_NAME} KIND model SOURCES ${source})
endfunction()

# arkit_found_header_hash(<variable>): of the headers that find_package(arkit) brought, as they are now.
function(arkit_found_header_hash result)
  get_target_property(folders arkit::api INTERFACE_INCLUDE_DIRECTORIES)
  foreach(folder ${folders})
    if(EXISTS ${folder}/arkit/plugin.h)
      file(GLOB headers CONFIGURE_DEPENDS ${folder}/arkit/*.h)
      set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${headers})
      arkit_header_hash(hash ${folder}/arkit)
      set(${result} ${hash} PARENT_SCOPE)
      return()
    endif()
  endforeach()
  message(FATAL_ERROR "arkit/plugin.h is in none of the include folders of arkit::api: ${folders}")
endfunction()
