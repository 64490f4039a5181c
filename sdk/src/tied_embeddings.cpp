#include <arkit/sdk/forwarding_source.h>
#include <arkit/sdk/tied_embeddings.h>

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>
#include <vector>

#include <ATen/ATen.h>

#include <arkit/sdk/layer_rules.h>
#include <arkit/sdk/text_config.h>
#include <arkit/str.h>

namespace arkit {
namespace {

constexpr const char* kFlag = "tie_word_embeddings";
constexpr std::string_view kWeight = ".weight";
constexpr int64_t kStrip = 1024;  // rows compared at a time

std::string_view last_component(std::string_view name) {
  return name.substr(name.rfind('.') + 1);
}

// In no decoder block (multi-token prediction has heads and tables of its own there), in no tower of another sense.
bool of_the_text_model(std::string_view layer) {
  return !model_free::block_place(str(layer, ".")) && !model_free::is_other_sense(layer) &&
         layer.find("mtp.") == std::string_view::npos;
}

bool is_head(std::string_view layer) {
  return last_component(layer) == "lm_head";
}

bool is_old_head(std::string_view layer) {
  const std::string_view last = last_component(layer);
  return last == "embed_out" || last == "output_layer" || layer == "output";
}

bool is_table(std::string_view layer) {
  return model_free::is_embedding_table(layer) || last_component(layer) == "shared";
}

// The shortest name that fits: what others have in front of it belongs to something else.
template <typename Fits>
std::string find_layer(const ModelSource& source, const Fits& fits) {
  std::string found;
  const auto consider = [&](std::string_view layer) {
    if (fits(layer) && of_the_text_model(layer) && (found.empty() || layer.size() < found.size())) found = layer;
  };
  for (const LinearSpec& spec : sdk::packed_layers(source)) consider(spec.name);
  for (const TensorInfo& info : source.weights().tensors())
    if (info.name.ends_with(kWeight) && info.shape.size() == 2)
      consider(std::string_view(info.name).substr(0, info.name.size() - kWeight.size()));
  return found;
}

bool is_packed(const ModelSource& source, std::string_view layer) {
  const auto layers = sdk::packed_layers(source);
  return std::any_of(layers.begin(), layers.end(), [&](const LinearSpec& spec) { return spec.name == layer; });
}

bool equal_matrices(const WeightSource& weights, const std::string& a, const std::string& b) {
  const at::Tensor left = weights.load(a), right = weights.load(b);
  bool equal = left.sizes() == right.sizes();
  for (int64_t row = 0; equal && row < left.size(0); row += kStrip) {
    const int64_t rows = std::min(kStrip, left.size(0) - row);
    const at::Tensor mine = left.narrow(0, row, rows), other = right.narrow(0, row, rows);
    equal =
        mine.scalar_type() == other.scalar_type() ? mine.equal(other) : mine.to(at::kFloat).equal(other.to(at::kFloat));
  }
  weights.release(a);
  weights.release(b);
  return equal;
}

// Said by any of the places loaders look at; nullopt = by none.
std::optional<bool> stated(const json::Object& config) {
  std::optional<bool> says;
  for (const json::Object* part : text_configs(config))
    if (const auto flag = json::get_bool(*part, kFlag, "config.json")) says = says.value_or(false) || *flag;
  return says;
}

enum class Architecture { unknown, language_model, headless };

Architecture architecture_of(const json::Object& config) {
  static constexpr std::array<std::string_view, 3> kReadOut = {"ForCausalLM", "ForConditionalGeneration",
                                                               "LMHeadModel"};
  static constexpr std::array<std::string_view, 5> kHeadless = {
      "Model", "ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering", "ForRewardModel"};
  const json::Value* names = json::find(config, "architectures");
  if (names == nullptr || !names->is_array() || names->get_array().empty() || !names->get_array()[0].is_string())
    return Architecture::unknown;
  const std::string_view name = names->get_array()[0].get_string();
  const auto ends = [&](std::string_view end) { return name.ends_with(end); };
  if (std::any_of(kReadOut.begin(), kReadOut.end(), ends)) return Architecture::language_model;
  return std::any_of(kHeadless.begin(), kHeadless.end(), ends) ? Architecture::headless : Architecture::unknown;
}

// Outside the blocks, a second matrix of the shape: the other one of the two, under a name that nobody told us.
bool has_unnamed_twin(const ModelSource& source, const std::string& layer) {
  const std::string name = str(layer, kWeight);
  const TensorInfo* known = source.weights().find(name);
  const auto tensors = source.weights().tensors();
  return known != nullptr && std::any_of(tensors.begin(), tensors.end(), [&](const TensorInfo& info) {
           return info.name != name && info.shape == known->shape && of_the_text_model(info.name);
         });
}

}  // namespace

std::string expected_embedding(const ModelSource& source) {
  struct Name {
    std::string_view model_type, table;
  };
  static constexpr std::array kNames = {Name{"gpt_neox", "embed_in"},       Name{"internlm2", "tok_embeddings"},
                                        Name{"mamba", "embeddings"},        Name{"mamba2", "embeddings"},
                                        Name{"falcon_mamba", "embeddings"}, Name{"falcon", "word_embeddings"},
                                        Name{"bloom", "word_embeddings"}};
  const std::string type = json::get_string(source.config(), "model_type", "config.json").value_or("");
  const auto* named = std::find_if(kNames.begin(), kNames.end(), [&](const Name& n) { return n.model_type == type; });
  for (const TensorInfo& info : source.weights().tensors()) {
    const auto place = model_free::block_place(str(".", info.name));  // a list may be the first thing in the name
    if (!place || model_free::is_other_sense(info.name)) continue;
    const std::string list = place->list.substr(1);
    const std::string_view last = last_component(list);
    if (last != "layers" && last != "h") continue;
    const std::string_view table = named != kNames.end() ? named->table : last == "h" ? "wte" : "embed_tokens";
    return str(list.substr(0, list.size() - last.size()), table);
  }
  return {};
}

std::string stored_embedding(const ModelSource& source) {
  return find_layer(source, is_table);
}

std::string stored_head(const ModelSource& source) {
  const std::string head = find_layer(source, is_head);
  return head.empty() ? find_layer(source, is_old_head) : head;
}

TiedEmbeddings find_tied_embeddings(const ModelSource& source) {
  TiedEmbeddings found;
  found.embedding = stored_embedding(source);
  found.head = stored_head(source);
  const std::optional<bool> says = stated(source.config());
  const Architecture architecture = architecture_of(source.config());
  found.has_head = !found.head.empty() || architecture != Architecture::headless;
  if (!found.embedding.empty() && !found.head.empty() && says == false) {
    found.storage = HeadStorage::both;
    return found;
  }
  if (!found.embedding.empty() && !found.head.empty()) {
    const bool own = is_packed(source, found.head) || is_packed(source, found.embedding) ||
                     !equal_matrices(source.weights(), str(found.embedding, kWeight), str(found.head, kWeight));
    found.storage = own ? HeadStorage::different : HeadStorage::equal;
    found.tied = !own && says.value_or(true);
    return found;
  }
  const std::string& stored = found.embedding.empty() ? found.head : found.embedding;
  if (stored.empty() || has_unnamed_twin(source, stored)) {
    found.tied = says.value_or(false);
    return found;
  }
  found.storage = found.head.empty() ? HeadStorage::embedding_only : HeadStorage::head_only;
  found.tied = says.value_or(found.has_head) && !is_packed(source, found.head);
  if (!found.tied && architecture == Architecture::language_model)
    found.missing = found.head.empty() ? "lm_head" : expected_embedding(source);
  return found;
}

void state_tied_embeddings(json::Object& config, bool tied) {
  const std::vector<json::Object*> parts = text_configs(config);
  // From the inside out: a new member may move what lies inside.
  for (auto part = parts.rbegin(); part != parts.rend(); ++part) (**part)[kFlag] = tied;
}

}  // namespace arkit
