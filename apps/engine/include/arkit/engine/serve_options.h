#pragma once
// What `arkit serve` can be asked for. Not in jobs.h: a server is no job that ends with a result.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include <arkit/engine/option_table.h>
#include <arkit/export.h>

namespace arkit {

struct ServeOptions {
  std::string model;
  std::string host = "127.0.0.1";  // an address or a name of this machine
  int64_t port = 8000;             // 0 = a free one
  std::string api_key;             // empty = whoever reaches the server may ask
  std::string served_name;         // what requests call the model; empty = the name of its folder
  bool model_defaults = true;      // as of SamplingWishes, where a request says nothing; what neither says is OpenAI's
  std::optional<int64_t> context_tokens;  // of a text, answer included; unset = the model's positions
  std::optional<int64_t> max_new_tokens;  // of an answer; unset = what has room
  int64_t cache_tokens = 32768;           // these four as of SessionOptions
  int64_t page_size = 64;
  int64_t max_running = 64;
  int64_t step_tokens = 512;
  int64_t max_waiting = 1024;  // texts of all requests that wait for their turn
  int64_t max_connections = 512;
  int64_t max_body_bytes = int64_t{16} << 20;
  double timeout = 30;          // seconds for a client to send a request, and to take each piece of an answer
  double answer_timeout = 600;  // seconds for an answer to be there whole
  double stop_timeout = 30;     // seconds for answers to end when the server stops
  std::string dtype = "auto", backend, device, compute = "auto";
  std::filesystem::path prepared_cache;
  int64_t head_bits = 8;  // these two as of GenerateOptions
  std::string kv_cache_dtype = "auto";
  bool exact = false;  // as of SessionOptions; no option of `arkit serve`, but of what measures through a server
};

template <>
ARKIT_EXPORT std::span<const OptionOf<ServeOptions>> option_table();

}  // namespace arkit
