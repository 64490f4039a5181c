#include "gguf_tokenizer.h"

#include <algorithm>
#include <set>
#include <unordered_set>
#include <utility>

#include <arkit/error.h>
#include <arkit/str.h>

#include "gguf_pretokenizers.h"
#include "gguf_vocabulary.h"

namespace arkit::gguf {
namespace {

using MergeList = std::vector<std::pair<std::string_view, std::string_view>>;

constexpr size_t kMostTemplateBytes = size_t{1} << 19;  // what is rendered at most
constexpr size_t kMostTemplates = 64;
constexpr size_t kMostAddedTokens = size_t{1} << 17;  // each takes half a kilobyte; models of speech have some 2^16
constexpr std::string_view kSpaceMark = "\u2581";

std::string quoted(std::string_view text) {
  return json::dump(json::Value(text));
}

// {"token": id, ...}: all tokens but the fillers of type "unused"; of equal texts the first counts.
std::string vocab_text(const Vocabulary& vocabulary) {
  std::unordered_set<std::string_view> seen;
  std::string out = "{";
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    if (vocabulary.types[id] == TokenType::unused || !seen.insert(vocabulary.tokens[id]).second) continue;
    out += out.size() > 1 ? ", " : "";
    out += quoted(vocabulary.tokens[id]);
    out += ": ";
    out += std::to_string(id);
  }
  return out + "}";
}

std::string merges_text(const MergeList& merges) {
  std::string out = "[";
  for (const auto& [left, right] : merges) {
    out += out.size() > 1 ? ", [" : "[";
    out += quoted(left) + ", " + quoted(right) + "]";
  }
  return out + "]";
}

// "a b": one blank between two parts; blanks inside a part are written as U+0120.
MergeList stored_merges(const Metadata& metadata) {
  MergeList merges;
  for (const std::string_view merge : metadata.texts("tokenizer.ggml.merges")) {
    const size_t blank = merge.find(' ');
    if (blank == 0 || blank == std::string_view::npos || blank + 1 == merge.size() ||
        merge.find(' ', blank + 1) != std::string_view::npos)
      throw_input(
          str(metadata.file(), ": merge '", printable(merge, 60), "' is not two parts with one blank between them"));
    merges.emplace_back(merge.substr(0, blank), merge.substr(blank + 1));
  }
  return merges;
}

// Control tokens and the ones named bos, eos, unk, pad are special; user-defined tokens are matched whole but decoded.
json::Array added_tokens(const Metadata& metadata, const Vocabulary& vocabulary) {
  json::Array out;
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    const TokenType type = vocabulary.types[id];
    const auto is = [&](const std::optional<int64_t>& special) { return special == static_cast<int64_t>(id); };
    const bool special = type == TokenType::control || type == TokenType::unknown || is(vocabulary.bos) ||
                         is(vocabulary.eos) || is(vocabulary.unk) || is(vocabulary.pad);
    if ((!special && type != TokenType::user_defined) || vocabulary.tokens[id].empty()) continue;
    if (out.size() == kMostAddedTokens)
      throw_input(str(metadata.file(), ": more than ", kMostAddedTokens,
                      " tokens are control or user-defined ones ('tokenizer.ggml.token_type')"));
    out.push_back(json::Object{{"id", id},
                               {"content", vocabulary.tokens[id]},
                               {"single_word", false},
                               {"lstrip", false},
                               {"rstrip", false},
                               {"normalized", false},
                               {"special", special}});
  }
  return out;
}

json::Object special_item(std::string_view token, int64_t type_id) {
  return {{"SpecialToken", json::Object{{"id", token}, {"type_id", type_id}}}};
}
json::Object sequence_item(const char* id, int64_t type_id) {
  return {{"Sequence", json::Object{{"id", id}, {"type_id", type_id}}}};
}

