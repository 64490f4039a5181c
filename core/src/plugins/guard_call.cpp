#include "plugins/guard_call.h"

#include <cstdio>
#include <mutex>
#include <system_error>

#include <cxxabi.h>
#include <unistd.h>

#include <c10/util/Exception.h>

#include <arkit/str.h>

#include "plugins/questions.h"

namespace arkit::plugins {
namespace {

thread_local const Origin* running_origin = nullptr;
thread_local std::string_view running_function;

std::string text_with(const Origin& origin, std::string_view function) {
  return str(origin.text(), ": ", function, " of its ", origin.component, " threw ", current_exception_text());
}

[[noreturn]] void throw_named(const Origin& origin, std::string_view function) {
  throw NamedError(origin.shipped ? ErrorCode::internal : ErrorCode::plugin, text_with(origin, function));
}

std::terminate_handler previous_terminate = nullptr;

void on_terminate() {
  if (running_origin == nullptr || running_origin->shipped) {
    if (previous_terminate != nullptr) previous_terminate();
    ::_exit(static_cast<int>(ErrorCode::internal));
  }
  std::string text;
  try {
    text = str("arkit: ", text_with(*running_origin, running_function), " and ended the program with it\n");
  } catch (...) {
    text = "arkit: a plugin ended the program\n";
  }
  std::fputs(text.c_str(), stderr);
  ::_exit(static_cast<int>(ErrorCode::plugin));
}

}  // namespace

std::string Origin::text() const {
  return str("plugin '", plugin, "' (", printable(file.string(), 1000), ")");
}

Running::Running(const Origin& origin, std::string_view function) noexcept
    : outer_origin_(running_origin), outer_function_(running_function) {
  running_origin = &origin;
  running_function = function;
}

Running::~Running() {
  running_origin = outer_origin_;
  running_function = outer_function_;
}

void rethrow_named(const Origin& origin, std::string_view function) {
  try {
    throw;
  } catch (const NamedError&) {
    throw;
  } catch (const Error& error) {
    if (origin.shipped || error.code() == ErrorCode::interrupted) throw;
    throw NamedError(error.code(), str(error.what(), " [", origin.text(), "]"));
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const c10::Error& error) {
    if (std::string_view(error.what_without_backtrace()).find("can't allocate memory") != std::string_view::npos) throw;
    throw_named(origin, function);
  } catch (const std::system_error& error) {
    throw NamedError(ErrorCode::resource, text_with(origin, function));
  } catch (const abi::__forced_unwind&) {  // the thread is being cancelled
    throw;
  } catch (...) {
    throw_named(origin, function);
  }
}

void name_plugins_that_end_the_program() {
  static std::once_flag once;
  std::call_once(once, [] { previous_terminate = std::set_terminate(on_terminate); });
}

}  // namespace arkit::plugins
