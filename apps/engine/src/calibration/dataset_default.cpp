#include "calibration/dataset_default.h"

#include <algorithm>

#include <arkit/error.h>
#include <arkit/input_file.h>
#include <arkit/str.h>

#include "util/data_file.h"

namespace arkit::calibration {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kLargestFile = 64 * 1024;

bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_capital(char c) {
  return c >= 'A' && c <= 'Z';
}

struct Words {
  std::vector<std::string> letters;     // "Qwen2.5-Coder": qwen, coder
  std::vector<std::string> components;  // qwen2, 5, coder
};

// Of the last part of a path, CamelCase being several words.
Words words_of(std::string_view name) {
  while (!name.empty() && (name.back() == '/' || name.back() == '\\')) name.remove_suffix(1);
  name = name.substr(name.find_last_of("/\\") + 1);
  Words words;
  std::string letters, component;
  const auto end = [](std::string& word, std::vector<std::string>& to) {
    if (!word.empty()) to.push_back(lower(word));
    word.clear();
  };
  for (size_t i = 0; i < name.size(); ++i) {
    const char c = name[i];
    const bool hump =
        i > 0 && is_capital(c) && (is_digit(name[i - 1]) || (is_letter(name[i - 1]) && !is_capital(name[i - 1])));
    if (hump || !is_letter(c)) end(letters, words.letters);
    if (hump || !(is_letter(c) || is_digit(c))) end(component, words.components);
    if (is_letter(c)) letters += c;
    if (is_letter(c) || is_digit(c)) component += c;
  }
  end(letters, words.letters);
  end(component, words.components);
  return words;
}

bool has(const std::vector<std::string>& list, std::string_view word) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

bool is_of_family(std::string_view component, std::string_view family) {
  if (!component.starts_with(family)) return false;
  component.remove_prefix(family.size());
  return std::all_of(component.begin(), component.end(), is_digit);
}

bool fits(const json::Object& entry, const std::vector<std::string>& names, const std::vector<std::string>& tasks,
          const std::string& what) {
  const auto words = text_list(entry, "words", what), families = text_list(entry, "families", what),
             wanted = text_list(entry, "tasks", what);
  if (words.empty() && families.empty() && wanted.empty()) return true;
  for (const std::string& name : names) {
    const Words own = words_of(name);
    if (std::any_of(words.begin(), words.end(), [&](const auto& word) { return has(own.letters, word); })) return true;
    for (const std::string& component : own.components)
      if (std::any_of(families.begin(), families.end(), [&](const auto& f) { return is_of_family(component, f); }))
        return true;
  }
  return std::any_of(wanted.begin(), wanted.end(), [&](const auto& task) { return has(tasks, task); });
}

// Each gets its part, the first ones what is left over; one that gets nothing is left out.
std::string shared_out(const std::vector<std::string>& mix, int64_t nsamples) {
  if (mix.size() == 1) return mix.front();
  const auto count = static_cast<int64_t>(mix.size());
  std::string argument;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t num = nsamples / count + (i < nsamples % count ? 1 : 0);
    if (num > 0) argument += str(argument.empty() ? "" : ",", mix[static_cast<size_t>(i)], ":num=", num);
  }
  return argument;
}

}  // namespace

std::vector<std::string> model_names(const fs::path& path, const json::Object& config) {
  std::vector<std::string> names;
  const fs::path whole = path.lexically_normal();
  std::string own = (whole.has_filename() ? whole : whole.parent_path()).filename().string();
  for (const fs::path& part : whole) {
    const std::string text = part.string();
    constexpr std::string_view kCached = "models--";
    if (text.starts_with(kCached)) own = text.substr(text.rfind("--") + 2);
  }
  names.push_back(std::move(own));
  const auto add = [&](const json::Value* value) {
    if (value != nullptr && value->is_string()) names.emplace_back(value->get_string());
  };
  add(json::find(config, "_name_or_path"));
  add(json::find(config, "model_type"));
  if (const json::Value* list = json::find(config, "architectures"); list != nullptr && list->is_array())
    for (const json::Value& name : list->get_array()) add(&name);
  return names;
}

std::vector<std::string> model_tasks(const json::Object& config) {
  std::vector<std::string> tasks;
  const auto add = [&](std::string_view task) {
    tasks.push_back(lower(task));
    std::replace(tasks.back().begin(), tasks.back().end(), '_', '-');
  };
  for (const std::string_view key : {"finetuning_task", "task", "pipeline_tag"})
    if (const json::Value* value = json::find(config, key); value != nullptr && value->is_string())
      add(std::string_view(value->get_string()));
  if (const json::Value* params = json::find(config, "task_specific_params"); params != nullptr && params->is_object())
    for (const auto& member : params->get_object()) add(member.key());
  return tasks;
}

DefaultDataset default_dataset(const std::vector<std::string>& names, const std::vector<std::string>& tasks,
                               int64_t nsamples) {
  const fs::path file = shared_data_folder("datasets") / "defaults.toml";
  const std::string what = str("'", file.string(), "'");
  const json::Object object = parse_toml(read_input_file(file, kLargestFile), what);
  check_keys(object, {"default"}, what);
  const json::Value* entries = json::find(object, "default");
  if (entries == nullptr) throw_input(str(what, ": has no [[default]]; install arkit again"));
  for (const json::Value& value : json::as_array(*entries, what)) {
    const json::Object& entry = json::as_object(value, what);
    check_keys(entry, {"reason", "words", "families", "tasks", "mix"}, what);
    const std::vector<std::string> mix = text_list(entry, "mix", what);
    if (mix.empty()) throw_input(str(what, ": a [[default]] has no 'mix'; install arkit again"));
    if (fits(entry, names, tasks, what))
      return {shared_out(mix, nsamples), json::get_string(entry, "reason", what).value_or("")};
  }
  throw_input(str(what, ": no [[default]] fits this model; give --dataset"));
}

}  // namespace arkit::calibration
