#pragma once
// What all guarded objects are.

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <ATen/ATen.h>

#include <arkit/str.h>

#include "plugins/guard.h"
#include "plugins/guard_call.h"

namespace arkit::plugins {

using std::string_view;

// Integers and types of one byte pass without a look.
inline bool is_finite(const at::Tensor& tensor) {
  if (!at::isFloatingType(tensor.scalar_type()) || tensor.element_size() < 2) return true;
  return at::isfinite(tensor).all().item<bool>();
}

// The plugin's object and whose it is.
template <typename Interface, typename Pointer = std::shared_ptr<Interface>>
class Guarded : public Interface {
 public:
  Guarded(Pointer inner, OriginPtr origin) : inner_(std::move(inner)), origin_(std::move(origin)) {}

 protected:
  template <typename Call>
  decltype(auto) call(string_view function, Call&& plugin_code) const {
    return call_plugin(*origin_, function, [&]() -> decltype(auto) { return plugin_code(*inner_); });
  }
  [[noreturn]] void refuse(const std::string& why) const {
    throw NamedError(ErrorCode::plugin, str(origin_->text(), ": its ", origin_->component, " ", why));
  }
  [[nodiscard]] const OriginPtr& origin() const noexcept { return origin_; }

  // A guarded object made by the plugin.
  template <typename GuardedType, typename Made, typename... More>
  [[nodiscard]] std::unique_ptr<Made> made(std::unique_ptr<Made> object, string_view function,
                                           const More&... more) const {
    if (object == nullptr) refuse(str("gave nothing back from ", function));
    return std::make_unique<GuardedType>(std::move(object), origin_, more...);
  }

  // Codes that miss their weight or scales that are no numbers would be written as they are.
  [[nodiscard]] QuantizedWeight checked(QuantizedWeight out, const at::Tensor& weight, string_view function) const {
    if (origin_->shipped) return out;
    if (!out.codes.defined() || out.codes.sizes() != weight.sizes())
      refuse(str("gave codes back from ", function, " that do not have the shape of their weight"));
    for (const auto& [name, tensor] : tensors_of(out))
      if (name != "codes" && !is_finite(tensor))
        refuse(str("gave a ", name, " back from ", function, " that is not finite"));
    return out;
  }

 private:
  Pointer inner_;
  OriginPtr origin_;
};

template <typename Interface>
using GuardedOwn = Guarded<Interface, std::unique_ptr<Interface>>;

}  // namespace arkit::plugins
