#include "transform/fold_record.h"

#include <algorithm>
#include <string_view>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/str.h>

namespace arkit {
namespace {

constexpr std::string_view kDigits = "0123456789abcdef";
constexpr size_t kDigitsAScale = 4;
constexpr int64_t kMostChannels = int64_t{1} << 24;

// Four hexadecimal digits a channel: the bits of a bfloat16.
std::string hex_of(const at::Tensor& scales) {
  const at::Tensor bits = scales.to(at::kBFloat16).contiguous().view(at::kShort);
  const int16_t* const data = bits.const_data_ptr<int16_t>();
  std::string text;
  text.reserve(static_cast<size_t>(bits.numel()) * kDigitsAScale);
  for (int64_t i = 0; i < bits.numel(); ++i)
    for (int shift = 12; shift >= 0; shift -= 4)
      text += kDigits[(static_cast<uint16_t>(data[i]) >> static_cast<unsigned>(shift)) & 15U];
  return text;
}

at::Tensor scales_of(const std::string& text, const std::string& what) {
  const auto channels = static_cast<int64_t>(text.size() / kDigitsAScale);
  at::Tensor bits = at::empty({channels}, at::kShort);
  auto* const data = bits.mutable_data_ptr<int16_t>();
  for (int64_t i = 0; i < channels; ++i) {
    unsigned value = 0;
    for (size_t digit = 0; digit < kDigitsAScale; ++digit) {
      const size_t found = kDigits.find(text[static_cast<size_t>(i) * kDigitsAScale + digit]);
      if (found == std::string_view::npos) throw_input(str(what, ": 'scales' are no hexadecimal digits"));
      value = value * 16U + static_cast<unsigned>(found);
    }
    data[i] = static_cast<int16_t>(value);
  }
  const at::Tensor scales = bits.view(at::kBFloat16).to(at::kFloat);
  if (text.size() % kDigitsAScale != 0 || channels == 0 ||
      !scales.isfinite().logical_and(scales.gt(0)).all().item<bool>())
    throw_input(str(what, ": 'scales' are no positive numbers"));
  return scales;
}

std::string name_of(at::ScalarType dtype) {
  return dtype == at::kBFloat16 ? "bfloat16" : dtype == at::kHalf ? "float16" : "float32";
}

at::ScalarType dtype_of(const json::Object& record, std::string_view key, const std::string& what) {
  const std::string name = json::get_string(record, key, what).value_or("");
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kHalf})
    if (name_of(dtype) == name) return dtype;
  throw_input(str(what, ": '", key, "' is '", printable(name), "', expected float32, bfloat16 or float16"));
}

json::Object to_json(const ChannelFold& fold) {
  const ScalePlace& place = fold.place;
  json::Array into;
  for (const std::string& layer : place.into) into.emplace_back(layer);
  json::Object object{
      {"block", place.block}, {place.from_norm ? "norm" : "layer", place.from}, {"into", std::move(into)}};
  if (place.repeats > 1) {
    object["heads"] = place.heads;
    object["repeats"] = place.repeats;
  }
  for (const auto& member : fold.found) object[member.key()] = member.value();
  object["scales"] = hex_of(fold.scales);
  return object;
}

ChannelFold fold_of(const json::Object& object, const std::string& what) {
  ChannelFold fold;
  ScalePlace& place = fold.place;
  place.block = json::get_int(object, "block", what).value_or(-1);
  place.from_norm = json::find(object, "norm") != nullptr;
  place.from = json::get_string(object, place.from_norm ? "norm" : "layer", what).value_or("");
  place.heads = json::get_int(object, "heads", what).value_or(1);
  place.repeats = json::get_int(object, "repeats", what).value_or(1);
  if (const json::Value* into = json::find(object, "into"))
    for (const json::Value& layer : json::as_array(*into, what))
      if (layer.is_string()) place.into.emplace_back(layer.get_string());
  if (place.from.empty() || place.into.empty())
    throw_input(str(what, ": a fold names no tensor it comes from, or no layer it goes into"));
  fold.scales = scales_of(json::get_string(object, "scales", what).value_or(""), what);
  place.channels = fold.scales.numel();
  const bool divides = place.heads > 0 && place.repeats > 0 && place.channels % place.heads == 0 &&
                       place.repeats <= kMostChannels / place.channels;
  if (!divides) throw_input(str(what, ": 'heads' and 'repeats' of a fold do not fit its scales"));
  return fold;
}

}  // namespace

json::Object to_json(const TransformRecord& record) {
  json::Array folds, notes;
  for (const ChannelFold& fold : record.folds) folds.emplace_back(to_json(fold));
  for (const std::string& note : record.notes) notes.emplace_back(note);
  json::Object object{{"name", record.name},
                      {"settings", record.settings},
                      {"weights", name_of(record.weights)},
                      {"norms", name_of(record.norms)}};
  if (!notes.empty()) object["left"] = std::move(notes);
  object["folds"] = std::move(folds);
  return object;
}

std::vector<TransformRecord> read_transforms(const json::Object& run, const std::string& what) {
  std::vector<TransformRecord> records;
  const json::Value* all = json::find(run, "transforms");
  if (all == nullptr) return records;
  for (const json::Value& value : json::as_array(*all, what)) {
    const json::Object& object = json::as_object(value, what);
    TransformRecord& record = records.emplace_back();
    record.name = json::get_string(object, "name", what).value_or("");
    record.weights = dtype_of(object, "weights", what);
    record.norms = dtype_of(object, "norms", what);
    if (const json::Value* folds = json::find(object, "folds"))
      for (const json::Value& fold : json::as_array(*folds, what))
        record.folds.push_back(fold_of(json::as_object(fold, what), what));
  }
  return records;
}

}  // namespace arkit
