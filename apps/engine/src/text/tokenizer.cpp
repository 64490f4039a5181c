#include <arkit/engine/tokenizer.h>

#include <charconv>
#include <unordered_set>
#include <utility>

#include <arkit/error.h>
#include <arkit/str.h>

#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/chat_template.h"
#include "text/decoder.h"
#include "text/effort.h"
#include "text/normalizer.h"
#include "text/post_processor.h"
#include "text/pre_tokenizer.h"
#include "text/unicode.h"

namespace arkit {
namespace {

using text::AddedToken;

constexpr std::string_view kFile = "tokenizer.json";
constexpr std::string_view kConfigFile = "tokenizer_config.json";

const json::Object& model_of(const json::Object& file) {
  const json::Value* model = json::find(file, "model");
  if (model == nullptr) throw_input(str(kFile, ": has no 'model'"));
  const json::Object& object = json::as_object(*model, "tokenizer.json: model");
  // Old files leave out the type; those with merges are BPE.
  const auto type = json::get_string(object, "type", "tokenizer.json: model");
  if (type ? *type != "BPE" : !object.contains("merges"))
    throw_unsupported(str(kFile, ": model type '", printable(type.value_or("(none)"), 40),
                          "' is not supported; arkit reads BPE models"));
  return object;
}

// A special token of tokenizer_config.json: a string, or an object with "content".
std::optional<std::string> config_token(const json::Object& config, std::string_view key) {
  const json::Value* value = json::find(config, key);
  if (value == nullptr) return std::nullopt;
  if (value->is_string()) return std::string(value->get_string());
  return json::get_string(json::as_object(*value, str(kConfigFile, ": ", key)), "content", kConfigFile);
}

AddedToken read_added_token(const json::Object& spec, std::string_view what) {
  AddedToken token;
  const auto flag = [&](std::string_view key, bool otherwise) {
    return json::get_bool(spec, key, what).value_or(otherwise);
  };
  auto content = json::get_string(spec, "content", what);
  if (!content) throw_input(str(what, ": a token has no 'content'"));
  token.content = *std::move(content);
  token.single_word = flag("single_word", false);
  token.lstrip = flag("lstrip", false);
  token.rstrip = flag("rstrip", false);
  token.special = flag("special", false);
  token.normalized = flag("normalized", !token.special);
  return token;
}

}  // namespace

struct Tokenizer::Impl {
  Impl(const json::Object& file, const json::Object& settings);

  text::Vocabulary vocabulary;
  text::Normalizers normalizers;
  text::PreTokenizer pre_tokenizer;
  text::BpeModel model;
  text::AddedTokenFinder raw_tokens, normalized_tokens;  // looked for before and after normalization
  std::vector<AddedToken> added;
  std::unordered_set<int32_t> added_ids;
  std::vector<bool> special;  // by id
  text::SpecialFrame frame;
  text::Decoder decoder;
  json::Object special_strings;  // bos_token ... as chat templates see them
  std::optional<int64_t> bos, eos, pad, max_length;
  struct Template {
    std::string text;
    std::optional<text::ChatTemplate> parsed;
    std::string problem;  // why it is not, although the model brings one
    void read(const json::Value& source);
  };
  Template chat_template, tool_template;  // the latter where the model has one of its own

