// tokenizer.json and tokenizer_config.json as keys of a GGUF file (docs/spec/gguf-writing.md 4).
#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include <arkit/error.h>
#include <arkit/str.h>

#include "gguf_export_keys.h"
#include "gguf_pretokenizers.h"
#include "gguf_vocabulary.h"

namespace arkit::gguf {
namespace {

constexpr std::string_view kFile = "tokenizer.json", kSettings = "tokenizer_config.json";
constexpr std::string_view kSpaceMark = "\u2581";
constexpr float kNoScore = -1000.0F;

struct Token {
  std::string text;
  TokenType type = TokenType::normal;
};

// Names that control tokens have where nothing says "special".
bool looks_special(std::string_view text) {
  constexpr std::array<std::string_view, 4> kNames{"<pad>", "<mask>", "<2mass>", "[@BOS@]"};
  return std::find(kNames.begin(), kNames.end(), text) != kNames.end() ||
         (text.starts_with("<|") && text.ends_with("|>")) ||
         (text.starts_with("<\uFF5C") && text.ends_with("\uFF5C>")) ||
         (text.starts_with("<unused") && text.ends_with(">"));
}

bool is_byte(std::string_view text) {
  const auto hex = [](char c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F') || (c >= 'a' && c <= 'f'); };
  return text.size() == 6 && text.starts_with("<0x") && hex(text[3]) && hex(text[4]) && text[5] == '>';
}

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
  return text;
}

class Export {
 public:
  explicit Export(const ModelSource& source) : config_(source.config()) {
    const TokenizerTexts* texts = source.tokenizer();
    const std::string json = texts == nullptr ? std::string() : texts->tokenizer_json();
    if (json.empty())
      throw_unsupported(
          "the model brings no tokenizer.json, and a GGUF file holds its tokenizer; put one into its folder");
    tokenizer_ = json::as_object(json::parse(json, kFile), kFile);
    settings_ = texts->tokenizer_config();
    model_ = &json::as_object(tokenizer_.at("model"), kFile);
    if (json::get_string(*model_, "type", kFile).value_or("BPE") != "BPE")
      throw_unsupported("its tokenizer is no BPE, the only kind arkit writes into GGUF files");
    byte_fallback_ = json::get_bool(*model_, "byte_fallback", kFile).value_or(false);
    if (!byte_fallback_) {
      pre_ = recognise_pre_tokenizer(tokenizer_);
      if (pre_ == nullptr)
        throw_unsupported(
            str("the way its tokenizer cuts text before BPE is none that GGUF has a name for; known are: ",
                pre_tokenizer_names()));
    }
  }

  void put(KeyValues& keys, int64_t vocabulary) {
    read_tokens(vocabulary);
    keys.put_text("tokenizer.ggml.model", byte_fallback_ ? "llama" : "gpt2");
    keys.put_text("tokenizer.ggml.pre", byte_fallback_ ? "default" : pre_->name);
    std::vector<std::string> texts;
    std::vector<int32_t> types;
    for (Token& token : tokens_) {
      texts.push_back(std::move(token.text));
      types.push_back(static_cast<int32_t>(token.type));
    }
    keys.put_texts("tokenizer.ggml.tokens", texts);
    if (byte_fallback_) keys.put_f32s("tokenizer.ggml.scores", std::vector<float>(texts.size(), kNoScore));
    keys.put_i32s("tokenizer.ggml.token_type", types);
    keys.put_texts("tokenizer.ggml.merges", byte_fallback_ ? std::vector<std::string>() : merges());
    put_special(keys);
    put_templates(keys);
    put_space_prefix(keys);
  }

 private:
  void set(int64_t id, std::string text, TokenType type) {
    if (id < 0 || id >= static_cast<int64_t>(tokens_.size()))
      throw_unsupported(
          str("token '", printable(text, 40), "' has id ", id, ", and the embeddings have ", tokens_.size(), " rows"));
    tokens_[static_cast<size_t>(id)] = {std::move(text), type};
  }

