list(APPEND ARKIT_CORE_SOURCES
  src/text/added_tokens.cpp
  src/text/bpe.cpp
  src/text/byte_alphabet.cpp
  src/text/chat_template.cpp
  src/text/component.cpp
  src/text/decoder.cpp
  src/text/normalizer.cpp
  src/text/pattern.cpp
  src/text/post_processor.cpp
  src/text/pre_tokenizer.cpp
  src/text/scanners.cpp
  src/text/tokenizer.cpp
  src/text/unicode.cpp
  src/text/vocabulary.cpp)
