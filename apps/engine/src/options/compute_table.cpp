// Options of the commands that compute with a model.
#include <arkit/engine/serve_options.h>

namespace arkit {
namespace {

using enum OptionType;

constexpr std::string_view kRun = "Run";

constexpr OptionRow kSeqlen{
    .name = "seqlen", .type = integer, .group = kRun, .unit = "N", .help = "tokens a window", .aliases = "seq_len"};
constexpr OptionRow kBatchSize{.name = "batch_size",
                               .type = integer,
                               .group = kRun,
                               .unit = "N",
                               .help = "windows computed together",
                               .aliases = "bs"};
constexpr OptionRow kDtype{
    .name = "dtype", .group = kRun, .unit = "T", .help = "compute type", .choices = "auto float32 bfloat16"};
constexpr OptionRow kBackend{.name = "backend",
                             .group = kRun,
                             .unit = "B",
                             .help =
                                 "backend for packed layers, or the name of one of another program "
                                 "('arkit list backends')",
                             .absent = "the best for each layer"};
constexpr OptionRow kCompute{
    .name = "compute",
    .group = kRun,
    .unit = "C",
    .help =
        "how packed layers are multiplied: int8 = activations rounded to 8 bits, where a backend "
        "is faster so; float = never; auto = int8 where text is written, float where something "
        "is measured and no backend is named",
    .choices = "auto float int8"};
constexpr OptionRow kDevice{.name = "device",
                            .group = kRun,
                            .unit = "D",
                            .help = "run packed layers on this device only: cpu, cuda, cuda:1",
                            .absent = "the best one for each layer",
                            .aliases = "device_map devices"};
constexpr OptionRow kPreparedCache{.name = "prepared_cache",
                                   .type = path,
                                   .group = kRun,
                                   .unit = "DIR",
                                   .help =
                                       "keep layers as backends have made them ready in this folder, from which the "
                                       "next start maps them",
                                   .place = true};

constexpr OptionRow kHeadBits{
    .name = "head_bits",
    .type = integer,
    .group = kRun,
    .unit = "N",
    .help = "bits of the head while running, where it is stored in 16 and a backend runs whole blocks; 16 = as stored",
    .choices = "6 8 16"};
constexpr OptionRow kKvCacheDtype{
    .name = "kv_cache_dtype",
    .group = kRun,
    .unit = "T",
    .help = "type in which keys and values of earlier tokens are kept, where a backend runs whole blocks",
    .choices = "auto float32 bfloat16 int8"};

constexpr OptionOf<EvalOptions> kEval[] = {
    option_at<&EvalOptions::text_file>(
        {.name = "text", .type = path, .group = kRun, .unit = "FILE", .help = "text to measure", .excludes = "ids"}),
    option_at<&EvalOptions::ids_file>({.name = "ids",
                                       .type = path,
                                       .group = kRun,
                                       .unit = "FILE",
                                       .help = "safetensors file of token ids to measure",
                                       .excludes = "text"}),
    option_at<&EvalOptions::against>({.name = "against",
                                      .group = kRun,
                                      .unit = "MODEL",
                                      .help = "reference model: adds KL divergence and top-1 agreement"}),
    option_at<&EvalOptions::seqlen>(kSeqlen),
    option_at<&EvalOptions::max_windows>({.name = "max_windows",
                                          .type = integer,
                                          .group = kRun,
                                          .unit = "N",
                                          .help = "measure only the first N windows"}),
    option_at<&EvalOptions::batch_size>(kBatchSize),
    option_at<&EvalOptions::dtype>(kDtype),
    option_at<&EvalOptions::backend>(kBackend),
    option_at<&EvalOptions::compute>(kCompute),
    option_at<&EvalOptions::head_bits>(kHeadBits),
    option_at<&EvalOptions::kv_cache_dtype>(
        {.name = "kv_cache_dtype",
         .group = kRun,
         .unit = "T",
         .help = "run blocks whole, as `generate` does, with keys and values of earlier tokens in this type; needs a "
                 "backend that does so",
         .absent = "layer by layer, without a cache",
         .choices = "auto float32 bfloat16 int8"}),
    option_at<&EvalOptions::device>(kDevice),
    option_at<&EvalOptions::prepared_cache>(kPreparedCache),
};

constexpr OptionOf<DivergenceOptions> kDivergence[] = {
    option_at<&DivergenceOptions::reference>({.name = "reference",
                                              .group = kRun,
                                              .unit = "MODEL",
                                              .help = "the model that MODEL should behave like",
                                              .aliases = "against"}),
    option_at<&DivergenceOptions::text_file>(
        {.name = "text", .type = path, .group = kRun, .unit = "FILE", .help = "text to compare on", .excludes = "ids"}),
    option_at<&DivergenceOptions::ids_file>({.name = "ids",
                                             .type = path,
                                             .group = kRun,
                                             .unit = "FILE",
                                             .help = "safetensors file of token ids to compare on",
                                             .excludes = "text"}),
    option_at<&DivergenceOptions::seqlen>(kSeqlen),
    option_at<&DivergenceOptions::max_windows>({.name = "max_windows",
                                                .type = integer,
                                                .group = kRun,
                                                .unit = "N",
                                                .help = "compare only on the first N windows"}),
    option_at<&DivergenceOptions::along_generation>(
        {.name = "along_generation",
         .type = flag,
         .group = kRun,
         .help = "compare on what the reference writes (greedily) behind each window or prompt, not on the text"}),
    option_at<&DivergenceOptions::prompts>({.name = "prompt",
                                            .type = texts,
                                            .group = kRun,
                                            .unit = "TEXT",
                                            .help = "with --along_generation: text to write behind; may be repeated"}),
    option_at<&DivergenceOptions::max_new_tokens>({.name = "max_new_tokens",
                                                   .type = integer,
                                                   .group = kRun,
                                                   .unit = "N",
                                                   .help = "with --along_generation: tokens to write behind each"}),
    option_at<&DivergenceOptions::batch_size>(kBatchSize),
    option_at<&DivergenceOptions::dtype>(kDtype),
    option_at<&DivergenceOptions::backend>(kBackend),
    option_at<&DivergenceOptions::compute>(kCompute),
    option_at<&DivergenceOptions::device>(kDevice),
    option_at<&DivergenceOptions::prepared_cache>(kPreparedCache),
};

constexpr OptionOf<LastWordOptions> kLastWord[] = {
    option_at<&LastWordOptions::file>({.name = "file",
                                       .type = path,
                                       .group = kRun,
                                       .unit = "FILE",
                                       .help = "JSON lines with a \"text\" each whose last word is asked for"}),
    option_at<&LastWordOptions::limit>(
        {.name = "limit", .type = integer, .group = kRun, .unit = "N", .help = "only the first N texts"}),
    option_at<&LastWordOptions::batch_size>({.name = "batch_size",
                                             .type = integer,
                                             .group = kRun,
                                             .unit = "N",
                                             .help = "texts computed together",
                                             .aliases = "bs"}),
    option_at<&LastWordOptions::dtype>(kDtype),
    option_at<&LastWordOptions::backend>(kBackend),
    option_at<&LastWordOptions::compute>(kCompute),
    option_at<&LastWordOptions::device>(kDevice),
    option_at<&LastWordOptions::prepared_cache>(kPreparedCache),
};

// Of commands that write text.
constexpr std::string_view kSampling = "Sampling";

constexpr OptionRow kMaxNewTokens{
    .name = "max_new_tokens", .type = integer, .group = kRun, .unit = "N", .help = "tokens to write at most"};
constexpr OptionRow kStop{.name = "stop",
                          .type = texts,
                          .group = kRun,
                          .unit = "TEXT",
                          .help = "end where this text would be written, and leave it out; may be repeated"};
constexpr OptionRow kJsonSchema{.name = "json_schema",
                                .type = path,
                                .group = kRun,
                                .unit = "FILE",
                                .help = "write JSON that this schema accepts (docs/GRAMMARS.md)",
                                .excludes = "grammar"};
constexpr OptionRow kGrammar{.name = "grammar",
                             .type = path,
                             .group = kRun,
                             .unit = "FILE",
                             .help = "write a text of this grammar (docs/GRAMMARS.md)",
                             .excludes = "json_schema"};
constexpr OptionRow kTemperature{.name = "temperature",
                                 .type = number,
                                 .group = kSampling,
                                 .unit = "X",
                                 .help = "sampling temperature; 0 = greedy",
                                 .absent = "0"};
constexpr OptionRow kTopK{.name = "top_k",
                          .type = integer,
                          .group = kSampling,
                          .unit = "N",
                          .help = "sample from the N likeliest tokens; 0 = off",
                          .absent = "0"};
constexpr OptionRow kTopP{.name = "top_p",
                          .type = number,
                          .group = kSampling,
                          .unit = "X",
                          .help = "sample from the smallest set of tokens with this probability",
                          .absent = "1"};
constexpr OptionRow kMinP{.name = "min_p",
                          .type = number,
                          .group = kSampling,
                          .unit = "X",
                          .help = "sample from tokens with at least this share of the likeliest one's probability",
                          .absent = "0"};
constexpr OptionRow kRepetition{
    .name = "repetition_penalty",
    .type = number,
    .group = kSampling,
    .unit = "X",
    .help = "divide the logits of tokens of prompt and output by this, and multiply negative ones; 1 = off",
    .absent = "1"};
constexpr OptionRow kFrequency{.name = "frequency_penalty",
                               .type = number,
                               .group = kSampling,
                               .unit = "X",
                               .help = "take this from a token's logit for each time the output has it",
                               .absent = "0"};
constexpr OptionRow kPresence{.name = "presence_penalty",
                              .type = number,
                              .group = kSampling,
                              .unit = "X",
                              .help = "take this from the logit of every token that the output has",
                              .absent = "0"};
constexpr OptionRow kLogitBias{.name = "logit_bias",
                               .type = list,
                               .group = kSampling,
                               .unit = "ID:X",
                               .help = "add X, from -100 to 100, to the logit of the token with this id"};
constexpr OptionRow kSeed{.name = "seed", .type = integer, .group = kSampling, .unit = "N", .help = "seed of sampling"};
constexpr OptionRow kModelDefaults{
    .name = "model_defaults",
    .type = flag,
    .group = kSampling,
    .help =
        "take what is not given from the model's generation_config.json: temperature, top_k, top_p, min_p and "
        "repetition_penalty",
    .negation = "no_model_defaults",
    .negation_help = "do not look at sampling in the model's generation_config.json"};

template <auto kField, typename Options>
constexpr OptionOf<Options> sampling_at(const OptionRow& row) {
  return option_at<&Options::sampling, kField>(row);
}

constexpr OptionOf<GenerateOptions> kGenerate[] = {
    option_at<&GenerateOptions::prompts>({.name = "prompt",
                                          .type = texts,
                                          .group = kRun,
                                          .unit = "TEXT",
                                          .help = "text to continue; may be repeated",
                                          .may_be_empty = true}),
    option_at<&GenerateOptions::max_new_tokens>(kMaxNewTokens),
    option_at<&GenerateOptions::stop>(kStop),
    option_at<&GenerateOptions::json_schema>(kJsonSchema),
    option_at<&GenerateOptions::grammar>(kGrammar),
    option_at<&GenerateOptions::chat>(
        {.name = "chat", .type = flag, .group = kRun, .help = "wrap each prompt in the model's chat template"}),
    sampling_at<&SamplingWishes::temperature, GenerateOptions>(kTemperature),
    sampling_at<&SamplingWishes::top_k, GenerateOptions>(kTopK),
    sampling_at<&SamplingWishes::top_p, GenerateOptions>(kTopP),
    sampling_at<&SamplingWishes::min_p, GenerateOptions>(kMinP),
    sampling_at<&SamplingWishes::repetition_penalty, GenerateOptions>(kRepetition),
    sampling_at<&SamplingWishes::frequency_penalty, GenerateOptions>(kFrequency),
    sampling_at<&SamplingWishes::presence_penalty, GenerateOptions>(kPresence),
    sampling_at<&SamplingWishes::logit_bias, GenerateOptions>(kLogitBias),
    sampling_at<&SamplingWishes::seed, GenerateOptions>(kSeed),
    option_at<&GenerateOptions::model_defaults>(kModelDefaults),
    option_at<&GenerateOptions::dtype>(kDtype),
    option_at<&GenerateOptions::backend>(kBackend),
    option_at<&GenerateOptions::compute>(kCompute),
    option_at<&GenerateOptions::head_bits>(kHeadBits),
    option_at<&GenerateOptions::kv_cache_dtype>(kKvCacheDtype),
    option_at<&GenerateOptions::device>(kDevice),
    option_at<&GenerateOptions::prepared_cache>(kPreparedCache),
};

constexpr OptionOf<ChatOptions> kChat[] = {
    option_at<&ChatOptions::system>({.name = "system",
                                     .group = kRun,
                                     .unit = "TEXT",
                                     .help = "system message of the conversation",
                                     .absent = "none, or the chat template's"}),
    option_at<&ChatOptions::max_new_tokens>(
        {.name = "max_new_tokens", .type = integer, .group = kRun, .unit = "N", .help = "tokens of an answer at most"}),
    option_at<&ChatOptions::context_tokens>(
        {.name = "context_tokens",
         .type = integer,
         .group = kRun,
         .unit = "N",
         .help = "tokens of the whole conversation at most; fewer where the model's positions end"}),
    option_at<&ChatOptions::stop>(kStop),
    option_at<&ChatOptions::json_schema>(kJsonSchema),
    option_at<&ChatOptions::grammar>(kGrammar),
    sampling_at<&SamplingWishes::temperature, ChatOptions>(kTemperature),
    sampling_at<&SamplingWishes::top_k, ChatOptions>(kTopK),
    sampling_at<&SamplingWishes::top_p, ChatOptions>(kTopP),
    sampling_at<&SamplingWishes::min_p, ChatOptions>(kMinP),
    sampling_at<&SamplingWishes::repetition_penalty, ChatOptions>(kRepetition),
    sampling_at<&SamplingWishes::frequency_penalty, ChatOptions>(kFrequency),
    sampling_at<&SamplingWishes::presence_penalty, ChatOptions>(kPresence),
    sampling_at<&SamplingWishes::logit_bias, ChatOptions>(kLogitBias),
    sampling_at<&SamplingWishes::seed, ChatOptions>(kSeed),
    option_at<&ChatOptions::model_defaults>(kModelDefaults),
    option_at<&ChatOptions::dtype>(kDtype),
    option_at<&ChatOptions::backend>(kBackend),
    option_at<&ChatOptions::compute>(kCompute),
    option_at<&ChatOptions::head_bits>(kHeadBits),
    option_at<&ChatOptions::kv_cache_dtype>(kKvCacheDtype),
    option_at<&ChatOptions::device>(kDevice),
    option_at<&ChatOptions::prepared_cache>(kPreparedCache),
};

// Of a server.
constexpr std::string_view kNetwork = "Network", kLimits = "Limits";

constexpr OptionOf<ServeOptions> kServe[] = {
    option_at<&ServeOptions::host>({.name = "host",
                                    .group = kNetwork,
                                    .unit = "H",
                                    .help = "address or name of this machine to listen on; 0.0.0.0 = every one, for "
                                            "whoever reaches it"}),
    option_at<&ServeOptions::port>({.name = "port",
                                    .type = integer,
                                    .group = kNetwork,
                                    .unit = "P",
                                    .help = "port; 0 = a free one, which is printed"}),
    option_at<&ServeOptions::api_key>({.name = "api_key",
                                       .group = kNetwork,
                                       .unit = "K",
                                       .help =
                                           "answer only requests that bring this key; other users of the machine may "
                                           "see it here, and not in the variable ARKIT_API_KEY",
                                       .absent = "ARKIT_API_KEY, else none is asked for"}),
    option_at<&ServeOptions::served_name>({.name = "served_name",
                                           .group = kNetwork,
                                           .unit = "NAME",
                                           .help = "what requests call the model",
                                           .absent = "the name of its folder"}),
    option_at<&ServeOptions::timeout>({.name = "timeout",
                                       .type = number,
                                       .group = kNetwork,
                                       .unit = "S",
                                       .help = "seconds for a client to send a request, and to take each 64 KiB"}),
    option_at<&ServeOptions::answer_timeout>({.name = "answer_timeout",
                                              .type = number,
                                              .group = kNetwork,
                                              .unit = "S",
                                              .help = "seconds for an answer to be there whole"}),
    option_at<&ServeOptions::stop_timeout>(
        {.name = "stop_timeout",
         .type = number,
         .group = kNetwork,
         .unit = "S",
         .help = "seconds for answers to end after Ctrl-C or SIGTERM; then they are cut"}),
    option_at<&ServeOptions::context_tokens>({.name = "context_tokens",
                                              .type = integer,
                                              .group = kLimits,
                                              .unit = "N",
                                              .help = "tokens of a text at most, its answer included",
                                              .absent = "the model's positions, or what the cache holds"}),
    option_at<&ServeOptions::max_new_tokens>({.name = "max_new_tokens",
                                              .type = integer,
                                              .group = kLimits,
                                              .unit = "N",
                                              .help = "tokens of an answer at most, whatever a request asks for",
                                              .absent = "what has room"}),
    option_at<&ServeOptions::cache_tokens>({.name = "cache_tokens",
                                            .type = integer,
                                            .group = kLimits,
                                            .unit = "N",
                                            .help = "tokens of all texts together whose keys and values are kept"}),
    option_at<&ServeOptions::page_size>({.name = "page_size",
                                         .type = integer,
                                         .group = kLimits,
                                         .unit = "N",
                                         .help = "tokens of a page, of which a text takes one after the other"}),
    option_at<&ServeOptions::max_running>({.name = "max_running",
                                           .type = integer,
                                           .group = kLimits,
                                           .unit = "N",
                                           .help = "texts that are written side by side"}),
    option_at<&ServeOptions::step_tokens>(
        {.name = "step_tokens",
         .type = integer,
         .group = kLimits,
         .unit = "N",
         .help = "tokens of prompts read in one step, between which the others go on"}),
    option_at<&ServeOptions::max_waiting>({.name = "max_waiting",
                                           .type = integer,
                                           .group = kLimits,
                                           .unit = "N",
                                           .help = "texts that wait for their turn; more are refused with status 429"}),
    option_at<&ServeOptions::max_connections>(
        {.name = "max_connections", .type = integer, .group = kLimits, .unit = "N", .help = "connections at once"}),
    option_at<&ServeOptions::max_body_bytes>({.name = "max_body_size",
                                              .type = bytes,
                                              .group = kLimits,
                                              .unit = "SIZE",
                                              .help = "size of a request, as 16MiB"}),
    option_at<&ServeOptions::model_defaults>(kModelDefaults),
    option_at<&ServeOptions::dtype>(kDtype),
    option_at<&ServeOptions::backend>(kBackend),
    option_at<&ServeOptions::compute>(kCompute),
    option_at<&ServeOptions::kv_cache_dtype>(kKvCacheDtype),
    option_at<&ServeOptions::head_bits>(kHeadBits),
    option_at<&ServeOptions::device>(kDevice),
    option_at<&ServeOptions::prepared_cache>(kPreparedCache),
};

constexpr OptionOf<ForwardOptions> kForward[] = {
    option_at<&ForwardOptions::input_ids>(
        {.name = "input_ids",
         .type = path,
         .group = kRun,
         .unit = "FILE",
         .help = "safetensors file with input_ids [B,S] (attention_mask, position_ids)"}),
    option_at<&ForwardOptions::output>({.name = "output",
                                        .type = path,
                                        .group = kRun,
                                        .unit = "FILE",
                                        .help = "safetensors file to write the logits to",
                                        .aliases = "o"}),
    option_at<&ForwardOptions::dtype>(kDtype),
    option_at<&ForwardOptions::backend>(kBackend),
    option_at<&ForwardOptions::compute>(kCompute),
    option_at<&ForwardOptions::device>(kDevice),
    option_at<&ForwardOptions::prepared_cache>(kPreparedCache),
};

constexpr OptionOf<DiffOptions> kDiff[] = {
    option_at<&DiffOptions::text_file>({.name = "text",
                                        .type = path,
                                        .group = kRun,
                                        .unit = "FILE",
                                        .help = "also compare logits on this text",
                                        .excludes = "ids"}),
    option_at<&DiffOptions::ids_file>({.name = "ids",
                                       .type = path,
                                       .group = kRun,
                                       .unit = "FILE",
                                       .help = "also compare logits on the token ids of this safetensors file",
                                       .excludes = "text"}),
    option_at<&DiffOptions::seqlen>({.name = "seqlen",
                                     .type = integer,
                                     .group = kRun,
                                     .unit = "N",
                                     .help = "tokens a window of the text",
                                     .aliases = "seq_len"}),
    option_at<&DiffOptions::max_windows>({.name = "max_windows",
                                          .type = integer,
                                          .group = kRun,
                                          .unit = "N",
                                          .help = "compare only the first N windows"}),
    option_at<&DiffOptions::batch_size>(kBatchSize),
    option_at<&DiffOptions::dtype>(kDtype),
    option_at<&DiffOptions::backend>(kBackend),
    option_at<&DiffOptions::compute>(kCompute),
    option_at<&DiffOptions::device>(kDevice),
    option_at<&DiffOptions::prepared_cache>(kPreparedCache),
};

constexpr OptionOf<ResidentOptions> kResident[] = {
    option_at<&ResidentOptions::resident>(
        {.name = "resident",
         .group = kRun,
         .unit = "R",
         .help = "blocks in memory at once; auto keeps all where they are needed again and fit",
         .choices = "auto all one"}),
};

}  // namespace

template <>
std::span<const OptionOf<EvalOptions>> option_table() {
  return kEval;
}
template <>
std::span<const OptionOf<DivergenceOptions>> option_table() {
  return kDivergence;
}
template <>
std::span<const OptionOf<LastWordOptions>> option_table() {
  return kLastWord;
}
template <>
std::span<const OptionOf<GenerateOptions>> option_table() {
  return kGenerate;
}
template <>
std::span<const OptionOf<ChatOptions>> option_table() {
  return kChat;
}
template <>
std::span<const OptionOf<ServeOptions>> option_table() {
  return kServe;
}
template <>
std::span<const OptionOf<ForwardOptions>> option_table() {
  return kForward;
}
template <>
std::span<const OptionOf<DiffOptions>> option_table() {
  return kDiff;
}
template <>
std::span<const OptionOf<ResidentOptions>> option_table() {
  return kResident;
}

}  // namespace arkit
