#pragma once
// How guard.cpp and its like call into a plugin.

#include <string>
#include <string_view>
#include <utility>

#include <arkit/error.h>

#include "plugins/guard.h"

namespace arkit::plugins {

// An error that names its plugin already, so that a plugin further out does not add its own name.
class ARKIT_INTERNAL NamedError final : public Error {
 public:
  using Error::Error;
};

// The exception being handled, with `origin` in its message. Interruptions and lack of memory are nobody's fault and
// pass as they are.
[[noreturn]] void rethrow_named(const Origin& origin, std::string_view function);

// Marks this thread as running code of a plugin while it lives.
class Running {
 public:
  Running(const Origin& origin, std::string_view function) noexcept;
  ~Running();
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;

 private:
  const Origin* outer_origin_;
  std::string_view outer_function_;
};

template <typename Call>
decltype(auto) call_plugin(const Origin& origin, std::string_view function, Call&& call) {
  const Running running(origin, function);
  try {
    return std::forward<Call>(call)();
  } catch (...) {
    rethrow_named(origin, function);
  }
}

}  // namespace arkit::plugins
