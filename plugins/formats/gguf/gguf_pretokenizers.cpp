#include "gguf_pretokenizers.h"

#include <algorithm>
#include <array>

#include <arkit/sdk/pretokenizer_patterns.h>

namespace arkit::gguf {
namespace {

using namespace pretokenizer_patterns;

// Groups and their flags as llama.cpp reads the names; NFC is what the models' own tokenizer.json does.
constexpr std::array kPreTokenizers{
    PreTokenizer{"gpt-2", PreKind::byte_level, {}},
    PreTokenizer{"phi-2", PreKind::byte_level, {}},
    PreTokenizer{"mpt", PreKind::byte_level, {}},
    PreTokenizer{"olmo", PreKind::byte_level, {}},
    PreTokenizer{"jais", PreKind::byte_level, {}},
    PreTokenizer{"trillion", PreKind::byte_level, {}},
    PreTokenizer{"smollm", PreKind::digits_byte_level, {}},
    PreTokenizer{"starcoder", PreKind::digits_byte_level, {}},
    PreTokenizer{"refact", PreKind::digits_byte_level, {}},
    PreTokenizer{"codeshell", PreKind::digits_byte_level, {}},
    PreTokenizer{"llama-bpe", PreKind::split_byte_level, {kLlama3}, true, true},
    PreTokenizer{"llama3", PreKind::split_byte_level, {kLlama3}, true, true},
    PreTokenizer{"llama-v3", PreKind::split_byte_level, {kLlama3}, true, true},
    PreTokenizer{"falcon3", PreKind::split_byte_level, {kLlama3}, true, true},
    PreTokenizer{"pixtral", PreKind::split_byte_level, {kLlama3}, true, true},
    PreTokenizer{"midm-2.0", PreKind::split_byte_level, {kLlama3}, true, true},
    PreTokenizer{"smaug-bpe", PreKind::split_byte_level, {kLlama3}},
    PreTokenizer{"dbrx", PreKind::split_byte_level, {kLlama3}},
    PreTokenizer{"qwen2", PreKind::split_byte_level, {kQwen2}, false, false, true},
    PreTokenizer{"deepseek-r1-qwen", PreKind::split_byte_level, {kQwen2}, false, false, true},
    PreTokenizer{"megrez", PreKind::split_byte_level, {kQwen2}, false, false, true},
    PreTokenizer{"tekken", PreKind::split_byte_level, {kTekken}, true, true},
    PreTokenizer{"gpt-4o", PreKind::split_byte_level, {kO200k}},
    PreTokenizer{"llama4", PreKind::split_byte_level, {kO200k}},
    PreTokenizer{"deepseek-v3", PreKind::split_byte_level, {kDigits3, kCjk, kDeepseek3}},
};

json::Object byte_level(bool add_prefix_space, bool use_regex) {
  return {
      {"type", "ByteLevel"}, {"add_prefix_space", add_prefix_space}, {"trim_offsets", true}, {"use_regex", use_regex}};
}

json::Object split(std::string_view regex) {
  return {{"type", "Split"}, {"pattern", json::Object{{"Regex", regex}}}, {"behavior", "Isolated"}, {"invert", false}};
}

// Without what says nothing of where text is cut.
json::Value essence(const json::Value& step) {
  if (const json::Array* list = step.if_array()) {
    json::Array out;
    for (const json::Value& one : *list) out.push_back(essence(one));
    return out;
  }
  const json::Object* object = step.if_object();
  if (object == nullptr) return step;
  json::Object out;
  for (const auto& [key, value] : *object)
    if (key != "trim_offsets") out[key] = essence(value);
  // A sequence of one step is that step.
  if (const json::Value* steps = json::find(out, "pretokenizers"); steps != nullptr && steps->as_array().size() == 1)
    return steps->as_array().front();
  return out;
}

}  // namespace

const PreTokenizer* recognise_pre_tokenizer(const json::Object& tokenizer) {
  const json::Value* stored = json::find(tokenizer, "pre_tokenizer");
  const json::Value* model = json::find(tokenizer, "model");
  if (stored == nullptr || model == nullptr || !model->is_object()) return nullptr;
  const json::Value* normalizer = json::find(tokenizer, "normalizer");
  const bool nfc = normalizer != nullptr && *normalizer == json::Value(json::Object{{"type", "NFC"}});
  if (normalizer != nullptr && !nfc) return nullptr;
  const json::Value cuts = essence(*stored);
  const bool ignore_merges = json::get_bool(model->as_object(), "ignore_merges", "tokenizer.json").value_or(false);
  const auto cutting_so = [&](bool normalizing) {
    return std::find_if(kPreTokenizers.begin(), kPreTokenizers.end(), [&](const PreTokenizer& pre) {
      return pre.normalizes_nfc == normalizing && pre.ignore_merges == ignore_merges &&
             essence(pre_tokenizer_json(pre, false)) == cuts;
    });
  };
  auto it = cutting_so(nfc);
  // Tokenizers that were made of a GGUF file have lost the normalizer, as llama.cpp applies none.
  if (it == kPreTokenizers.end() && !nfc) it = cutting_so(true);
  return it == kPreTokenizers.end() ? nullptr : &*it;
}

std::string pre_tokenizer_names() {
  std::string names;
  for (const PreTokenizer& pre : kPreTokenizers) names += (names.empty() ? "" : ", ") + std::string(pre.name);
  return names;
}

const PreTokenizer* find_pre_tokenizer(std::string_view name) {
  const auto it =
      std::find_if(kPreTokenizers.begin(), kPreTokenizers.end(), [&](const auto& p) { return p.name == name; });
  return it == kPreTokenizers.end() ? nullptr : &*it;
}

json::Object pre_tokenizer_json(const PreTokenizer& pre, bool add_prefix_space) {
  if (pre.kind == PreKind::byte_level) return byte_level(add_prefix_space, true);
  json::Array steps;
  if (pre.kind == PreKind::digits_byte_level) {
    steps.push_back(json::Object{{"type", "Digits"}, {"individual_digits", true}});
    steps.push_back(byte_level(add_prefix_space, true));
  } else {
    for (const std::string_view regex : pre.regexes)
      if (!regex.empty()) steps.push_back(split(regex));
    steps.push_back(byte_level(add_prefix_space, false));
  }
  return {{"type", "Sequence"}, {"pretokenizers", std::move(steps)}};
}

}  // namespace arkit::gguf
