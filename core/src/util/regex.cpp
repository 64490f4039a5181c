#include <arkit/regex.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <array>

#include <pcre2.h>

#include <arkit/error.h>
#include <arkit/str.h>

namespace arkit {
namespace {

// Backtracking steps; layer names are short, an honest pattern needs a few hundred.
constexpr uint32_t kMatchLimit = 100000;
constexpr size_t kMaxPattern = 4096;

std::string pcre_message(int code) {
  std::array<PCRE2_UCHAR, 256> buffer{};
  pcre2_get_error_message(code, buffer.data(), buffer.size());
  return reinterpret_cast<const char*>(buffer.data());
}

}  // namespace

struct Regex::Impl {
  std::string pattern, what;
  std::unique_ptr<pcre2_code, void (*)(pcre2_code*)> code{nullptr, pcre2_code_free};
  std::unique_ptr<pcre2_match_context, void (*)(pcre2_match_context*)> context{nullptr, pcre2_match_context_free};
};

Regex::Regex(std::string_view pattern, std::string_view what) : impl_(std::make_unique<Impl>()) {
  impl_->pattern = pattern;
  impl_->what = what;
  if (pattern.size() > kMaxPattern)
    throw_usage(str(what, ": pattern has ", pattern.size(), " characters, at most ", kMaxPattern, " are accepted"));
  int error = 0;
  PCRE2_SIZE offset = 0;
  impl_->code.reset(
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(), PCRE2_UTF, &error, &offset, nullptr));
  if (!impl_->code)
    throw_usage(str(what, ": '", printable(pattern), "' is not a regular expression: ", pcre_message(error),
                    " at character ", offset));
  impl_->context.reset(pcre2_match_context_create(nullptr));
  pcre2_set_match_limit(impl_->context.get(), kMatchLimit);
}

Regex::~Regex() = default;
Regex::Regex(Regex&&) noexcept = default;

bool Regex::search(std::string_view text) const {
  const std::unique_ptr<pcre2_match_data, void (*)(pcre2_match_data*)> match(
      pcre2_match_data_create_from_pattern(impl_->code.get(), nullptr), pcre2_match_data_free);
  const int result = pcre2_match(impl_->code.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), 0, 0,
                                 match.get(), impl_->context.get());
  if (result == PCRE2_ERROR_NOMATCH) return false;
  if (result < 0)
    throw_usage(str(impl_->what, ": matching '", printable(impl_->pattern), "' failed: ", pcre_message(result)));
  return true;
}

}  // namespace arkit
