#pragma once
// What stands between core and a plugin's objects: every call is forwarded, whatever exception comes out of it names
// the plugin, and results that would end in a wrong file are refused. Objects a plugin makes (models, sources, export
// jobs) are guarded as well. Backends, which stand behind a door of their own, are not: core/src/plugins/backend_door
// names them.

#include <exception>
#include <filesystem>
#include <memory>
#include <string>

#include <arkit/exporter.h>
#include <arkit/model_adapter.h>
#include <arkit/model_source.h>
#include <arkit/plugin.h>
#include <arkit/scheme.h>
#include <arkit/transform.h>

namespace arkit::plugins {

// Whose code a guarded object runs.
struct Origin {
  std::string plugin;          // id
  std::filesystem::path file;  // of the plugin
  std::string component;       // "scheme 'int'"
  bool shipped = false;        // arkit's own: its messages to users stand for themselves

  [[nodiscard]] std::string text() const;  // "plugin 'org.example.nf4' (/path/libarkit_scheme_nf4.so)"
};
using OriginPtr = std::shared_ptr<const Origin>;

[[nodiscard]] std::shared_ptr<Scheme> guard(std::shared_ptr<Scheme> inner, OriginPtr origin);
[[nodiscard]] std::shared_ptr<Exporter> guard(std::shared_ptr<Exporter> inner, OriginPtr origin);
[[nodiscard]] std::shared_ptr<ModelAdapter> guard(std::shared_ptr<ModelAdapter> inner, OriginPtr origin);
[[nodiscard]] std::shared_ptr<ModelReader> guard(std::shared_ptr<ModelReader> inner, OriginPtr origin);
[[nodiscard]] std::shared_ptr<Transform> guard(std::shared_ptr<Transform> inner, OriginPtr origin);

// An exception that leaves a function which promises to throw none ends the program; the last words name the plugin
// whose function that was, and the exit code is ErrorCode::plugin's. Installed once a process.
void name_plugins_that_end_the_program();

}  // namespace arkit::plugins