  void add_file_tokens(const json::Object& file);
  void add_config_tokens(const json::Object& config);
  void add_token(AddedToken token, std::optional<int64_t> wanted_id);
  void build_finders();
  void read_config(const json::Object& config);
  void read_chat_template(const json::Object& config);
  void encode_piece(std::string_view piece, bool at_start, text::Effort& effort, text::BpeModel::Workspace& workspace,
                    std::vector<int64_t>& ids) const;
};

Tokenizer::Impl::Impl(const json::Object& file, const json::Object& settings)
    : normalizers(text::make_normalizers(json::find(file, "normalizer"))),
      pre_tokenizer(json::find(file, "pre_tokenizer")),
      model(model_of(file), vocabulary, pre_tokenizer.bytes_out()),
      decoder(json::find(file, "decoder")) {
  add_file_tokens(file);
  add_config_tokens(settings);
  frame = text::make_special_frame(json::find(file, "post_processor"), vocabulary);
  build_finders();
  read_config(settings);
  read_chat_template(settings);
}

// A token that is in the vocabulary keeps its id there; another takes `wanted_id`, or the next free one.
void Tokenizer::Impl::add_token(AddedToken token, std::optional<int64_t> wanted_id) {
  if (token.content.empty()) throw_input(str(kFile, ": an added token is the empty string"));
  auto id = vocabulary.find(token.content);
  if (!id) {
    vocabulary.add(token.content, wanted_id.value_or(vocabulary.end_id()));
    id = vocabulary.find(token.content);
  }
  token.id = *id;
  if (!added_ids.insert(token.id).second) return;
  added.push_back(std::move(token));
}

void Tokenizer::Impl::add_file_tokens(const json::Object& file) {
  const json::Value* list = json::find(file, "added_tokens");
  if (list == nullptr) return;
  for (const json::Value& item : json::as_array(*list, "tokenizer.json: added_tokens")) {
    const json::Object& spec = json::as_object(item, "tokenizer.json: added_tokens");
    const auto id = json::get_int(spec, "id", "tokenizer.json: added_tokens");
    if (!id) throw_input(str(kFile, ": an added token has no 'id'"));
    add_token(read_added_token(spec, "tokenizer.json: added_tokens"), id);
  }
}

// Tokens that only tokenizer_config.json knows come after those of tokenizer.json (docs/spec/tokenizers.md 4).
void Tokenizer::Impl::add_config_tokens(const json::Object& config) {
  if (const json::Value* decoder_tokens = json::find(config, "added_tokens_decoder")) {
    for (const auto& [key, spec] : json::as_object(*decoder_tokens, "tokenizer_config.json: added_tokens_decoder")) {
      AddedToken token = read_added_token(json::as_object(spec, "tokenizer_config.json: added_tokens_decoder"),
                                          "tokenizer_config.json: added_tokens_decoder");
      if (vocabulary.find(token.content)) continue;
      int64_t id = -1;
      const auto parsed = std::from_chars(key.data(), key.data() + key.size(), id);
      if (parsed.ec != std::errc() || parsed.ptr != key.data() + key.size())
        throw_input(
            str(kConfigFile, ": added_tokens_decoder has the key '", printable(key, 40), "'; expected a token id"));
      add_token(std::move(token), id);
    }
  }
  for (const std::string_view key : {"bos_token", "eos_token", "unk_token", "pad_token"}) {
    const auto content = config_token(config, key);
    if (content && !content->empty() && !vocabulary.find(*content))
      add_token({.content = *content, .special = true}, std::nullopt);
  }
}

void Tokenizer::Impl::build_finders() {
  special.assign(static_cast<size_t>(vocabulary.end_id()), false);
  size_t bytes = 0;
  for (const AddedToken& token : added) bytes += token.content.size();
  constexpr size_t kMaxBytes = size_t{4} << 20;
  if (bytes > kMaxBytes)
    throw_input(str(kFile, ": added_tokens have ", bytes, " bytes in all; at most ", kMaxBytes, " are accepted"));
  text::Effort effort(bytes);
  for (const AddedToken& token : added) {
    special[static_cast<size_t>(token.id)] = token.special;
    if (!token.normalized) {
      raw_tokens.add(token.content, token);
      continue;
    }
    std::string content = token.content;
    text::normalize(normalizers, content, effort);
    normalized_tokens.add(content, token);
  }
  raw_tokens.finish();
  normalized_tokens.finish();
}

void Tokenizer::Impl::read_config(const json::Object& config) {
  const auto id_of = [&](std::string_view key) -> std::optional<int64_t> {
    const auto content = config_token(config, key);
    if (!content) return std::nullopt;
    special_strings[key] = *content;
    const auto id = vocabulary.find(*content);
    return id ? std::optional<int64_t>(*id) : std::nullopt;
  };
  bos = id_of("bos_token");
  eos = id_of("eos_token");
  pad = id_of("pad_token");
  (void)id_of("unk_token");
  constexpr double kAbsurdLength = 1e9;  // transformers writes 1e30 for "no limit"
  const auto length = json::get_double(config, "model_max_length", kConfigFile);
  if (length && *length >= 1 && *length <= kAbsurdLength) max_length = static_cast<int64_t>(*length);
}

// A string, or a list of named templates of which "default" is the one without tools. A template this engine cannot
// read does not make the tokenizer useless: the reason is given when the template is asked for.
void Tokenizer::Impl::read_chat_template(const json::Object& config) {
  const json::Value* value = json::find(config, "chat_template");
  if (value == nullptr) return;
  if (!value->is_array()) return chat_template.read(*value);
  const json::Value* usual = nullptr;
  for (const json::Value& item : value->get_array()) {
    const json::Object& named = json::as_object(item, "tokenizer_config.json: chat_template");
    const auto name = json::get_string(named, "name", kConfigFile);
    const json::Value* source = json::find(named, "template");
    if (name == "default") usual = source;
    if (name == "tool_use" && source != nullptr) tool_template.read(*source);
  }
  if (usual != nullptr)
    chat_template.read(*usual);
  else
    chat_template.problem = "tokenizer_config.json: chat_template has no template named 'default'";
}

void Tokenizer::Impl::Template::read(const json::Value& source) {
  if (!source.is_string())
    throw_input(str(kConfigFile, ": chat_template is neither a string nor a list of named templates"));
  text = source.get_string();
  try {
    parsed.emplace(text);
  } catch (const Error& error) {
    problem = error.what();
  }
}

void Tokenizer::Impl::encode_piece(std::string_view piece, bool at_start, text::Effort& effort,
                                   text::BpeModel::Workspace& workspace, std::vector<int64_t>& ids) const {
  std::string normalized;
  if (!normalizers.empty()) {
    normalized = piece;
    text::normalize(normalizers, normalized, effort);
    piece = normalized;
  }
  normalized_tokens.cut(
      piece, effort,
      [&](size_t begin, size_t end) {
        pre_tokenizer.split({piece.substr(begin, end - begin), at_start && begin == 0}, effort,
                            [&](text::Piece word) { model.encode(word.text, workspace, ids); });
      },
      [&](int32_t id) { ids.push_back(id); });
}

Tokenizer::Tokenizer(std::string_view tokenizer_json, const json::Object& config) {
  const json::Value file = json::parse(tokenizer_json, kFile);
  impl_ = std::make_unique<Impl>(json::as_object(file, kFile), config);
}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

std::vector<int64_t> Tokenizer::encode(std::string_view text, bool add_special_tokens) const {
  std::string repaired;
  if (text::valid_utf8_prefix(text) != text.size()) {
    repaired = text::repair_utf8(text);
    text = repaired;
  }
  std::vector<int64_t> ids;
  if (add_special_tokens) ids = impl_->frame.before;
  const auto workspace = impl_->model.borrow();
  text::Effort effort(text.size());
  impl_->raw_tokens.cut(
      text, effort,
      [&](size_t begin, size_t end) {
        impl_->encode_piece(text.substr(begin, end - begin), begin == 0, effort, *workspace, ids);
      },
      [&](int32_t id) { ids.push_back(id); });
  if (add_special_tokens) ids.insert(ids.end(), impl_->frame.after.begin(), impl_->frame.after.end());
  return ids;
}

std::string Tokenizer::decode(std::span<const int64_t> ids, bool skip_special_tokens) const {
  text::TokenStrings tokens;
  tokens.reserve(ids.size());
  for (const int64_t id : ids) {
    if (!impl_->vocabulary.has_id(id)) continue;
    if (skip_special_tokens && impl_->special[static_cast<size_t>(id)]) continue;
    tokens.emplace_back(impl_->vocabulary.token(id));
  }
  return impl_->decoder.decode(std::move(tokens));
}

int64_t Tokenizer::vocab_size() const noexcept {
  return impl_->vocabulary.size();
}

std::optional<int64_t> Tokenizer::token_to_id(std::string_view token) const {
  const auto id = impl_->vocabulary.find(token);
  return id ? std::optional<int64_t>(*id) : std::nullopt;
}

std::string Tokenizer::id_to_token(int64_t id) const {
  return std::string(impl_->vocabulary.token(id));
}
std::optional<int64_t> Tokenizer::bos_id() const noexcept {
  return impl_->bos;
}
std::optional<int64_t> Tokenizer::eos_id() const noexcept {
  return impl_->eos;
}
std::optional<int64_t> Tokenizer::pad_id() const noexcept {
  return impl_->pad;
}
std::optional<int64_t> Tokenizer::model_max_length() const noexcept {
  return impl_->max_length;
}

bool Tokenizer::has_chat_template() const noexcept {
  return impl_->chat_template.parsed.has_value() || !impl_->chat_template.problem.empty();
}

std::string_view Tokenizer::chat_template_text(bool with_tools) const noexcept {
  return with_tools && !impl_->tool_template.text.empty() ? impl_->tool_template.text : impl_->chat_template.text;
}

std::string Tokenizer::apply_chat_template(const json::Array& messages, bool add_generation_prompt) const {
  return apply_chat_template(messages, add_generation_prompt, {});
}

std::string Tokenizer::apply_chat_template(const json::Array& messages, bool add_generation_prompt,
                                           const json::Object& variables) const {
  const bool tools = json::find(variables, "tools") != nullptr && !impl_->tool_template.text.empty();
  const Impl::Template& chosen = tools ? impl_->tool_template : impl_->chat_template;
  if (!chosen.problem.empty()) throw_unsupported(chosen.problem);
  if (!chosen.parsed)
    throw_unsupported("the model brings no chat template; leave out apply_chat_template or give the model one");
  json::Object context = impl_->special_strings;
  context["messages"] = messages;
  context["tools"] = nullptr;
  context["documents"] = nullptr;
  context["add_generation_prompt"] = add_generation_prompt;
  for (const auto& [name, value] : variables) context[name] = value;
  return chosen.parsed->render(context);
}

}  // namespace arkit
