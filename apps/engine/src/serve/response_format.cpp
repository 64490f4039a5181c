// What a request says its answers must be: `response_format` of OpenAI's protocol.
#include <memory>
#include <utility>

#include <arkit/engine/output_grammar.h>
#include <arkit/error.h>
#include <arkit/str.h>

#include "serve/text_fields.h"

namespace arkit::serve {
namespace {

constexpr std::string_view kField = "response_format";

OutputRules rules_of(const json::Object& format, const std::string& type) {
  if (type == "json_object") return OutputRules::json_object();
  Fields fields(format);
  const json::Object* named = fields.object("json_schema");
  const json::Value* schema = named == nullptr ? nullptr : json::find(*named, "schema");
  if (schema == nullptr) throw_field(kField, "of type \"json_schema\" needs {\"json_schema\": {\"schema\": ...}}");
  return OutputRules::json_schema(*schema, std::string(kField));
}

}  // namespace

void read_response_format(Fields& fields, const ServedModel& model, TextRequest& request) {
  const json::Object* format = fields.object(kField);
  if (format == nullptr) return;
  Fields inner(*format);
  const std::string type = inner.text("type").value_or("");
  if (type == "text") return;
  if (type != "json_object" && type != "json_schema")
    throw_field(kField, str("has the type '", printable(type, 40), "'; expected text, json_object or json_schema"));
  try {
    request.sampling.grammar = std::make_shared<const OutputGrammar>(rules_of(*format, type), model.token_bytes());
  } catch (const Error& error) {
    if (error.code() != ErrorCode::input && error.code() != ErrorCode::unsupported) throw;
    throw_field(kField, str("cannot be followed: ", error.what()));
  }
}

}  // namespace arkit::serve
