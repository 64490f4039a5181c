#include <algorithm>
#include <string_view>

#include <arkit/str.h>

#include "serve/text_fields.h"
#include "serve/tool_calls.h"

namespace arkit::serve {
namespace {

constexpr int64_t kMostTop = 20;

// A text, or the text parts of a list.
std::string content_of(const json::Value* content, const std::string& where) {
  if (content == nullptr) return {};
  if (content->is_string()) return std::string(content->get_string());
  if (!content->is_array()) throw_field("messages", str(where, ": 'content' must be a text or a list of parts"));
  std::string text;
  for (const json::Value& part : content->get_array()) {
    const json::Object* object = part.if_object();
    const json::Value* type = object == nullptr ? nullptr : json::find(*object, "type");
    const json::Value* words = object == nullptr ? nullptr : json::find(*object, "text");
    if (type == nullptr || *type != "text" || words == nullptr || !words->is_string())
      throw_field("messages", str(where,
                                  ": 'content' has a part that is no text; this model reads texts alone: "
                                  "{\"type\": \"text\", \"text\": ...}"));
    text += std::string_view(words->get_string());
  }
  return text;
}

// Clients send the arguments of a call as a text of JSON; templates write them themselves.
json::Value calls_of(const json::Value& calls, const std::string& where) {
  json::Value made = calls;
  if (!made.is_array()) throw_field("messages", str(where, ": 'tool_calls' must be a list"));
  for (json::Value& call : made.get_array()) {
    json::Object* object = call.if_object();
    json::Value* function = object == nullptr ? nullptr : object->if_contains("function");
    if (function == nullptr || !function->is_object())
      throw_field("messages", str(where, ": a tool call has no 'function'"));
    json::Value* arguments = function->get_object().if_contains("arguments");
    if (arguments != nullptr && arguments->is_string())
      *arguments = json::parse(arguments->get_string(), str(where, ": the arguments of a tool call"));
  }
  return made;
}

json::Object message_of(const json::Value& given, const std::string& where) {
  if (!given.is_object()) throw_field("messages", str(where, " must be an object with 'role' and 'content'"));
  json::Object message = given.get_object();
  const json::Value* role = json::find(message, "role");
  static constexpr std::string_view kRoles[] = {"system", "developer", "user", "assistant", "tool"};
  if (role == nullptr || !role->is_string() ||
      std::find(std::begin(kRoles), std::end(kRoles), std::string_view(role->get_string())) == std::end(kRoles))
    throw_field("messages", str(where, ": 'role' must be system, developer, user, assistant or tool"));
  if (*role == "developer") message["role"] = "system";
  message["content"] = content_of(json::find(message, "content"), where);
  if (const json::Value* calls = json::find(message, "tool_calls"); calls != nullptr)
    message["tool_calls"] = calls_of(*calls, where);
  return message;
}

json::Array read_messages(Fields& fields) {
  const json::Array* given = fields.array("messages");
  if (given == nullptr || given->empty()) throw_field("messages", "is missing or empty; give the conversation");
  json::Array messages;
  for (const json::Value& one : *given) messages.push_back(message_of(one, str("message ", messages.size())));
  return messages;
}

// What the template is told beside the conversation; tools where it can tell the model of them.
json::Object read_variables(Fields& fields, const ServedModel& model, TextRequest& request) {
  json::Object variables;
  if (const json::Object* more = fields.object("chat_template_kwargs")) variables = *more;
  const json::Value* choice = fields.any("tool_choice");
  const json::Array* tools = fields.array("tools");
  fields.known("parallel_tool_calls");
  if (tools == nullptr || tools->empty() || (choice != nullptr && *choice == "none")) return variables;
  if (choice != nullptr && *choice != "auto")
    throw_field("tool_choice", "can be \"auto\" or \"none\": the model decides whether it calls a tool");
  for (const json::Value& tool : *tools)
    if (const json::Object* object = tool.if_object(); object == nullptr ||
                                                       json::find(*object, "function") == nullptr ||
                                                       !json::find(*object, "function")->is_object())
      throw_field("tools", "must be a list of {\"type\": \"function\", \"function\": {\"name\": ...}}");
  if (model.tokenizer->chat_template_text(true).find("tools") == std::string_view::npos)
    throw_field("tools", str("cannot be used: the chat template of '", model.name, "' has no place for tools"));
  variables["tools"] = *tools;
  request.calls_tools = writes_calls(model.tokenizer->chat_template_text(true));
  return variables;
}

// The conversation as the template writes it. An assistant's message at its end is gone on with, so that what the
// template writes behind its text is left out.
std::string written(const json::Array& messages, const json::Object& variables, bool goes_on,
                    const Tokenizer& tokenizer) {
  std::string text = tokenizer.apply_chat_template(messages, !goes_on, variables);
  if (!goes_on) return text;
  const std::string last(messages.back().get_object().at("content").get_string());
  const size_t begin = last.find_first_not_of(" \t\r\n"), end = last.find_last_not_of(" \t\r\n");
  const std::string bare = begin == last.npos ? "" : last.substr(begin, end - begin + 1);
  const size_t found = bare.empty() ? text.npos : text.rfind(bare);
  if (found == text.npos)
    throw_field("messages",
                "ends with an assistant's message that the chat template does not write as it is, so that it "
                "cannot be gone on with; end with a user's");
  return text.substr(0, found + bare.size());
}

}  // namespace

TextRequest read_chat(const json::Object& body, const ServedModel& model) {
  check_model_name(body, model);
  if (!model.tokenizer->has_chat_template())
    throw ApiError(400, str("'", model.name, "' has no chat template; use /v1/completions"), "no_chat_template");
  TextRequest request{.chat = true};
  Fields fields(body);
  read_common(fields, model, request);
  const json::Array messages = read_messages(fields);
  const bool ends_with_answer = messages.back().get_object().at("role") == "assistant";
  const bool goes_on = fields.boolean("continue_final_message").value_or(ends_with_answer);
  if (goes_on && !ends_with_answer) throw_field("continue_final_message", "needs an assistant's message at the end");
  const json::Object variables = read_variables(fields, model, request);
  if (fields.boolean("logprobs").value_or(false))
    request.scores = fields.integer("top_logprobs", 0, kMostTop).value_or(0);
  else if (fields.integer("top_logprobs", 0, kMostTop))
    throw_field("top_logprobs", "needs \"logprobs\": true");
  const auto most = fields.integer("max_completion_tokens", 1, kMostTokens),
             old = fields.integer("max_tokens", 1, kMostTokens);
  request.most = most ? *most : old.value_or(kMostTokens);
  Prompt prompt;
  // The template writes special tokens itself.
  prompt.ids = model.tokenizer->encode(written(messages, variables, goes_on, *model.tokenizer), false);
  request.prompts.push_back(std::move(prompt));
  check_sizes(request, model);
  request.ignored = fields.ignored();
  return request;
}

}  // namespace arkit::serve
