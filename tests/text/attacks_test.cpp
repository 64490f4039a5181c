// Templates, tokenizers and JSON texts made to hurt: each ends with an answer or one error, within 2 seconds of CPU
// time and 250 MB more than before, and never by a signal. Each runs in a process of its own, so that what one takes is
// measured, and one that fails ends nothing else.

#include <cmath>
#include <cstdlib>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <arkit/engine/tokenizer.h>
#include <arkit/error.h>
#include <arkit/json.h>
#include <arkit/str.h>
#include <gtest/gtest.h>

#include "text/chat_template.h"

namespace {

namespace json = arkit::json;
using arkit::str;

#ifdef __SANITIZE_ADDRESS__
constexpr double kSeconds = 20.0;  // a sanitizer's, which also keeps what is freed
constexpr int64_t kBytes = int64_t{2} << 30;
#else
constexpr double kSeconds = 2.0;
constexpr int64_t kBytes = 250'000'000;
#endif
constexpr int kFellThrough = 99;

int64_t peak_bytes(int who) {
  rusage usage{};
  getrusage(who, &usage);
  return usage.ru_maxrss * 1024;
}

// 0 for an answer, the exit code of an Error.
int outcome(const std::function<void()>& attack) {
  try {
    attack();
    return 0;
  } catch (const arkit::Error& error) {
    return error.exit_code();
  } catch (...) {
    return kFellThrough;
  }
}

int expect_cheap(const std::string& name, const std::function<void()>& attack) {
  SCOPED_TRACE(name);
  const int64_t before = peak_bytes(RUSAGE_SELF);
  const pid_t child = fork();
  if (child == 0) {
    const rlimit cpu{static_cast<rlim_t>(kSeconds) + 1, static_cast<rlim_t>(kSeconds) + 1};
    setrlimit(RLIMIT_CPU, &cpu);  // a hang ends, by a signal
    const rlimit none{0, 0};
    setrlimit(RLIMIT_CORE, &none);
    _exit(outcome(attack));
  }
  int status = 0;
  rusage usage{};
  if (child < 0 || wait4(child, &status, 0, &usage) != child) {
    ADD_FAILURE() << "cannot be run";
    return -1;
  }
  EXPECT_TRUE(WIFEXITED(status)) << "signal " << WTERMSIG(status);
  const double seconds = static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                         1e-6 * static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
  EXPECT_LT(seconds, kSeconds);
  EXPECT_LT(usage.ru_maxrss * 1024 - before, kBytes);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

std::string repeated(std::string_view text, int times) {
  std::string out;
  for (int i = 0; i < times; ++i) out += text;
  return out;
}

// {% set q.x = ... %} `times` times, from `start`.
std::string grown(const std::string& start, const std::string& step, int times, const std::string& then) {
  return str("{% set q=namespace(x=", start, ") %}{% for i in range(", times, ") %}{% set q.x=", step,
             " %}{% endfor %}", then);
}
// `expression` a hundred thousand times over a large x.
std::string looped(const std::string& x, const std::string& expression) {
  return str("{% set x=", x, " %}{% for i in range(100000) %}{% set y=", expression, " %}{% endfor %}ok");
}

void render(const std::string& source) {
  const json::Object context{{"messages", json::Array{json::Object{{"role", "user"}, {"content", "hello"}}}}};
  (void)arkit::text::ChatTemplate(source).render(context);
}

struct Attack {
  const char* name;
  std::string source;
  int code;  // expected; -1 = an answer or any error
};

TEST(Attacks, TemplatesEndWithAnAnswerOrOneError) {
  const std::string big = "'ab'*8000000", list = "(range(100000)|list)*20";
  const std::vector<Attack> attacks{
      {"deep list", grown("[]", "[q.x]", 99999, "ok"), 0},
      {"deep list, printed", grown("[]", "[q.x]", 99999, "{{ q.x }}"), 3},
      {"deep tuple, compared", grown("()", "(q.x,)", 99999, "{{ q.x == (q.x,) }}"), 3},
      {"deep dict as JSON", grown("{}", "{'a':q.x}", 99999, "{{ q.x|tojson }}"), 3},
      {"chain of namespaces", grown("1", "namespace(x=q.x)", 99999, "ok"), 0},
      {"namespace in itself", "{% set n=namespace() %}{% set n.n=[n,n] %}{{ n.n }}{{ n.n == n.n }}{{ n.n.n }}", 0},
      {"list of itself, printed", grown("[1]", "[q.x,q.x]", 60, "{{ q.x }}"), 3},
      {"list of itself, as text", grown("[1]", "[q.x,q.x]", 60, "{{ q.x|string|length }}"), 3},
      {"list of itself, ordered", grown("[1]", "[q.x,q.x]", 60, "{{ q.x < q.x }}"), 3},
      {"list of itself, searched", grown("[1]", "[q.x,q.x]", 60, "{{ [1] in q.x }}"), -1},
      {"dict of itself, indented", grown("{}", "{'a':q.x,'b':q.x}", 60, "{{ q.x|tojson(indent=4) }}"), 3},
      {"list of itself, sorted", grown("[1]", "[q.x,q.x]", 60, "{{ [q.x,q.x,q.x]|sort|length }}"), 3},
      {"doubled by ~", grown("'aaaa'", "q.x~q.x", 60, "ok"), 3},
      {"doubled by +", grown("'aaaa'", "q.x+q.x", 60, "ok"), 3},
      {"doubled by %", grown("'aaaa'", "'%s%s'%(q.x,q.x)", 60, "ok"), 3},
      {"doubled by format", grown("'aaaa'", "'{0}{0}'.format(q.x)", 60, "ok"), 3},
      {"doubled by join", grown("'aaaa'", "[q.x,q.x]|join", 60, "ok"), 3},
      {"grown by replace", grown("'aaaa'", "q.x|replace('a','aaaa')", 60, "ok"), 3},
      {"grown by escape", grown("'&'*2000000", "q.x|e", 60, "ok"), 3},
      {"grown by repr", grown("\"'\\\"\"", "[q.x]|string", 60, "ok"), 3},
      {"grown by tojson", grown("'\"'", "q.x|tojson", 60, "ok"), 3},
      {"grown by indent", grown("'a\\na'*1000", "q.x|indent(1000,true,true)", 20, "ok"), 3},
      {"grown by urlencode", grown("'%'*2000000", "q.x|urlencode", 60, "ok"), 3},
      {"lists doubled", grown("[1]*9", "q.x+q.x", 60, "ok"), 3},
      {"list of characters", "{{ (" + big + ")|list|length }}", 3},
      {"loop over characters", "{% for c in " + big + " %}{% endfor %}", 3},
      {"split", "{{ ((',')*16000000).split(',')|length }}", 3},
      {"split at blanks", "{{ ('a '*12000000).split()|length }}", 3},
      {"splitlines", "{{ ('\\n'*16000000).splitlines()|length }}", 3},
      {"many splits", looped(big, "x.split('b')|length"), 3},
      {"many lengths", looped(big, "x|length"), 3},
      {"many searches", looped(big, "'c' in x"), 3},
      {"many finds of a long part", looped("'a'*4000000", "x.find('a'*1000000~'b')"), 3},
      {"rfind of a long part", looped("'a'*4000000", "x.rfind('b'~'a'*1000000)"), 3},
      {"rsplit of a long part", "{{ ('a'*4000000).rsplit('b'~'a'*100000)|length }}", 3},
      {"count of a long part", looped("'a'*4000000", "x.count('a'*1000~'b')"), 3},
      {"many comparisons", looped(big, "x == x[1:]"), 3},
      {"many orders", looped(big, "x[1:] < x"), 3},
      {"many characters", looped(big, "x[15000000]"), 3},
      {"many slices", looped(big, "x[5:15000000]"), 3},
      {"reversed slices", looped(big, "x[::-1]"), 3},
      {"many upper", looped(big, "x|upper"), 3},
      {"many title", looped(big, "x.title()"), 3},
      {"many strips", looped(big, "x.strip('ab')"), 3},
      {"strip of many characters", "{{ ('a'*4000000).strip('b'*4000000)|length }}", -1},
      {"many tests", looped(big, "x.isdigit() or x.islower()"), 3},
      {"many word counts", looped(big, "x|wordcount"), 3},
      {"many copies cost nothing", looped("'a'*1000000", "x"), 0},
      {"unique", "{{ range(100000)|unique|list|length }}", 3},
      {"dict of pairs", "{{ dict(range(100000)|batch(2))|length }}", 3},
      {"keys of a big dict", "{% set d=dict(range(3000)|batch(2)) %}" + looped("d", "d[2999]"), 3},
      {"sort", looped(list, "x|sort"), 3},
      {"groupby", "{{ ([{'a':1}]*400000)|groupby('a')|length }}", -1},
      {"sums", looped(list, "x|sum"), 3},
      {"map of map", "{{ (" + list + ")|map('string')|map('length')|list|length }}", -1},
      {"selects", looped(list, "x|select('eq',5)|list"), 3},
      {"long paths", "{{ [1]|map(attribute='a.b.'*1000000)|list }}", 3},
      {"truncate at the end of numbers", "{{ 'abc'|truncate(9223372036854775807) }}", 0},
      {"truncate with leeway", "{{ 'abc'|truncate(5,leeway=9223372036854775807) }}", 0},
      {"centre", "{{ 'a'|center(9223372036854775807)|length }}", 0},
      {"batch", "{{ [1]|batch(9223372036854775807,'x')|list|length }}", -1},
      {"slice to the end of numbers", "{{ 'abc'[9223372036854775807::-9223372036854775807] }}", 0},
      {"power", "{{ 3**9223372036854775807 }}", 3},
      {"digits", "{{ ('9'*5000000)|int }}{{ ('9'*5000000)|float }}", 0},
      {"infinite as integer", "{{ '%d'%(1e308*10) }}", 3},
      {"date", "{{ strftime_now('%c'*5000000) }}", 3},
      {"loops in loops", "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}", 3},
      {"empty texts", "{{ (''*9223372036854775807)|length }}{{ ([]*9223372036854775807)|length }}", 0},
      {"recursion", "{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(0) }}", 3},
      {"recursion in blocks",
       "{% macro f(n) %}" + repeated("{% if 1 %}", 100) + "{{ f(n) }}" + repeated("{% endif %}", 100) +
           "{% endmacro %}{{ f(0) }}",
       3},
      {"callers",
       "{% macro f() %}{{ caller() }}{% endmacro %}{% macro g() %}{% call f() %}{{ g() }}{% endcall %}"
       "{% endmacro %}{{ g() }}",
       3},
      {"brackets", "{{ " + repeated("(", 100000), 4},
      {"minus signs", "{{ " + repeated("-", 100000), 4},
      {"filters", "{{ a" + repeated("|e", 1900) + " }}", 3},
      {"a long sum", "{{ 1" + repeated("+1", 1900) + " }}", 3},
      {"a long list", repeated("{{ [" + repeated("1,", 1900) + "] }}", 130), 0},
      {"many variables", repeated("{% set a=1 %}", 40000), 0},
      {"a template of 100 MB", std::string(100'000'000, ' '), 3}};
  for (const Attack& attack : attacks) {
    const int code = expect_cheap(attack.name, [&] { render(attack.source); });
    if (attack.code >= 0) {
      EXPECT_EQ(code, attack.code) << attack.name;
    }
    EXPECT_NE(code, kFellThrough) << attack.name;
  }
}

TEST(Attacks, TheErrorNamesTheTemplateAndTheLimit) {
  const auto message = [](const std::string& source) -> std::string {
    try {
      render(source);
    } catch (const arkit::Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(message(grown("'a'", "q.x+q.x", 60, "")).substr(0, 33), "chat template: it makes more than");
  EXPECT_NE(message(grown("['a']*99", "q.x+q.x", 60, "")).find("bytes of text and values, the limit of one rendering"),
            std::string::npos);
  EXPECT_NE(message(looped("[1]*1000", "x|sum")).find("steps, the limit of one rendering"), std::string::npos);
}

TEST(Attacks, ALongConversationMayTakeMore) {
  json::Array messages;
  for (int i = 0; i < 2000; ++i)
    messages.push_back(json::Object{{"role", "user"}, {"content", std::string(2000, 'a') + "</think>b"}});
  const json::Object context{{"messages", messages}};
  const std::string source =
      "{% set ns=namespace(n=0) %}{% for m in messages %}{% if '</think>' in m.content %}"
      "{{ m['role'] ~ ':' ~ m.content.split('</think>')[-1]|trim ~ (m|tojson) }}{% endif %}{% endfor %}";
  EXPECT_GT(arkit::text::ChatTemplate(source).render(context).size(), 4'000'000U);
}

json::Object component(const char* type, json::Object more = {}) {
  more["type"] = type;
  return more;
}
json::Object sequence(const char* key, const json::Object& step, int times) {
  return component("Sequence", {{key, json::Array(static_cast<size_t>(times), step)}});
}
json::Object replace(const std::string& from, const std::string& to) {
  return component("Replace", {{"pattern", json::Object{{"String", from}}}, {"content", to}});
}
json::Object split(const std::string& regex) {
  return component("Split", {{"pattern", json::Object{{"Regex", regex}}}, {"behavior", "Isolated"}, {"invert", false}});
}
json::Array added(int count, const std::function<std::string(int)>& content, bool normalized) {
  json::Array tokens;
  for (int i = 0; i < count; ++i)
    tokens.push_back(json::Object{{"id", 100 + i}, {"content", content(i)}, {"normalized", normalized}});
  return tokens;
}

// Loads a tokenizer.json with one part replaced, and takes `text` there and back.
void tokenize(const std::string& part, const json::Value& value, const std::string& text) {
  json::Object vocab;
  for (char c = 'a'; c <= 'z'; ++c) vocab[std::string(1, c)] = c - 'a';
  vocab["."] = 26;
  json::Object file{{"model", json::Object{{"type", "BPE"}, {"vocab", vocab}, {"merges", json::Array()}}}};
  if (part.starts_with("model."))
    file["model"].get_object()[part.substr(6)] = value;
  else
    file[part] = value;
  const arkit::Tokenizer tokenizer(json::dump(file), {});
  (void)tokenizer.decode(tokenizer.encode(text));
}

TEST(Attacks, TokenizersEndWithAnAnswerOrOneError) {
  const std::string text = repeated("a b.", 2000), letters(200000, 'a');
  const json::Object special{{"ids", json::Array(100, 0)}};
  const auto part = [](const char* id) { return json::Object{{"SpecialToken", json::Object{{"id", id}}}}; };
  json::Array frame(2000, part("a"));
  frame.push_back(json::Object{{"Sequence", json::Object{{"id", "A"}}}});
  struct Case {
    const char* name;
    const char* part;
    json::Value value;
    std::string text;
    int code;
  };
  const std::vector<Case> cases{
      {"twenty replacements", "normalizer", sequence("normalizers", replace("a", "aaaaaaaaaa"), 20), text, 3},
      {"two hundred replacements", "normalizer", sequence("normalizers", replace("a", "aaaaaaaaaa"), 200), text, 3},
      {"a million in front", "normalizer",
       sequence("normalizers", component("Prepend", {{"prepend", std::string(1000000, 'b')}}), 20), text, 3},
      {"many steps that do nothing", "normalizer", sequence("normalizers", component("NFC"), 200000), text, 3},
      {"decoders that grow", "decoder", sequence("decoders", replace(".", ".........."), 20), text, 3},
      {"many decoders", "decoder", sequence("decoders", component("Fuse"), 50000), text, 3},
      {"suffixes", "decoder", component("BPEDecoder", {{"suffix", "a"}}), letters, 0},
      {"bytes of bytes", "pre_tokenizer",
       sequence("pretokenizers", component("ByteLevel", {{"use_regex", false}, {"add_prefix_space", false}}), 30),
       "\u00e9", 3},
      {"many cuts", "pre_tokenizer", sequence("pretokenizers", split("a"), 64), letters, 3},
      {"specials", "post_processor",
       component("TemplateProcessing", {{"single", frame}, {"special_tokens", json::Object{{"a", special}}}}), text, 3},
      {"prefixes of each other", "added_tokens",
       added(
           3000, [](int i) { return std::string(static_cast<size_t>(i) + 1, 'a'); }, false),
       letters, 3},
      {"one long token", "added_tokens",
       added(
           1, [](int) { return std::string(900000, 'a'); }, false),
       letters, 3},
      {"long affix", "model.continuing_subword_prefix", json::Value(std::string(1000000, 'x')), text, 3},
      {"exponential", "pre_tokenizer", split("(a*)*b|c"), letters, 3},
      {"cubic", "pre_tokenizer", split("a+a+a+b|a"), letters, 3},
      {"reads to the end everywhere", "pre_tokenizer", split("a(?=.*b)|a"), letters, 3},
      {"possessive to the end", "pre_tokenizer", split("a(?=a*+b)|a"), letters, 3},
      {"back references", "pre_tokenizer", split("(a+)\\1b|a"), letters, 3}};
  for (const Case& attack : cases) {
    const int code = expect_cheap(attack.name, [&] { tokenize(attack.part, attack.value, attack.text); });
    EXPECT_EQ(code, attack.code) << attack.name;
  }
  // Each of three thousand added tokens through five steps.
  const int code = expect_cheap("added tokens x Replace", [] {
    const json::Object file{
        {"model", json::Object{{"type", "BPE"}, {"vocab", json::Object{{"a", 0}}}, {"merges", json::Array()}}},
        {"normalizer", sequence("normalizers", replace("a", "aaaaaaaaaaaaaaaaaaaa"), 5)},
        {"added_tokens", added(
                             3000, [](int i) { return str("a", i); }, true)}};
    (void)arkit::Tokenizer(json::dump(file), {}).encode("a");
  });
  EXPECT_EQ(code, 3);
}

TEST(Attacks, JsonTextsHaveALimitOfValues) {
  const auto parsed = [](const std::string& text) { (void)json::parse(text, "'config.json'"); };
  EXPECT_EQ(expect_cheap("brackets", [&] { parsed("[" + repeated("[],", 20'000'000) + "[]]"); }), 3);
  EXPECT_EQ(expect_cheap("numbers", [&] { parsed("[" + repeated("1,", 20'000'000) + "1]"); }), 3);
  EXPECT_EQ(expect_cheap("objects", [&] { parsed("[" + repeated("{\"\":0},", 5'000'000) + "1]"); }), 3);
  EXPECT_EQ(expect_cheap("one string", [&] { parsed("[\"" + repeated("[,{:", 10'000'000) + "\"]"); }), 0);
  try {
    parsed("[" + repeated("[],", 2'000'000) + "[]]");
    FAIL() << "accepted";
  } catch (const arkit::Error& error) {
    EXPECT_STREQ(error.what(), "'config.json': has more than 1500000 values, the limit for a text of 6000004 bytes");
  }
}

}  // namespace
