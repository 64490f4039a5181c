#include "jobs/backend_list.h"

#include <algorithm>
#include <string>
#include <utility>

#include <arkit/error.h>
#include <arkit/inference_backend.h>
#include <arkit/str.h>

#include "inference/backend_probes.h"

namespace arkit {
namespace {

template <typename T>
json::Array array_of(const std::vector<T>& values) {
  return json::Array(values.begin(), values.end());
}

json::Object describe(const BackendRuns& runs) {
  json::Array symmetry;
  if (runs.sym) symmetry.emplace_back("sym");
  if (runs.asym) symmetry.emplace_back("asym");
  return {{"data_type", runs.data_type},
          {"activations", runs.activations},
          {"bits", array_of(runs.bits)},
          {"group_sizes", array_of(runs.group_sizes)},
          {"every_group_size", runs.every_group_size},
          {"block_rows", runs.block_rows},
          {"symmetry", std::move(symmetry)},
          {"score", runs.score},
          {"own_activations", runs.own_activations},
          {"packings", runs.packings.empty() ? json::Array{"any"} : array_of(runs.packings)},
          {"out_multiple", runs.out_multiple},
          {"in_multiple", runs.in_multiple}};
}

json::Array describe_devices(const InferenceBackend& backend, const Registry& registry) {
  json::Array devices;
  const std::span<const BackendDevice> here = backend.devices();
  for (size_t i = 0; i < here.size(); ++i) {
    json::Array runs;
    std::string fault;
    try {
      for (const BackendRuns& row : probe_backend(backend, i, registry)) runs.push_back(describe(row));
    } catch (const Error& error) {  // of this plugin; the others are listed all the same
      if (error.code() == ErrorCode::interrupted) throw;
      fault = error.what();
    }
    devices.push_back(json::Object{{"device", here[i].id()},
                                   {"name", here[i].name},
                                   {"vendor", here[i].vendor},
                                   {"memory", here[i].memory},
                                   {"memory_is_host", here[i].host_memory},
                                   {"score", here[i].score},
                                   {"fault", fault},
                                   {"runs", std::move(runs)}});
  }
  return devices;
}

json::Array describe_names(const KnownBackend* known) {
  json::Array rows;
  if (known == nullptr) return rows;
  for (const KnownBackend::StandsIn& one : known->stands_in)
    rows.push_back(json::Object{{"names", array_of(one.names)}, {"why", one.why}});
  return rows;
}

}  // namespace

json::Array list_backends(const Registry& registry, const std::vector<KnownBackend>& known) {
  json::Array rows;
  const std::vector<std::string> here = registry.names(Kind::backend);
  for (const std::string& name : here) {
    const InferenceBackend& backend = registry.backend(name);
    const Availability available = backend.probe();
    const KnownBackend* file = find_backend(known, name);
    json::Object row{{"name", name},
                     {"installed", true},
                     {"summary", backend.info().summary},
                     {"score", available.score},
                     {"reason", available.why_not},
                     {"step", available.score == 0 && file != nullptr ? file->enable : std::string()},
                     {"devices", describe_devices(backend, registry)},
                     {"stands_in_for", describe_names(file)}};
    rows.push_back(std::move(row));
  }
  for (const KnownBackend& backend : known) {
    if (std::find(here.begin(), here.end(), backend.name) != here.end()) continue;
    rows.push_back(json::Object{{"name", backend.name},
                                {"installed", false},
                                {"summary", backend.title},
                                {"score", 0},
                                {"reason", backend.missing.empty() ? std::string("not installed") : backend.missing},
                                {"step", backend.get},
                                {"devices", json::Array()},
                                {"stands_in_for", describe_names(&backend)}});
  }
  return rows;
}

}  // namespace arkit
