#include "verify/config_check.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/sdk/text_config.h>
#include <arkit/sdk/tied_embeddings.h>
#include <arkit/str.h>

#include "verify/json_numbers.h"
#include "verify/rope_meaning.h"
#include "verify/target_rules.h"

namespace arkit {
namespace {

namespace fs = std::filesystem;

constexpr const char *kTie = "tie_word_embeddings", *kWeight = ".weight";

// How weights are stored and who wrote the file; at every level.
constexpr std::array<std::string_view, 8> kStorage = {
    "quantization_config", "quantization",         "compression_config", "dtype",
    "torch_dtype",         "transformers_version", "_name_or_path",      kTie};

bool is_storage(std::string_view key) {
  return std::find(kStorage.begin(), kStorage.end(), key) != kStorage.end();
}

using Flat = std::map<std::string, json::Value>;

void flatten(const json::Object& object, const std::string& prefix, Flat& flat);

void flatten_member(std::string_view key, const json::Value& value, const std::string& prefix, Flat& flat) {
  if (is_storage(key) || value.is_null()) return;
  const json::Object* inner = value.if_object();
  if (inner == nullptr)
    flat[prefix + (key == "type" ? std::string("rope_type") : std::string(key))] = value;
  else
    flatten(*inner, key == "rope_scaling" || key == "rope_parameters" ? prefix : str(prefix, key, "."), flat);
}

// RoPE's parameters have three places: members of rope_scaling or rope_parameters, and beside them.
void flatten(const json::Object& object, const std::string& prefix, Flat& flat) {
  const bool one = has_one_rope(object);
  if (one)
    for (const auto& member : rope_meaning(object)) flatten_member(member.key(), member.value(), prefix, flat);
  for (const auto& member : object)
    if (!one || !is_rope_word(member.key())) flatten_member(member.key(), member.value(), prefix, flat);
}

// The file of an export: what is said of RoPE is what its target makes of it.
Flat flatten_as_read(const ModelSource& exported) {
  Flat flat;
  json::Object config = exported.config();
  flatten(config, "", flat);
  const TargetRules* target = target_of(exported.kind());
  if (target == nullptr || !has_one_rope(config)) return flat;
  const json::Object read = config_as_read(config, *target);
  if (!has_one_rope(read)) return flat;
  for (const auto& member : rope_meaning(config)) flat.erase(std::string(member.key()));
  for (const auto& member : rope_meaning(read)) flatten_member(member.key(), member.value(), "", flat);
  return flat;
}

// Where nothing is said, the embeddings' base is this one in every family whose exports may leave it out.
constexpr double kTheta = 10000.0;

bool is_taken_for_granted(std::string_view key, const json::Value& value) {
  return key.ends_with("rope_theta") && value.is_number() && value.to_number<double>() == kTheta;
}

bool same(std::string_view key, const json::Value& a, const json::Value& b) {
  if (!a.is_number() || !b.is_number()) return a == b;
  const double x = a.to_number<double>(), y = b.to_number<double>();
  // One that became an mscale on the way is the same up to its last digits.
  const double digits = key.ends_with("attention_factor") ? 1e-12 : 0.0;
  return std::fabs(x - y) <= digits * std::fabs(y) || x == y || (std::isnan(x) && std::isnan(y));
}

std::string shown(const json::Value& value) {
  return printable(json::dump(value), 60);
}

std::optional<std::string> text_of(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in) return std::nullopt;
  return std::string{std::istreambuf_iterator<char>(in), {}};
}

// Only numbers that parsers change; the others have been compared as values.
bool may_change(const std::string& number) {
  constexpr size_t kDigits = 15;
  return number.size() > kDigits || number.find_first_of("eENI") != std::string::npos;
}

void compare_spellings(const fs::path& exported, const fs::path& source, Check& check) {
  const auto before = text_of(source / "config.json"), after = text_of(exported / "config.json");
  if (!before || !after) return;
  const std::map<std::string, std::string> wanted = json_numbers(*before), got = json_numbers(*after);
  for (const auto& [path, number] : wanted) {
    const std::vector<std::string> parts = split(path, '.');
    if (!may_change(number) || std::any_of(parts.begin(), parts.end(), is_storage)) continue;
    if (std::any_of(parts.begin(), parts.end(), is_rope_word)) continue;  // compared by what they come to
    const auto found = got.find(path);
    if (found != got.end() && !same_number(number, found->second))
      check.fail(
          str("'", printable(path), "' is ", printable(found->second, 60), ", in the source ", printable(number, 60)));
  }
}

}  // namespace

CheckResult check_config(const ModelSource& exported, const ModelSource& source) {
  Check check("configuration says what the source's says");
  Flat wanted, got;
  flatten(source.config(), "", wanted);
  got = flatten_as_read(exported);
  for (const auto& [key, value] : wanted) {
    const auto found = got.find(key);
    if (found != got.end() && same(key, value, found->second)) continue;
    if (found == got.end() && is_taken_for_granted(key, value)) continue;
    check.fail(str("'", printable(key), "' is ", found == got.end() ? std::string("missing") : shown(found->second),
                   ", in the source ", shown(value)));
  }
  compare_spellings(exported.path(), source.path(), check);
  return check.result(str(wanted.size(), " values"));
}

CheckResult check_tie(const ModelSource& exported) {
  Check check("head as configured");
  const TargetRules* target = target_of(exported.kind());
  const json::Object config = target == nullptr ? exported.config() : config_as_read(exported.config(), *target);
  const bool tied = json::get_bool(config_with(config, kTie), kTie, "config.json").value_or(false);
  const WeightSource& weights = exported.weights();
  const TensorInfo *head = weights.find(stored_head(exported) + kWeight),
                   *table = weights.find(stored_embedding(exported) + kWeight);
  if (head == nullptr || table == nullptr || !tied) return check.result(tied ? "tied to the embedding" : "not tied");
  const bool equal = head->dtype == table->dtype && weights.load(head->name).equal(weights.load(table->name));
  if (!equal)
    check.fail(str("the configuration ties the head to the embedding", target == nullptr ? "" : " for " + target->title,
                   ", but '", printable(head->name), "' is stored with other values"));
  weights.release(head->name);
  weights.release(table->name);
  return check.result("tied to the embedding, which is stored twice");
}

CheckResult check_companions(const ModelSource& exported, const ModelSource& source) {
  Check check("files of the source");
  // Written anew for every export.
  static constexpr std::array<std::string_view, 8> kOwn = {"README.md",
                                                           "config.json",
                                                           "quantization_config.json",
                                                           "quantize_config.json",
                                                           "quant_config.json",
                                                           "generation_config.json",
                                                           "recipe.yaml",
                                                           "arkit-run.json"};
  int64_t compared = 0;
  for (const CompanionFile& file : source.companions()) {
    const auto copy = text_of(exported.path() / file.name);
    if (file.name != "generation_config.json" && std::find(kOwn.begin(), kOwn.end(), file.name) != kOwn.end()) continue;
    if (!copy) {
      check.fail(str("'", printable(file.name), "' is missing"));
      continue;
    }
    if (file.name == "generation_config.json") continue;
    const auto original = file.path.empty() ? std::optional(file.content) : text_of(file.path);
    if (original && *original != *copy) check.fail(str("'", printable(file.name), "' differs from the source's"));
    ++compared;
  }
  return check.result(str(compared, " files equal the source's"));
}

}  // namespace arkit
