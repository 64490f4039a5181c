#include "text/post_processor.h"

#include <string>
#include <string_view>

#include <arkit/error.h>
#include <arkit/str.h>

#include "text/component.h"

namespace arkit::text {
namespace {

constexpr std::string_view kWhat = "tokenizer.json: post_processor";
constexpr size_t kMaxSpecial = 1024;  // ids around a sequence; real files have one or two

void check_count(size_t count) {
  if (count > kMaxSpecial)
    throw_input(str(kWhat, ": adds more than ", kMaxSpecial, " special tokens to a text, the limit"));
}

int64_t checked_id(const json::Value& id, const Vocabulary& vocabulary) {
  if (!id.is_int64() || !vocabulary.has_id(id.get_int64()))
    throw_input(str(kWhat, ": special token id ", printable(json::dump(id), 40), " is not in the vocabulary"));
  return id.get_int64();
}

// Ids of the special token `name` from the template's own table.
void append_special(const json::Object& component, const std::string& name, const Vocabulary& vocabulary,
                    std::vector<int64_t>& out) {
  const json::Value* table = json::find(component, "special_tokens");
  const json::Value* entry = table == nullptr ? nullptr : json::find(json::as_object(*table, kWhat), name);
  const json::Value* ids = entry == nullptr ? nullptr : json::find(json::as_object(*entry, kWhat), "ids");
  if (ids == nullptr)
    throw_input(str(kWhat, ": the template uses '", printable(name, 60), "', which 'special_tokens' does not define"));
  const json::Array& list = json::as_array(*ids, kWhat);
  check_count(out.size() + list.size());
  for (const json::Value& id : list) out.push_back(checked_id(id, vocabulary));
}

SpecialFrame read_template(const json::Object& component, const Vocabulary& vocabulary) {
  const json::Value* single = json::find(component, "single");
  if (single == nullptr) throw_input(str(kWhat, ": a TemplateProcessing has no 'single'"));
  SpecialFrame frame;
  bool seen_sequence = false;
  for (const json::Value& item : json::as_array(*single, kWhat)) {
    const json::Object& part = json::as_object(item, kWhat);
    if (const json::Value* sequence = json::find(part, "Sequence")) {
      if (seen_sequence || json::get_string(json::as_object(*sequence, kWhat), "id", kWhat) != "A")
        throw_unsupported(str(kWhat, ": the template 'single' is ", printable(json::dump(*single), 120),
                              "; expected the sequence A once"));
      seen_sequence = true;
    } else if (const json::Value* special = json::find(part, "SpecialToken")) {
      append_special(component, required_string(json::as_object(*special, kWhat), "id", kWhat), vocabulary,
                     seen_sequence ? frame.after : frame.before);
    } else {
      throw_input(
          str(kWhat, ": template part ", printable(json::dump(item), 80), "; expected a Sequence or a SpecialToken"));
    }
  }
  if (!seen_sequence) throw_unsupported(str(kWhat, ": the template 'single' lacks the sequence A"));
  return frame;
}

// ["</s>", 2] of BertProcessing and RobertaProcessing.
int64_t token_of_pair(const json::Object& component, std::string_view key, const Vocabulary& vocabulary) {
  const json::Value* pair = json::find(component, key);
  if (pair == nullptr || !pair->is_array() || pair->get_array().size() != 2)
    throw_input(str(kWhat, ": '", key, "' is not [token, id]"));
  return checked_id(pair->get_array()[1], vocabulary);
}

}  // namespace

SpecialFrame make_special_frame(const json::Value* spec, const Vocabulary& vocabulary) {
  SpecialFrame frame;
  for_each_component(spec, kWhat, "processors", [&](const std::string& type, const json::Object& component) {
    SpecialFrame outer;
    if (type == "TemplateProcessing")
      outer = read_template(component, vocabulary);
    else if (type == "BertProcessing" || type == "RobertaProcessing")
      outer = {{token_of_pair(component, "cls", vocabulary)}, {token_of_pair(component, "sep", vocabulary)}};
    else if (type != "ByteLevel")  // offsets only
      unknown_component(kWhat, type);
    frame.before.insert(frame.before.begin(), outer.before.begin(), outer.before.end());
    frame.after.insert(frame.after.end(), outer.after.begin(), outer.after.end());
    check_count(frame.before.size() + frame.after.size());
  });
  return frame;
}

}  // namespace arkit::text
