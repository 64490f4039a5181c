#pragma once
// Text <-> token ids, exactly as the Hugging Face tokenizers library does it for the components listed in
// docs/spec/tokenizers.md 1: byte-level BPE and SentencePiece-style BPE. An unknown component of tokenizer.json is
// refused by name.

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <arkit/export.h>
#include <arkit/json.h>

namespace arkit {

// Immutable after construction, thread-safe.
class ARKIT_EXPORT Tokenizer {
 public:
  // `tokenizer_json` is the text of tokenizer.json; `config` tokenizer_config.json (special tokens, chat_template), may
  // be empty. Throws ErrorCode::input for a malformed file, ErrorCode::unsupported for an unknown component.
  Tokenizer(std::string_view tokenizer_json, const json::Object& config);
  Tokenizer(Tokenizer&&) noexcept;
  ~Tokenizer();

  // `text` is UTF-8; invalid bytes become U+FFFD. With add_special_tokens the post-processor adds BOS/EOS as the file
  // says.
  [[nodiscard]] std::vector<int64_t> encode(std::string_view text, bool add_special_tokens = true) const;
  [[nodiscard]] std::string decode(std::span<const int64_t> ids, bool skip_special_tokens = true) const;

  [[nodiscard]] int64_t vocab_size() const noexcept;  // added tokens included
  [[nodiscard]] std::optional<int64_t> token_to_id(std::string_view token) const;
  [[nodiscard]] std::string id_to_token(int64_t id) const;  // empty for an unknown id
  [[nodiscard]] std::optional<int64_t> bos_id() const noexcept;
  [[nodiscard]] std::optional<int64_t> eos_id() const noexcept;
  [[nodiscard]] std::optional<int64_t> pad_id() const noexcept;
  // Of tokenizer_config.json; nullopt when absent or absurd (> 1e9).
  [[nodiscard]] std::optional<int64_t> model_max_length() const noexcept;

  // Renders the chat template (tokenizer_config.json "chat_template") over messages [{"role","content"}, ...]. Throws
  // ErrorCode::unsupported naming the construct for template syntax outside the supported Jinja subset.
  [[nodiscard]] bool has_chat_template() const noexcept;
  [[nodiscard]] std::string apply_chat_template(const json::Array& messages, bool add_generation_prompt) const;
  // The same with more variables, "tools" among them; of several templates the one for tools where there are any.
  [[nodiscard]] std::string apply_chat_template(const json::Array& messages, bool add_generation_prompt,
                                                const json::Object& variables) const;
  // The text of the template that these variables are for; empty when there is none.
  [[nodiscard]] std::string_view chat_template_text(bool with_tools) const noexcept;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace arkit