  void read_tokens(int64_t vocabulary) {
    for (int64_t id = 0; id < vocabulary; ++id) tokens_.push_back({str("[PAD", id, "]"), TokenType::unused});
    const json::Object& vocab = json::as_object(model_->at("vocab"), kFile);
    for (const auto& [text, id] : vocab) {
      if (!id.is_int64()) throw_input(str(kFile, ": the id of token '", printable(text, 40), "' is no integer"));
      set(id.as_int64(), std::string(text), byte_fallback_ && is_byte(text) ? TokenType::byte : TokenType::normal);
    }
    const json::Value* added = json::find(tokenizer_, "added_tokens");
    if (added == nullptr) return;
    for (const json::Value& entry : json::as_array(*added, kFile)) {
      const json::Object& token = json::as_object(entry, kFile);
      const auto id = json::get_int(token, "id", kFile);
      std::string text = json::get_string(token, "content", kFile).value_or("");
      if (!id) throw_input(str(kFile, ": an added token has no id"));
      const bool special = json::get_bool(token, "special", kFile).value_or(false) || looks_special(text);
      if (!special) text = replaced(std::move(text), kSpaceMark, " ");
      if (*id >= vocabulary) continue;  // no model could read or write it: its embeddings have no such row
      ids_.emplace(json::get_string(token, "content", kFile).value_or(""), *id);
      set(*id, std::move(text), special ? TokenType::control : TokenType::user_defined);
    }
  }

  // "a b", a blank inside a part as U+0120.
  [[nodiscard]] std::vector<std::string> merges() const {
    std::vector<std::string> out;
    const json::Value* stored = json::find(*model_, "merges");
    if (stored == nullptr) return out;
    for (const json::Value& merge : json::as_array(*stored, kFile)) {
      if (merge.is_string()) {
        out.emplace_back(merge.as_string());
        continue;
      }
      const json::Array& parts = json::as_array(merge, kFile);
      if (parts.size() != 2 || !parts[0].is_string() || !parts[1].is_string())
        throw_input(str(kFile, ": a merge is not two parts"));
      const auto part = [&](size_t i) { return replaced(std::string(parts[i].as_string()), " ", "\u0120"); };
      out.push_back(part(0) + " " + part(1));
    }
    return out;
  }

  // The text of a special token in tokenizer_config.json: itself, or an object with its content.
  [[nodiscard]] std::optional<std::string> setting(std::string_view key) const {
    const json::Value* value = json::find(settings_, key);
    if (value == nullptr) return std::nullopt;
    if (value->is_string()) return std::string(value->as_string());
    return value->is_object() ? json::get_string(value->as_object(), "content", kSettings) : std::nullopt;
  }

  [[nodiscard]] std::optional<int64_t> id_of(std::string_view text) const {
    const auto found = ids_.find(text);
    return found == ids_.end() ? std::nullopt : std::optional(found->second);
  }

  // What the template of tokenizer.json puts around a text, and between two.
  void read_post_processor() {
    bos_ = setting("bos_token");
    if (!bos_) bos_ = setting("cls_token");
    eos_ = setting("eos_token");
    if (!eos_) eos_ = setting("sep_token");
    const json::Value* stored = json::find(tokenizer_, "post_processor");
    if (stored == nullptr || !stored->is_object()) return;
    std::vector<const json::Object*> steps{&stored->as_object()};
    if (const json::Value* list = json::find(stored->as_object(), "processors"))
      for (const json::Value& step : json::as_array(*list, kFile)) steps.push_back(&json::as_object(step, kFile));
    for (const json::Object* step : steps) {
      const std::string type = json::get_string(*step, "type", kFile).value_or("");
      if (type == "RobertaProcessing") adds_ = {{"bos", true}, {"eos", true}, {"sep", true}};
      if (type == "TemplateProcessing") read_template(*step);
    }
  }

  void read_template(const json::Object& step) {
    const json::Value *single = json::find(step, "single"), *pair = json::find(step, "pair");
    std::optional<std::string> first, last;
    if (single != nullptr && json::as_array(*single, kFile).size() > 1) {
      first = special_of(single->as_array().front());
      last = special_of(single->as_array().back());
      if (first) adds_["bos"] = first == bos_;
      if (last) {
        if (last != eos_) eot_ = std::exchange(eos_, last);
        adds_["eos"] = true;
      }
    }
    if (pair != nullptr) read_pair(json::as_array(*pair, kFile), first, last);
  }

  // Of "A ... B": is what stands between them the separator?
  void read_pair(const json::Array& pair, const std::optional<std::string>& first,
                 const std::optional<std::string>& last) {
    size_t begin = 0, end = pair.size();
    if (begin < end && first && special_of(pair[begin]) == first) ++begin;
    if (begin < end && last && special_of(pair[end - 1]) == last) --end;
    if (end - begin < 3 || special_of(pair[begin]) || special_of(pair[end - 1])) return;
    const auto between = special_of(pair[begin + 1]);
    adds_["sep"] = between && (between == setting("sep_token") || (between == eos_ && !last));
  }

  // The text of a special token in a template; null = a place for text.
  static std::optional<std::string> special_of(const json::Value& piece) {
    const json::Value* special = json::find(json::as_object(piece, kFile), "SpecialToken");
    return special == nullptr ? std::nullopt : json::get_string(json::as_object(*special, kFile), "id", kFile);
  }

