list(APPEND ARKIT_ENGINE_SOURCES
  src/grammar/automaton.cpp
  src/grammar/code_points.cpp
  src/grammar/draft.cpp
  src/grammar/json_schema.cpp
  src/grammar/json_writer.cpp
  src/grammar/machine.cpp
  src/grammar/notation.cpp
  src/grammar/pattern.cpp
  src/grammar/schema_shape.cpp
  src/grammar/schema_words.cpp
  src/grammar/term.cpp
  src/grammar/token_filter.cpp
  src/grammar/token_trie.cpp)
