#pragma once
// What every command may ask every component, asked once in a child process where an answer that crashes hurts nobody.

#include <filesystem>
#include <functional>
#include <string>

#include <arkit/backend_c.h>
#include <arkit/plugin.h>

namespace arkit::plugins {

// Creates the component, asks and destroys it; `doing` is told before each call ("info() of scheme 'int'"). Throws
// what the component throws.
void ask_questions(const ArkitComponent& component, const std::filesystem::path& plugin_file,
                   const std::function<void(const std::string& what)>& doing);

// The same for a backend behind the door made of C: opens it, asks and closes it.
void ask_backend(const ArkitBackendManifest& manifest, const std::filesystem::path& plugin_file,
                 const std::function<void(const std::string& what)>& doing);

// The exception being handled in words: "std::runtime_error 'no licence'", "an object of type int".
[[nodiscard]] std::string current_exception_text();

}  // namespace arkit::plugins
