#pragma once
// Requests for texts as they are asked for, checked and made into what a session takes.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <arkit/engine/sampling.h>
#include <arkit/engine/session.h>
#include <arkit/json.h>

#include "serve/served_model.h"

namespace arkit::serve {

struct Prompt {
  std::vector<int64_t> ids;
  std::optional<std::string> text;  // as it was given; nullopt = as ids
};

struct TextRequest {
  bool chat = false;
  std::vector<Prompt> prompts;  // one of a chat
  int64_t n = 1;                // answers to each
  int64_t most = 16;            // new tokens; of each, cut to what has room
  bool echo = false;
  int64_t scores = -1;  // likeliest tokens beside each one; -1 = no scores at all
  std::vector<std::string> stop;
  std::vector<int64_t> stop_ids;
  SamplingOptions sampling;
  bool stream = false, usage_at_end = false;
  bool calls_tools = false;          // the model may call tools: its text is looked through for calls
  std::vector<std::string> ignored;  // members that mean nothing here
};

// Throw ApiError for whatever cannot be done as it is asked for.
[[nodiscard]] TextRequest read_completion(const json::Object& body, const ServedModel& model);
[[nodiscard]] TextRequest read_chat(const json::Object& body, const ServedModel& model);
// 404 when it names another model.
void check_model_name(const json::Object& body, const ServedModel& model);

// A text for each choice: those of a prompt one behind the other.
[[nodiscard]] std::vector<SessionRequest> session_requests(const TextRequest& request, const ServedModel& model);

}  // namespace arkit::serve
