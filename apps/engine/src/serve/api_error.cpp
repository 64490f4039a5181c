#include "serve/api_error.h"

#include <arkit/json.h>

namespace arkit::serve {
namespace {

int status_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::usage:
    case ErrorCode::input:
    case ErrorCode::unsupported:
      return 400;
    case ErrorCode::resource:
    case ErrorCode::interrupted:
      return 503;
    default:
      return 500;
  }
}

std::string_view type_of(int status) {
  if (status == 401 || status == 403) return "authentication_error";
  if (status == 429) return "rate_limit_error";
  return status < 500 ? "invalid_request_error" : "server_error";
}

json::Value or_null(const std::string& text) {
  return text.empty() ? json::Value(nullptr) : json::Value(text);
}

}  // namespace

ApiError::ApiError(const Error& error) : status(status_of(error.code())), message(error.what()) {}

std::string error_json(const ApiError& error) {
  return json::dump(json::Object{{"error", json::Object{{"message", error.message},
                                                        {"type", type_of(error.status)},
                                                        {"param", or_null(error.param)},
                                                        {"code", or_null(error.code)}}}});
}

HttpPiece error_piece(const ApiError& error) {
  HttpPiece piece{.status = error.status,
                  .type = "application/json",
                  .headers = {},
                  .data = error_json(error) + "\n",
                  .last = true};
  if (error.status == 401) piece.headers.emplace_back("WWW-Authenticate", "Bearer");
  if (error.status == 429 || error.status == 503) piece.headers.emplace_back("Retry-After", "1");
  return piece;
}

}  // namespace arkit::serve
