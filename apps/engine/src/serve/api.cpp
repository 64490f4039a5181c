#include "serve/api.h"

#include <algorithm>
#include <array>
#include <new>
#include <string_view>

#include <arkit/json.h>
#include <arkit/str.h>

#include "serve/fields.h"
#include "serve/metrics.h"
#include "serve/text_answer.h"
#include "serve/text_request.h"

namespace arkit::serve {
namespace {

class Ready final : public HttpAnswer {
 public:
  explicit Ready(HttpPiece piece) : piece_(std::move(piece)) {}
  std::optional<HttpPiece> next() override { return std::move(piece_); }
  void abandon() noexcept override {}

 private:
  HttpPiece piece_;
};

std::shared_ptr<HttpAnswer> ready(HttpPiece piece) {
  return std::make_shared<Ready>(std::move(piece));
}

std::shared_ptr<HttpAnswer> ready(const json::Value& value) {
  return ready(HttpPiece{.headers = {}, .data = json::dump(value) + "\n"});
}

json::Object body_of(const HttpRequest& request) {
  json::Value body = json::parse(request.body, "the body of the request");
  if (!body.is_object()) throw ApiError(400, "the body of the request must be a JSON object");
  return std::move(body.get_object());
}

// Of "localhost:8000", "[::1]:8000".
std::string_view name_of(std::string_view host) {
  if (host.starts_with('[')) return host.substr(0, host.find(']') + 1);
  return host.substr(0, host.find(':'));
}

// A name that is no address may be led here by whoever owns it, from a page that the user has open.
bool is_local_name(std::string_view name) {
  const bool number = !name.empty() && name.find_first_not_of("0123456789.") == name.npos;
  return number || name.starts_with('[') || lower(name) == "localhost" || lower(name).ends_with(".localhost");
}

}  // namespace

Api::Api(const ServedModel& model, EngineThread& engine, ApiOptions options)
    : model_(model), engine_(engine), options_(std::move(options)) {}

const Api::Place* Api::find(const std::string& path) {
  static const std::array kPlaces{
      Place{"/", "GET", &Api::page, true},
      Place{"/health", "GET", &Api::health, true},
      Place{"/metrics", "GET", &Api::metrics},
      Place{"/v1/models", "GET", &Api::models},
      Place{"/v1/completions", "POST", &Api::completions},
      Place{"/v1/chat/completions", "POST", &Api::chat},
      Place{"/v1/embeddings", "POST", &Api::embeddings},
      Place{"/tokenizer_info", "GET", &Api::tokenizer_info},
      Place{"/tokenize", "POST", &Api::tokenize},
      Place{"/detokenize", "POST", &Api::detokenize},
  };
  constexpr std::string_view kModel = "/v1/models/";
  const std::string_view wanted =
      path.starts_with(kModel) && path.size() > kModel.size() ? "/v1/models" : std::string_view(path);
  const auto found =
      std::find_if(kPlaces.begin(), kPlaces.end(), [&](const Place& place) { return place.path == wanted; });
  return found == kPlaces.end() ? nullptr : &*found;
}

// In time that does not depend on where a guess goes wrong.
bool Api::may_ask(const std::string& authorization) const {
  constexpr std::string_view kBearer = "Bearer ";
  if (!authorization.starts_with(kBearer)) return false;
  const std::string_view given = std::string_view(authorization).substr(kBearer.size()), key = options_.key;
  unsigned different = given.size() == key.size() ? 0U : 1U;
  for (size_t i = 0; i < given.size(); ++i)
    different |=
        static_cast<unsigned>(static_cast<unsigned char>(given[i]) ^ static_cast<unsigned char>(key[i % key.size()]));
  return different == 0;
}

std::optional<HttpPiece> Api::refuse(const HttpRequest& head) {
  if (options_.local && options_.key.empty() && !head.host.empty() && !is_local_name(name_of(head.host)))
    return problem(403, str("this server is for programs on its machine, and '", printable(head.host, 100),
                            "' is no name of it; call it 127.0.0.1 or localhost, or start it with --api_key"));
  const Place* place = find(head.path);
  if (place == nullptr)
    return error_piece(ApiError(404,
                                str("there is nothing at '", printable(head.path, 100),
                                    "'; see /v1/models, /v1/completions, "
                                    "/v1/chat/completions"),
                                "not_found"));
  if (!options_.key.empty() && !place->open && !may_ask(head.authorization))
    return error_piece(ApiError(401,
                                head.authorization.empty() ? "an API key is needed: send 'Authorization: Bearer KEY'"
                                                           : "the API key is not the one this server was started with",
                                "invalid_api_key"));
  const bool gets = place->method == "GET" && (head.method == "GET" || head.method == "HEAD");
  if (!gets && head.method != place->method) {
    HttpPiece piece = problem(405, str("'", place->path, "' takes ", place->method));
    piece.headers.emplace_back("Allow", std::string(place->method));
    return piece;
  }
  // A page of somebody else may send anything that a form can, and JSON is nothing of that.
  if (!gets && !lower(head.content_type).starts_with("application/json"))
    return problem(415, "the body of the request must be JSON, and say so: 'Content-Type: application/json'");
  return std::nullopt;
}

std::shared_ptr<HttpAnswer> Api::answer(HttpRequest&& request, Wake wake) {
  try {
    const Place* place = find(request.path);
    return (this->*place->route)(request, std::move(wake));
  } catch (const ApiError& error) {
    return ready(error_piece(error));
  } catch (const Error& error) {
    return ready(error_piece(ApiError(error)));
  } catch (const std::bad_alloc&) {
    return ready(problem(503, "there is not enough memory for this request now; try again later"));
  } catch (const std::exception& error) {
    return ready(problem(500, str(error.what(), " (this is a bug in arkit)")));
  }
}

HttpPiece Api::problem(int status, const std::string& what) {
  return error_piece(ApiError(status, what));
}

void Api::sends(const std::string& path, int status) noexcept {
  const Place* place = find(path);
  const std::lock_guard lock(mutex_);
  ++answered_[{place == nullptr ? "other" : std::string(place->path), status}];
}

int64_t Api::requests() const {
  const std::lock_guard lock(mutex_);
  int64_t all = 0;
  for (const auto& [what, count] : answered_) all += count;
  return all;
}

std::shared_ptr<HttpAnswer> Api::page(const HttpRequest&, Wake) {
  HttpPiece piece{.type = "text/html; charset=utf-8", .headers = {}, .data = options_.page};
  piece.headers.emplace_back(
      "Content-Security-Policy",
      "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; "
      "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'");
  piece.headers.emplace_back("X-Content-Type-Options", "nosniff");
  return ready(std::move(piece));
}

std::shared_ptr<HttpAnswer> Api::health(const HttpRequest&, Wake) {
  return ready(json::Object{{"status", "ok"}});
}

std::shared_ptr<HttpAnswer> Api::metrics(const HttpRequest&, Wake) {
  std::map<std::pair<std::string, int>, int64_t> answered;
  {
    const std::lock_guard lock(mutex_);
    answered = answered_;
  }
  return ready(HttpPiece{.type = "text/plain; version=0.0.4; charset=utf-8",
                         .headers = {},
                         .data = metrics_text(engine_.counts(), *connections_, answered)});
}

std::shared_ptr<HttpAnswer> Api::models(const HttpRequest& request, Wake) {
  json::Object model{{"id", model_.name},
                     {"object", "model"},
                     {"created", model_.created},
                     {"owned_by", "arkit"},
                     {"max_model_len", model_.most_tokens}};
  if (request.path == "/v1/models")
    return ready(json::Object{{"object", "list"}, {"data", json::Array{std::move(model)}}});
  const std::string wanted = request.path.substr(std::string_view("/v1/models/").size());
  check_model_name({{"model", wanted}}, model_);
  return ready(model);
}

std::shared_ptr<HttpAnswer> Api::completions(const HttpRequest& request, Wake wake) {
  const auto answer =
      std::make_shared<TextAnswer>(read_completion(body_of(request), model_), model_, engine_, std::move(wake));
  TextAnswer::start(answer);
  return answer;
}

std::shared_ptr<HttpAnswer> Api::chat(const HttpRequest& request, Wake wake) {
  const auto answer =
      std::make_shared<TextAnswer>(read_chat(body_of(request), model_), model_, engine_, std::move(wake));
  TextAnswer::start(answer);
  return answer;
}

std::shared_ptr<HttpAnswer> Api::embeddings(const HttpRequest& request, Wake) {
  check_model_name(body_of(request), model_);
  throw ApiError(
      400,
      str("'", model_.name,
          "' writes text: nothing in its files says how its hidden states would be pooled "
          "into an embedding, and a guess would be no measure of likeness; serve a model made for embeddings with a "
          "program for those"),
      "no_embeddings", "model");
}

std::shared_ptr<HttpAnswer> Api::tokenizer_info(const HttpRequest&, Wake) {
  const Tokenizer& tokenizer = *model_.tokenizer;
  json::Object info;
  const auto put = [&](std::string_view name, const std::optional<int64_t>& id) {
    info[name] = id ? json::Value(tokenizer.id_to_token(*id)) : json::Value(nullptr);
  };
  put("eos_token", tokenizer.eos_id()        ? tokenizer.eos_id()
                   : model_.stop_ids.empty() ? std::nullopt
                                             : std::optional(model_.stop_ids.front()));
  put("bos_token", tokenizer.bos_id());
  put("pad_token", tokenizer.pad_id());
  const std::string_view chat = tokenizer.chat_template_text(false);
  info["chat_template"] = chat.empty() ? json::Value(nullptr) : json::Value(chat);
  return ready(info);
}

std::shared_ptr<HttpAnswer> Api::tokenize(const HttpRequest& request, Wake) {
  const json::Object body = body_of(request);
  check_model_name(body, model_);
  Fields fields(body);
  const std::optional<std::string> text = fields.text("prompt");
  if (!text) throw_field("prompt", "is missing; give the text");
  const std::vector<int64_t> ids = model_.tokenizer->encode(*text, fields.boolean("add_special_tokens").value_or(true));
  return ready(json::Object{
      {"tokens", json::Array(ids.begin(), ids.end())}, {"count", ids.size()}, {"max_model_len", model_.most_tokens}});
}

std::shared_ptr<HttpAnswer> Api::detokenize(const HttpRequest& request, Wake) {
  const json::Object body = body_of(request);
  check_model_name(body, model_);
  Fields fields(body);
  const json::Array* tokens = fields.array("tokens");
  if (tokens == nullptr) throw_field("tokens", "is missing; give a list of token ids");
  std::vector<int64_t> ids;
  for (const json::Value& token : *tokens) {
    if (!token.is_int64()) throw_field("tokens", "must be a list of token ids");
    ids.push_back(token.get_int64());
  }
  return ready(json::Object{{"prompt", model_.tokenizer->decode(ids, false)}});
}

}  // namespace arkit::serve
