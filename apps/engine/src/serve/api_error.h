#pragma once
// What a request is refused with, as OpenAI's clients read it.

#include <exception>
#include <string>
#include <utility>

#include <arkit/error.h>

#include "serve/http_server.h"

namespace arkit::serve {

struct ApiError : std::exception {
  ApiError(int with, std::string said, std::string kind = {}, std::string of = {})
      : status(with), message(std::move(said)), code(std::move(kind)), param(std::move(of)) {}
  // Our own errors: what a request says is its fault, what the machine lacks is not.
  explicit ApiError(const Error& error);
  [[nodiscard]] const char* what() const noexcept override { return message.c_str(); }

  int status;           // of HTTP
  std::string message;  // one sentence: what, where, what was expected
  std::string code;     // "model_not_found"; empty = null
  std::string param;    // the field it is about; empty = null
};

[[nodiscard]] std::string error_json(const ApiError& error);
[[nodiscard]] HttpPiece error_piece(const ApiError& error);

}  // namespace arkit::serve