  void put_special(KeyValues& keys) {
    read_post_processor();
    constexpr std::array<std::pair<std::string_view, std::string_view>, 6> kKinds{{{"bos", "bos"},
                                                                                   {"eos", "eos"},
                                                                                   {"unk", "unknown"},
                                                                                   {"sep", "seperator"},
                                                                                   {"pad", "padding"},
                                                                                   {"mask", "mask"}}};
    for (const auto& [kind, key] : kKinds) {
      const auto text = kind == "bos" ? bos_ : kind == "eos" ? eos_ : setting(str(kind, "_token"));
      std::optional<int64_t> id;
      if (text) id = id_of(*text);
      if (const json::Value* own = json::find(config_, str(kind, "_token_id"));
          !id && own != nullptr && own->is_int64())
        id = own->as_int64();
      if (id && *id >= 0 && *id < static_cast<int64_t>(tokens_.size()))
        keys.put_u32(str("tokenizer.ggml.", key, "_token_id"), *id);
    }
    if (const auto id = eot_ ? id_of(*eot_) : std::nullopt) keys.put_u32("tokenizer.ggml.eot_token_id", *id);
    // Readers put a token in front of texts of SentencePiece's kind unless they are told not to.
    if (byte_fallback_) adds_.emplace("bos", false);
    for (const std::string_view kind : {"bos", "eos", "sep"}) {
      auto adds = json::get_bool(settings_, str("add_", kind, "_token"), kSettings);
      if (const auto found = adds_.find(kind); !adds && found != adds_.end()) adds = found->second;
      if (adds) keys.put_bool(str("tokenizer.ggml.add_", kind, "_token"), *adds);
    }
  }

  // A blank in front of texts: readers do that of SentencePiece's kind, and of no other, unless they are told.
  void put_space_prefix(KeyValues& keys) const {
    const bool usual = byte_fallback_;
    const bool adds = byte_fallback_ ? prepends_space() : adds_prefix_space();
    if (adds != usual) keys.put_bool("tokenizer.ggml.add_space_prefix", adds);
  }

  void put_templates(KeyValues& keys) const {
    const json::Value* stored = json::find(settings_, "chat_template");
    if (stored == nullptr) return;
    if (stored->is_string()) {
      keys.put_text("tokenizer.chat_template", std::string_view(stored->as_string()));
      return;
    }
    std::vector<std::string> names;
    for (const json::Value& entry : json::as_array(*stored, kSettings)) {
      const json::Object& named = json::as_object(entry, kSettings);
      std::string name = json::get_string(named, "name", kSettings).value_or("default");
      std::erase_if(name, [](char c) { return c != '_' && std::isalnum(static_cast<unsigned char>(c)) == 0; });
      const std::string text = json::get_string(named, "template", kSettings).value_or("");
      if (name == "default")
        keys.put_text("tokenizer.chat_template", text);
      else {
        keys.put_text(str("tokenizer.chat_template.", name), text);
        names.push_back(name);
      }
    }
    keys.put_texts("tokenizer.chat_templates", names);
  }

  // Does a step of byte-level BPE put a blank in front?
  [[nodiscard]] bool adds_prefix_space() const {
    const json::Value* stored = json::find(tokenizer_, "pre_tokenizer");
    return stored != nullptr && json::dump(*stored).find("\"add_prefix_space\": true") != std::string::npos;
  }

  // Does the normalizer put a space mark in front?
  [[nodiscard]] bool prepends_space() const {
    const json::Value* normalizer = json::find(tokenizer_, "normalizer");
    return normalizer != nullptr && json::dump(*normalizer).find("\"Prepend\"") != std::string::npos;
  }

  const json::Object& config_;
  json::Object tokenizer_, settings_;
  const json::Object* model_ = nullptr;
  bool byte_fallback_ = false;
  const PreTokenizer* pre_ = nullptr;
  std::vector<Token> tokens_;
  std::map<std::string, int64_t, std::less<>> ids_;  // of added tokens
  std::optional<std::string> bos_, eos_, eot_;
  std::map<std::string, bool, std::less<>> adds_;  // kind -> is it put around texts, or between them?
};

}  // namespace

std::string why_no_tokenizer_keys(const ModelSource& source) {
  try {
    (void)Export(source);
    return {};
  } catch (const Error& error) {
    if (error.code() != ErrorCode::unsupported) throw;
    return error.what();
  }
}

void put_tokenizer_keys(KeyValues& keys, const ModelSource& source, int64_t vocabulary) {
  Export(source).put(keys, vocabulary);
}

}  // namespace arkit::gguf
