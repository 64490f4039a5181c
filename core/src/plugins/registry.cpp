#include <arkit/registry.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <set>
#include <type_traits>
#include <utility>

#include <arkit/error.h>
#include <arkit/exporter.h>
#include <arkit/family_files.h>
#include <arkit/inference_backend.h>
#include <arkit/model_adapter.h>
#include <arkit/model_source.h>
#include <arkit/plugin.h>
#include <arkit/scheme.h>
#include <arkit/str.h>
#include <arkit/transform.h>

#include "plugins/backend_door/backend.h"
#include "plugins/discovery.h"
#include "plugins/guard.h"
#include "plugins/questions.h"
#include "plugins/search_path.h"

namespace arkit {
namespace {

// What a user calls the components of a kind, and the command that lists them.
struct KindWords {
  Kind kind;
  std::string_view name, word, list;
};
constexpr KindWords kWords[] = {
    {Kind::scheme, "scheme", "scheme", "'arkit list schemes' shows all"},
    {Kind::exporter, "exporter", "format", "'arkit list formats' shows all"},
    {Kind::backend, "backend", "backend", "'arkit list backends' shows all"},
    {Kind::model, "model", "model family", "'arkit list models' shows all"},
    {Kind::reader, "reader", "reader", "'arkit list plugins' shows all"},
    {Kind::transform, "transform", "transform", "'arkit list transforms' shows all"},
};

const KindWords& words(Kind kind) {
  for (const KindWords& entry : kWords)
    if (entry.kind == kind) return entry;
  ARKIT_CHECK(false, str("kind ", static_cast<uint32_t>(kind), " has no name"));
}

}  // namespace

std::string_view kind_name(Kind kind) noexcept {
  for (const KindWords& entry : kWords)
    if (entry.kind == kind) return entry.name;
  return "unknown";
}

std::string refusal_message(const PluginEntry& entry) {
  const std::string head = str("plugin refused: ", printable(entry.path.string(), 1000));
  if (entry.reason.find('\n') == std::string::npos) return str(head, ": ", entry.reason);
  std::string message = head;
  for (const std::string& line : split(entry.reason, '\n')) message += "\n  " + line;
  return message;
}

struct Registry::Impl {
  struct Slot {
    const ArkitComponent* component = nullptr;      // of C++
    const ArkitBackendManifest* backend = nullptr;  // behind the door made of C
    const PluginEntry* plugin = nullptr;            // into `entries`, which no longer grows
    std::shared_ptr<void> object;                   // created on first use
  };
  using Key = std::pair<Kind, std::string>;

  std::vector<PluginEntry> entries;
  std::map<Key, Slot, std::less<>> slots;
  std::vector<std::filesystem::path> families;  // PluginSearch::families
  mutable std::mutex mutex;                     // guards Slot::object

  explicit Impl(const PluginSearch& search) : families(search.families) {
    plugins::name_plugins_that_end_the_program();
    std::vector<plugins::LoadedPlugin> found = plugins::look_for(search);
    for (plugins::LoadedPlugin& plugin : found) entries.push_back(std::move(plugin.entry));
    for (size_t i = 0; i < entries.size(); ++i)
      if (entries[i].state == PluginState::loaded) index(entries[i], found[i]);
  }

  // The earlier plugin wins; a later one with the same id, or whose every component is taken, is shadowed.
  void index(PluginEntry& entry, const plugins::LoadedPlugin& plugin) {
    for (const PluginEntry& earlier : std::span(entries.data(), &entry)) {
      if (earlier.state != PluginState::loaded || earlier.id != entry.id) continue;
      entry.state = PluginState::shadowed;
      entry.reason = str("plugin id '", entry.id, "' is already taken by ", earlier.path.string());
      for (ComponentEntry& component : entry.components) component.shadowed = true;
      return;
    }
    size_t taken = 0;
    for (size_t c = 0; c < entry.components.size(); ++c) {
      ComponentEntry& component = entry.components[c];
      const auto [it, added] = slots.try_emplace(Key{component.kind, component.name});
      if (added) {
        it->second = {plugin.manifest == nullptr ? nullptr : &plugin.manifest->components[c], plugin.backend, &entry,
                      nullptr};
        continue;
      }
      component.shadowed = true;
      ++taken;
      entry.reason += str(entry.reason.empty() ? "" : "; ", kind_name(component.kind), " '", component.name,
                          "' is already taken by ", it->second.plugin->path.string());
    }
    if (taken == entry.components.size()) entry.state = PluginState::shadowed;
  }

