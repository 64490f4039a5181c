list(APPEND ARKIT_ENGINE_SOURCES
  src/text/added_tokens.cpp
  src/text/bpe.cpp
  src/text/byte_alphabet.cpp
  src/text/chat_template.cpp
  src/text/component.cpp
  src/text/decoder.cpp
  src/text/effort.cpp
  src/text/jinja/budget.cpp
  src/text/jinja/builtins.cpp
  src/text/jinja/filters.cpp
  src/text/jinja/interpreter.cpp
  src/text/jinja/lexer.cpp
  src/text/jinja/methods.cpp
  src/text/jinja/parser.cpp
  src/text/jinja/value.cpp
  src/text/normalizer.cpp
  src/text/pattern.cpp
  src/text/post_processor.cpp
  src/text/pre_tokenizer.cpp
  src/text/scanners.cpp
  src/text/text_stream.cpp
  src/text/tokenizer.cpp
  src/text/unicode.cpp
  src/text/vocabulary.cpp)
arkit_compile_alone(${CMAKE_CURRENT_LIST_DIR}/decoder.cpp ${CMAKE_CURRENT_LIST_DIR}/post_processor.cpp ${CMAKE_CURRENT_LIST_DIR}/pre_tokenizer.cpp)
