#include "plugins/questions.h"

#include <exception>
#include <typeinfo>

#include <cxxabi.h>

#include <boost/core/demangle.hpp>

#include <c10/util/Exception.h>

#include <arkit/exporter.h>
#include <arkit/exporter_options.h>
#include <arkit/family_files.h>
#include <arkit/file_tool.h>
#include <arkit/free_mix.h>
#include <arkit/importance_files.h>
#include <arkit/inference_backend.h>
#include <arkit/model_adapter.h>
#include <arkit/registry.h>
#include <arkit/scheme.h>
#include <arkit/source_check.h>
#include <arkit/str.h>
#include <arkit/transform.h>

#include "plugins/backend_door/backend.h"

namespace arkit::plugins {
namespace {

// 4-bit groups of 128 on a shape that every packing can judge.
LayerPlan sample_layer() {
  LayerPlan layer{.name = "blocks.0.query", .out_features = 1024, .in_features = 1024, .block = 0};
  layer.quant.weight.bits = 4;
  return layer;
}

class Questions {
 public:
  Questions(const ArkitComponent& component, const std::filesystem::path& file,
            const std::function<void(const std::string&)>& doing)
      : component_(component), file_(file), doing_(doing) {}

  template <typename Interface>
  void ask() const {
    tell("the constructor");
    auto* object = static_cast<Interface*>(component_.create());
    if (object == nullptr) return;  // reported when the component is first used
    tell("info()");
    (void)std::string(object->info().name);
    ask_more(*object);
    tell("the destructor");
    component_.destroy(object);
  }

 private:
  void tell(std::string_view function) const {
    doing_(str(function, " of its ", kind_name(static_cast<Kind>(component_.kind)), " '", component_.name, "'"));
  }

  // Is it of these types, too? The look goes through what the file says of its types.
  template <typename... Faces, typename Interface>
  void ask_type(const Interface& object) const {
    tell("the type");
    [[maybe_unused]] const volatile bool known = (... | (dynamic_cast<const Faces*>(&object) != nullptr));
  }

  void ask_more(Scheme& scheme) const {
    for (const std::string_view type : scheme.info().data_types) (void)std::string(type);
    tell("presets()");
    for (const Preset& preset : scheme.presets()) (void)Preset(preset);
  }
  void ask_more(Exporter& exporter) const {
    ask_type<FreeMix, SourceCheck, ExporterOptions>(exporter);
    tell("variants()");
    for (const std::string_view variant : exporter.variants()) (void)std::string(variant);
    tell("implied_scheme()");
    (void)std::string(exporter.implied_scheme(exporter.info().name));
    tell("supports()");
    (void)exporter.supports(sample_layer(), exporter.info().name);
  }
  void ask_more(ModelAdapter& adapter) const {
    ask_type<FamilyFiles>(adapter);
    tell("matches()");
    (void)adapter.matches(json::Object());
  }
  void ask_more(ModelReader& reader) const {
    ask_type<FileTool, ImportanceFiles>(reader);
    tell("matches()");
    (void)reader.matches(file_, nullptr);
  }
  void ask_more(Transform& transform) const {
    tell("settings()");
    (void)transform.settings({});
  }

  const ArkitComponent& component_;
  const std::filesystem::path& file_;
  const std::function<void(const std::string&)>& doing_;
};

}  // namespace

void ask_questions(const ArkitComponent& component, const std::filesystem::path& plugin_file,
                   const std::function<void(const std::string& what)>& doing) {
  const Questions questions(component, plugin_file, doing);
  switch (static_cast<Kind>(component.kind)) {
    case Kind::scheme:
      return questions.ask<Scheme>();
    case Kind::exporter:
      return questions.ask<Exporter>();
    case Kind::backend:
      return;  // refused before: manifest.cpp
    case Kind::model:
      return questions.ask<ModelAdapter>();
    case Kind::reader:
      return questions.ask<ModelReader>();
    case Kind::transform:
      return questions.ask<Transform>();
  }
}

void ask_backend(const ArkitBackendManifest& manifest, const std::filesystem::path& plugin_file,
                 const std::function<void(const std::string& what)>& doing) {
  const std::string name = str("backend '", manifest.name, "'");
  const auto tell = [&](std::string_view function) { doing(str(function, " of its ", name)); };
  tell("open()");
  std::shared_ptr<InferenceBackend> backend = backend_door::open_backend(
      manifest, std::make_shared<const Origin>(
                    Origin{.plugin = manifest.id, .file = plugin_file, .component = name, .shipped = false}));
  tell("devices()");
  (void)backend->probe();
  tell("supports()");
  (void)backend->supports({.name = sample_layer().name,
                           .packing = "auto_round",
                           .out_features = sample_layer().out_features,
                           .in_features = sample_layer().in_features,
                           .quant = sample_layer().quant});
  tell("close()");
  backend.reset();
}

std::string current_exception_text() {
  const std::type_info* type = abi::__cxa_current_exception_type();
  const std::string name = type == nullptr ? "an exception" : boost::core::demangle(type->name());
  try {
    if (std::current_exception() == nullptr) return "nothing, but called std::terminate";
    throw;
  } catch (const c10::Error& error) {
    return str(name, " '", printable(error.what_without_backtrace(), 500), "'");
  } catch (const std::exception& error) {
    return str(name, " '", printable(error.what(), 500), "'");
  } catch (...) {
    return str("an object of type ", name);
  }
}

}  // namespace arkit::plugins
