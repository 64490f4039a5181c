#include "text/normalizer.h"

#include <utility>

#include "text/component.h"
#include "text/unicode.h"

namespace arkit::text {

Normalizer::~Normalizer() = default;

namespace {

constexpr std::string_view kWhat = "tokenizer.json: normalizer";
constexpr size_t kStepBytes = 64;  // what a step costs beside the bytes of the text

class Mapping final : public Normalizer {
 public:
  using Function = std::string (*)(std::string_view);
  explicit Mapping(Function function) : function_(function) {}
  void apply(std::string& piece, Effort&) const override { piece = function_(piece); }

 private:
  Function function_;
};

class Prepend final : public Normalizer {
 public:
  explicit Prepend(std::string prefix) : prefix_(std::move(prefix)) {}
  void apply(std::string& piece, Effort& effort) const override {
    effort.spend(prefix_.size());
    piece.insert(0, prefix_);
  }

 private:
  std::string prefix_;
};

class Replace final : public Normalizer {
 public:
  Replace(std::unique_ptr<Pattern> pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}
  void apply(std::string& piece, Effort& effort) const override {
    std::string out;
    size_t done = 0;
    pattern_->for_each_match(piece, [&](size_t begin, size_t end) {
      out.append(piece, done, begin - done);
      effort.spend(content_.size());
      out += content_;
      done = end;
    });
    if (done == 0) return;
    out.append(piece, done);
    piece = std::move(out);
  }

 private:
  std::unique_ptr<Pattern> pattern_;
  std::string content_;
};

class Strip final : public Normalizer {
 public:
  Strip(bool left, bool right) : left_(left), right_(right) {}
  void apply(std::string& piece, Effort&) const override {
    const ClassTable& classes = class_table();
    size_t begin = 0, end = piece.size();
    while (left_ && begin < end) {
      const CodePoint c = code_point_at(piece, begin);
      if ((classes[c.code] & kSpace) == 0) break;
      begin += c.length;
    }
    while (right_ && end > begin) {
      const size_t last = previous_code_point(piece, end);
      if ((classes[code_point_at(piece, last).code] & kSpace) == 0) break;
      end = last;
    }
    piece = piece.substr(begin, end - begin);
  }

 private:
  bool left_, right_;
};

std::unique_ptr<Normalizer> make_normalizer(const std::string& type, const json::Object& spec) {
  if (type == "NFC") return std::make_unique<Mapping>(to_nfc);
  if (type == "NFD") return std::make_unique<Mapping>(to_nfd);
  if (type == "Lowercase") return std::make_unique<Mapping>(to_lower);
  if (type == "Prepend") return std::make_unique<Prepend>(required_string(spec, "prepend", kWhat));
  if (type == "Replace")
    return std::make_unique<Replace>(component_pattern(spec, kWhat), required_string(spec, "content", kWhat));
  if (type == "Strip")
    return std::make_unique<Strip>(json::get_bool(spec, "strip_left", kWhat).value_or(true),
                                   json::get_bool(spec, "strip_right", kWhat).value_or(true));
  unknown_component(kWhat, type);
}

}  // namespace

Normalizers make_normalizers(const json::Value* spec) {
  Normalizers steps;
  for_each_component(spec, kWhat, "normalizers", [&](const std::string& type, const json::Object& component) {
    steps.push_back(make_normalizer(type, component));
  });
  check_steps(steps.size(), std::string(kWhat));
  return steps;
}

void normalize(const Normalizers& steps, std::string& piece, Effort& effort) {
  for (const auto& step : steps) {
    effort.spend(kStepBytes + piece.size());
    if (!piece.empty()) step->apply(piece, effort);
  }
}

}  // namespace arkit::text