// TemplateProcessing that adds bos and eos as the file asks for, or null.
json::Value post_processor(const Vocabulary& vocabulary) {
  const bool bos = vocabulary.add_bos && vocabulary.bos, eos = vocabulary.add_eos && vocabulary.eos;
  if (!bos && !eos) return nullptr;
  json::Object tokens;
  const auto text_of = [&](int64_t id) { return vocabulary.tokens[static_cast<size_t>(id)]; };
  const auto declare = [&](int64_t id) {
    tokens[text_of(id)] =
        json::Object{{"id", text_of(id)}, {"ids", json::Array{id}}, {"tokens", json::Array{text_of(id)}}};
  };
  if (bos) declare(*vocabulary.bos);
  if (eos) declare(*vocabulary.eos);
  const auto append = [&](json::Array& items, const char* sequence, int64_t type_id) {
    if (bos) items.push_back(special_item(text_of(*vocabulary.bos), type_id));
    items.push_back(sequence_item(sequence, type_id));
    if (eos) items.push_back(special_item(text_of(*vocabulary.eos), type_id));
  };
  json::Array single, pair;
  append(single, "A", 0);
  append(pair, "A", 0);
  append(pair, "B", 1);
  return json::Object{{"type", "TemplateProcessing"}, {"single", single}, {"pair", pair}, {"special_tokens", tokens}};
}

json::Object replace(std::string_view from, std::string_view to) {
  return {{"type", "Replace"}, {"pattern", json::Object{{"String", from}}}, {"content", to}};
}