  [[nodiscard]] std::vector<std::string> names(Kind kind) const {
    std::vector<std::string> found;
    for (const auto& [key, slot] : slots)
      if (key.first == kind) found.push_back(key.second);
    return found;  // a map is sorted
  }

  template <typename Interface>
  Interface& get(std::string_view name) {
    constexpr Kind kKind = kKindOf<Interface>;
    const auto it = slots.find(Key{kKind, std::string(name)});
    if (it == slots.end()) {
      const std::vector<std::string> known = names(kKind);
      throw_unsupported(known.empty() ? str("no plugin offers a ", words(kKind).word, ", '", printable(name),
                                            "' was asked for ('arkit list plugins' shows what was found and refused)")
                                      : unknown_name(words(kKind).word, name, known, words(kKind).list));
    }
    const std::lock_guard lock(mutex);
    if (!it->second.object) it->second.object = create<Interface>(it->second, it->first.second);
    return *static_cast<Interface*>(it->second.object.get());
  }

  template <typename Interface>
  std::shared_ptr<Interface> create(const Slot& slot, const std::string& name) const {
    const auto origin = std::make_shared<const plugins::Origin>(
        plugins::Origin{.plugin = slot.plugin->id,
                        .file = slot.plugin->path,
                        .component = str(kind_name(kKindOf<Interface>), " '", name, "'"),
                        .shipped = plugins::is_shipped(slot.plugin->path)});
    if constexpr (std::is_same_v<Interface, InferenceBackend>)
      return backend_door::open_backend(*slot.backend, origin);
    else
      return create_component<Interface>(slot, origin);
  }

  template <typename Interface>
  std::shared_ptr<Interface> create_component(const Slot& slot, const plugins::OriginPtr& origin) const {
    const auto failed = [&](const std::string& why) {
      throw Error(ErrorCode::plugin, str(origin->text(), ": its ", origin->component, " ", why));
    };
    void* raw = nullptr;
    try {
      raw = slot.component->create();
    } catch (const std::exception& error) {
      failed(str("cannot be created: ", printable(error.what(), 500)));
    } catch (...) {
      failed(str("cannot be created: it threw ", plugins::current_exception_text()));
    }
    if (raw == nullptr) failed("cannot be created: its create function returned null");
    // The control block is allocated here, not in plugin code.
    std::shared_ptr<Interface> object(static_cast<Interface*>(raw),
                                      [destroy = slot.component->destroy](Interface* p) { destroy(p); });
    object = plugins::guard(std::move(object), origin);
    if (object->info().name != slot.component->name)
      failed(str("calls itself '", printable(object->info().name, 100), "' in info(); the two names must be equal"));
    if constexpr (std::is_same_v<Interface, ModelAdapter>)
      if (auto* reads_files = dynamic_cast<FamilyFiles*>(object.get())) reads_files->read_families(families);
    return object;
  }
};

Registry::Registry(const PluginSearch& search) : impl_(std::make_unique<Impl>(search)) {}
Registry::~Registry() = default;

std::span<const PluginEntry> Registry::plugins() const noexcept {
  return impl_->entries;
}
std::vector<std::string> Registry::names(Kind kind) const {
  return impl_->names(kind);
}
Scheme& Registry::scheme(std::string_view name) const {
  return impl_->get<Scheme>(name);
}
Exporter& Registry::exporter(std::string_view name) const {
  return impl_->get<Exporter>(name);
}
InferenceBackend& Registry::backend(std::string_view name) const {
  return impl_->get<InferenceBackend>(name);
}
ModelAdapter& Registry::model(std::string_view name) const {
  return impl_->get<ModelAdapter>(name);
}
ModelReader& Registry::reader(std::string_view name) const {
  return impl_->get<ModelReader>(name);
}
Transform& Registry::transform(std::string_view name) const {
  return impl_->get<Transform>(name);
}

Scheme& Registry::scheme_for(std::string_view data_type) const {
  std::set<std::string> known;
  for (const std::string& name : names(Kind::scheme)) {
    Scheme& candidate = scheme(name);
    for (const std::string_view type : candidate.info().data_types) {
      if (type == data_type) return candidate;
      known.emplace(type);
    }
  }
  const std::vector<std::string> types(known.begin(), known.end());
  throw_unsupported(unknown_name("data_type", data_type, types, "'arkit list schemes' shows all"));
}

}  // namespace arkit
