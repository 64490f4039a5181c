#include "inference/backend_choice.h"

#include <algorithm>
#include <utility>

#include <arkit/error.h>
#include <arkit/str.h>

namespace arkit {
namespace {

struct StandIn {
  const KnownBackend* backend;
  const std::string* why;
};

std::vector<StandIn> stand_ins(const std::vector<KnownBackend>& known, const std::string& name) {
  std::vector<StandIn> found;
  for (const KnownBackend& backend : known)
    for (const KnownBackend::StandsIn& one : backend.stands_in)
      if (std::find(one.names.begin(), one.names.end(), name) != one.names.end()) found.push_back({&backend, &one.why});
  return found;
}

// What keeps a backend that has no plugin here away.
std::string why_absent(const KnownBackend& backend) {
  return str(
      "'", backend.name, "' (", backend.title, ") ",
      backend.missing.empty() ? str("is not installed: ", backend.get) : str("has no plugin: ", backend.missing));
}

[[noreturn]] void throw_unknown(const std::string& name, const Registry& registry,
                                const std::vector<KnownBackend>& known) {
  std::vector<std::string> names = registry.names(Kind::backend);
  for (const KnownBackend& backend : known) {
    names.push_back(backend.name);
    for (const KnownBackend::StandsIn& one : backend.stands_in)
      names.insert(names.end(), one.names.begin(), one.names.end());
  }
  throw_unsupported(unknown_name("backend", name, names, "'arkit list backends' shows all"));
}

}  // namespace

std::vector<std::string> BackendChoice::refusals() const {
  std::vector<std::string> all;
  for (const BackendAnswer& answer : answers)
    if (answer.verdict.score == 0) all.push_back(str(answer.name, ": ", answer.verdict.why_not));
  return all;
}

BackendChooser::BackendChooser(const Registry& registry, BackendWish wish, const std::vector<KnownBackend>& known)
    : registry_(registry), wish_(std::move(wish)), known_(known) {
  for (std::string* each : {&wish_.backend, &wish_.device})
    if (*each == "auto") each->clear();
  find_names();
  if (!wish_.device.empty()) check_device();
}

void BackendChooser::find_names() {
  const std::vector<std::string> here = registry_.names(Kind::backend);
  const auto is_here = [&](const std::string& name) { return std::find(here.begin(), here.end(), name) != here.end(); };
  if (wish_.backend.empty() || is_here(wish_.backend)) {
    names_ = wish_.backend.empty() ? here : std::vector<std::string>{wish_.backend};
    return;
  }
  if (const KnownBackend* absent = find_backend(known_, wish_.backend))
    throw_unsupported(str("backend ", why_absent(*absent)));
  const std::vector<StandIn> candidates = stand_ins(known_, wish_.backend);
  if (candidates.empty()) throw_unknown(wish_.backend, registry_, known_);
  std::string absent;
  for (const StandIn& one : candidates) {
    const std::string& name = one.backend->name;
    if (!is_here(name)) {
      absent += str(absent.empty() ? "" : "; ", why_absent(*one.backend));
      continue;
    }
    names_.push_back(name);
    stand_in_ += str(stand_in_.empty() ? str("backend '", wish_.backend, "': ") : "; ", "'", name,
                     "' stands in for it: ", *one.why);
  }
  if (names_.empty())
    throw_unsupported(str("backend '", wish_.backend,
                          "' belongs to another program, and what stands in for it is not "
                          "here: ",
                          absent));
}

void BackendChooser::check_device() const {
  std::vector<std::string> there;
  std::string why_none;
  for (const std::string& name : names_) {
    const InferenceBackend& backend = registry_.backend(name);
    for (const BackendDevice& device : backend.devices()) {
      if (device.is(wish_.device)) return;
      there.push_back(device.id());
    }
    if (backend.devices().empty()) why_none += str("; backend '", name, "' has none: ", backend.probe().why_not);
  }
  std::sort(there.begin(), there.end());
  there.erase(std::unique(there.begin(), there.end()), there.end());
  throw_unsupported(str("no backend has a device '", printable(wish_.device), "' here; there are ",
                        there.empty() ? std::string("none") : quoted_list(there), why_none));
}

BackendChoice BackendChooser::choose(const LinearSpec& layer) const {
  BackendChoice choice;
  for (const std::string& name : names_) {
    InferenceBackend& backend = registry_.backend(name);
    choice.answers.push_back({name, backend.supports(layer, wish_.device)});
    BackendVerdict& verdict = choice.answers.back().verdict;
    const bool floats = wish_.compute == "float";
    const bool exact = floats && verdict.approximate && verdict.exact_too;
    if (exact) {
      verdict.approximate = false;
      verdict.own_activations = false;
    }
    if (verdict.score > 0 && verdict.approximate &&
        (floats || (wish_.exact && automatic() && wish_.compute == "auto"))) {
      verdict.score = 0;
      verdict.why_not = str("layer '", layer.name, "': computes with rounded activations",
                            floats ? str(" only") : str("; '--backend ", name, "' measures with it"));
    }
    if (verdict.score <= choice.verdict.score) continue;
    choice.verdict = verdict;
    choice.exact = exact;
    choice.backend = &backend;
  }
  std::stable_sort(choice.answers.begin(), choice.answers.end(),
                   [](const auto& a, const auto& b) { return a.verdict.score > b.verdict.score; });
  return choice;
}

BackendChoice BackendChooser::choose_or_throw(const LinearSpec& layer) const {
  BackendChoice choice = choose(layer);
  if (choice.backend != nullptr) return choice;
  const std::string reasons = quoted_list(choice.refusals());
  if (automatic())
    throw_unsupported(str("layer '", layer.name, "': no backend runs packing '", layer.packing, "'",
                          reasons.empty() ? str(": none is installed") : str(" (", reasons, ")"),
                          "; 'arkit list backends' shows what there is"));
  throw_unsupported(str("layer '", layer.name, "' of packing '", layer.packing, "' is not run by backend '",
                        wish_.backend, "' (", reasons,
                        "); without --backend each layer gets the best that runs it, and 'arkit inspect "
                        "MODEL' shows which"));
}

}  // namespace arkit
