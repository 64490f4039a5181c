# The server's one library beside LibTorch is in http_server.cpp (docs/adr/0050).
list(APPEND ARKIT_ENGINE_SOURCES
  src/serve/api.cpp
  src/serve/api_error.cpp
  src/serve/chat_request.cpp
  src/serve/engine_thread.cpp
  src/serve/fields.cpp
  src/serve/http_server.cpp
  src/serve/metrics.cpp
  src/serve/response_format.cpp
  src/serve/server.cpp
  src/serve/text_answer.cpp
  src/serve/text_format.cpp
  src/serve/text_request.cpp
  src/serve/tool_calls.cpp)

# The chat page.
arkit_share(serve)