// The steps around the model of a SentencePiece-style tokenizer.
void describe_sentencepiece(json::Object& root, bool add_space_prefix) {
  json::Array normalizers,
      decoders{replace(kSpaceMark, " "), json::Object{{"type", "ByteFallback"}}, json::Object{{"type", "Fuse"}}};
  if (add_space_prefix) {
    normalizers.push_back(json::Object{{"type", "Prepend"}, {"prepend", kSpaceMark}});
    decoders.push_back(json::Object{{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  }
  normalizers.push_back(replace(" ", kSpaceMark));
  root["normalizer"] = json::Object{{"type", "Sequence"}, {"normalizers", normalizers}};
  root["pre_tokenizer"] = nullptr;
  root["decoder"] = json::Object{{"type", "Sequence"}, {"decoders", decoders}};
}

void describe_byte_level(json::Object& root, const PreTokenizer& pre, bool add_space_prefix) {
  root["normalizer"] = pre.normalizes_nfc ? json::Value(json::Object{{"type", "NFC"}}) : json::Value(nullptr);
  root["pre_tokenizer"] = pre_tokenizer_json(pre, add_space_prefix);
  root["decoder"] =
      json::Object{{"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", true}, {"use_regex", true}};
}

// One text, or, where the file has named ones too, a list of them as tokenizer_config.json keeps them.
json::Value chat_templates(const Metadata& metadata) {
  json::Array all;
  const auto add = [&](std::string_view name, std::string text) {
    all.push_back(json::Object{{"name", name}, {"template", std::move(text)}});
  };
  std::optional<std::string> first = metadata.text("tokenizer.chat_template", kMostTemplateBytes);
  const std::vector<std::string_view> names = metadata.texts("tokenizer.chat_templates");
  if (names.empty()) return first ? json::Value(*std::move(first)) : json::Value(nullptr);
  if (names.size() > kMostTemplates)
    throw_input(str(metadata.file(), ": 'tokenizer.chat_templates' has ", names.size(), " names, at most ",
                    kMostTemplates, " are accepted"));
  if (first) add("default", *std::move(first));
  std::set<std::string_view> seen;
  for (const std::string_view name : names) {
    if (!seen.insert(name).second)
      throw_input(str(metadata.file(), ": 'tokenizer.chat_templates' names '", printable(name, 60), "' twice"));
    if (auto text = metadata.text(str("tokenizer.chat_template.", name), kMostTemplateBytes))
      add(name, *std::move(text));
  }
  return all;
}

// Vocabularies are large: their text is written directly and joined to the small rest.
std::string assemble(const json::Object& root, json::Object model, const std::string& vocab,
                     const std::string& merges) {
  std::string head = json::dump(root), tail = json::dump(model);
  head.pop_back();  // "}"
  tail.pop_back();
  return head + ", \"model\": " + tail + ", \"vocab\": " + vocab + ", \"merges\": " + merges + "}}";
}

json::Object bpe_model(const json::Value& unk_token, bool byte_fallback, bool ignore_merges) {
  return {{"type", "BPE"},
          {"dropout", nullptr},
          {"unk_token", unk_token},
          {"continuing_subword_prefix", nullptr},
          {"end_of_word_suffix", nullptr},
          {"fuse_unk", byte_fallback},
          {"byte_fallback", byte_fallback},
          {"ignore_merges", ignore_merges}};
}

std::string byte_level_tokenizer(const Metadata& metadata, const Vocabulary& vocabulary, json::Object root) {
  const PreTokenizer* pre = find_pre_tokenizer(vocabulary.pre);
  if (pre == nullptr)
    throw_unsupported(
        str(metadata.file(), ": pre-tokenizer '", printable(vocabulary.pre, 60),
            "' (tokenizer.ggml.pre) is not one arkit knows; give the Hugging Face folder of the model instead"));
  describe_byte_level(root, *pre, metadata.boolean("tokenizer.ggml.add_space_prefix").value_or(false));
  return assemble(root, bpe_model(nullptr, false, pre->ignore_merges), vocab_text(vocabulary),
                  merges_text(stored_merges(metadata)));
}

std::string sentencepiece_tokenizer(const Metadata& metadata, const Vocabulary& vocabulary, json::Object root) {
  const std::vector<float> scores = metadata.floats("tokenizer.ggml.scores");
  if (scores.size() != vocabulary.tokens.size())
    throw_input(str(metadata.file(), ": 'tokenizer.ggml.scores' has ", scores.size(), " entries for ",
                    vocabulary.tokens.size(), " tokens"));
  if (std::any_of(scores.begin(), scores.end(), [](float s) { return s != s; }))
    throw_input(str(metadata.file(), ": 'tokenizer.ggml.scores' holds NaN"));
  describe_sentencepiece(root, metadata.boolean("tokenizer.ggml.add_space_prefix").value_or(true));
  const json::Value unk =
      vocabulary.unk ? json::Value(vocabulary.tokens[static_cast<size_t>(*vocabulary.unk)]) : json::Value(nullptr);
  return assemble(root, bpe_model(unk, true, false), vocab_text(vocabulary),
                  merges_text(merges_from_scores(vocabulary, scores, metadata.file())));
}

}  // namespace

std::string make_tokenizer_json(const Metadata& metadata) {
  const auto vocabulary = read_vocabulary(metadata);
  if (!vocabulary) return {};
  json::Object root{{"version", "1.0"}, {"truncation", nullptr}, {"padding", nullptr}};
  root["added_tokens"] = added_tokens(metadata, *vocabulary);
  root["post_processor"] = post_processor(*vocabulary);
  if (vocabulary->model == "gpt2") return byte_level_tokenizer(metadata, *vocabulary, std::move(root));
  if (vocabulary->model == "llama") return sentencepiece_tokenizer(metadata, *vocabulary, std::move(root));
  throw_unsupported(str(metadata.file(), ": tokenizer model '", printable(vocabulary->model, 60),
                        "' is not one arkit reads (gpt2, llama)"));
}

json::Object make_tokenizer_config(const Metadata& metadata, const json::Object& config) {
  const auto vocabulary = read_vocabulary(metadata);
  if (!vocabulary) return {};
  json::Object out;
  const auto add_token = [&](const char* key, const std::optional<int64_t>& id) {
    if (id) out[key] = vocabulary->tokens[static_cast<size_t>(*id)];
  };
  add_token("bos_token", vocabulary->bos);
  add_token("eos_token", vocabulary->eos);
  add_token("unk_token", vocabulary->unk);
  add_token("pad_token", vocabulary->pad);
  out["add_bos_token"] = vocabulary->add_bos && vocabulary->bos;
  out["add_eos_token"] = vocabulary->add_eos && vocabulary->eos;
  out["clean_up_tokenization_spaces"] = false;
  if (const json::Value* length = json::find(config, "max_position_embeddings")) out["model_max_length"] = *length;
  out["tokenizer_class"] = "PreTrainedTokenizerFast";  // runs tokenizer.json as it is
  if (json::Value templates = chat_templates(metadata); !templates.is_null())
    out["chat_template"] = std::move(templates);
  return out;
}

json::Object make_generation_config(const Metadata& metadata) {
  json::Object out;
  const std::pair<const char*, const char*> ids[] = {
      {"bos", "bos_token_id"}, {"eos", "eos_token_id"}, {"padding", "pad_token_id"}};
  for (const auto& [kind, name] : ids)
    if (const auto id = metadata.integer(str("tokenizer.ggml.", kind, "_token_id"))) out[name] = *id;
  if (const auto top_k = metadata.integer("general.sampling.top_k")) out["top_k"] = *top_k;
  const std::pair<const char*, const char*> numbers[] = {
      {"temp", "temperature"}, {"top_p", "top_p"}, {"min_p", "min_p"}, {"penalty_repeat", "repetition_penalty"}};
  for (const auto& [key, name] : numbers)
    if (const auto value = metadata.number(str("general.sampling.", key))) out[name] = *value;
  return out;
}

}  // namespace arkit::gguf
