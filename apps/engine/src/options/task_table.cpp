// Options of evaluation with tasks, of `arkit eval lm` and beside quantization. They are about a call, not about what is
// made: no file and no record holds them.
#include <arkit/engine/task_eval.h>

namespace arkit {
namespace {

using enum OptionType;

constexpr std::string_view kTasks = "Evaluation";

constexpr OptionOf<TaskOptions> kTaskOptions[] = {
    option_at<&TaskOptions::tasks>({.name = "tasks",
                                    .type = list,
                                    .group = kTasks,
                                    .unit = "LIST",
                                    .help = "measure with these tasks of lm-eval (docs/EVALUATION.md)",
                                    .aliases = "task",
                                    .several_words = true,
                                    .one_call = true}),
    option_at<&TaskOptions::eval_backend>({.name = "eval_backend",
                                           .group = kTasks,
                                           .unit = "B",
                                           .help = "who computes for lm-eval: arkit's own server, transformers or vLLM",
                                           .choices = "arkit hf vllm",
                                           .one_call = true}),
    option_at<&TaskOptions::eval_bs>({.name = "eval_bs",
                                      .type = integer,
                                      .group = kTasks,
                                      .unit = "N",
                                      .help = "texts of tasks computed together",
                                      .absent = "8; what lm-eval finds with hf and vllm",
                                      .one_call = true}),
    option_at<&TaskOptions::eval_task_by_task>(
        {.name = "eval_task_by_task",
         .type = flag,
         .group = kTasks,
         .help = "run each task by itself: one that fails is reported, the others run",
         .one_call = true}),
    option_at<&TaskOptions::eval_model_dtype>({.name = "eval_model_dtype",
                                               .group = kTasks,
                                               .unit = "T",
                                               .help = "compute type while measuring",
                                               .absent = "float32; auto with hf and vllm",
                                               .choices = "auto float32 fp32 bfloat16 bf16 float16 fp16",
                                               .synonyms = "fp32=float32 bf16=bfloat16 fp16=float16",
                                               .one_call = true}),
    option_at<&TaskOptions::vllm_args>({.name = "vllm_args",
                                        .group = kTasks,
                                        .unit = "A=X,...",
                                        .help = "arguments of vLLM, as in tensor_parallel_size=2",
                                        .one_call = true}),
    option_at<&TaskOptions::limit>({.name = "limit",
                                    .type = number,
                                    .group = kTasks,
                                    .unit = "N",
                                    .help = "only the first N examples of a task; below 1: this share of them",
                                    .one_call = true}),
    option_at<&TaskOptions::num_fewshot>({.name = "num_fewshot",
                                          .type = integer,
                                          .group = kTasks,
                                          .unit = "N",
                                          .help = "solved examples shown before each question",
                                          .absent = "as each task says",
                                          .one_call = true}),
    option_at<&TaskOptions::eval_gen_kwargs>(
        {.name = "eval_gen_kwargs",
         .group = kTasks,
         .unit = "A=X,...",
         .help = "how text is written in tasks that ask for it, as in temperature=0",
         .absent = "as each task says",
         .one_call = true}),
    option_at<&TaskOptions::fewshot_as_multiturn>({.name = "fewshot_as_multiturn",
                                                   .type = flag,
                                                   .group = kTasks,
                                                   .help = "show solved examples as turns of a conversation",
                                                   .one_call = true}),
    option_at<&TaskOptions::add_bos_token>({.name = "add_bos_token",
                                            .type = flag,
                                            .group = kTasks,
                                            .help = "begin texts with the special tokens the tokenizer puts there",
                                            .absent = "by the name of the model",
                                            .negation = "no_add_bos_token",
                                            .negation_help = "leave the special tokens before texts out",
                                            .one_call = true}),
    option_at<&TaskOptions::include_path>({.name = "include_path",
                                           .type = path,
                                           .group = kTasks,
                                           .unit = "DIR",
                                           .help = "a folder of task files beside those of lm-eval",
                                           .one_call = true}),
    option_at<&TaskOptions::python>(
        {.name = "python",
         .type = path,
         .group = kTasks,
         .unit = "FILE",
         .help = "the Python that has lm-eval",
         .absent = "the first one that has it: of $VIRTUAL_ENV, of lm_eval in PATH, python3",
         .one_call = true}),
};

constexpr std::string_view kRun = "Run";

constexpr OptionOf<TaskModelOptions> kTaskModel[] = {
    option_at<&TaskModelOptions::backend>(
        {.name = "backend",
         .group = kRun,
         .unit = "B",
         .help = "backend for packed layers of arkit's server ('arkit list backends')",
         .absent = "the best of those that compute exactly"}),
    option_at<&TaskModelOptions::device>({.name = "device",
                                          .group = kRun,
                                          .unit = "D",
                                          .help = "run on this device only: cpu, cuda:1; with hf and vllm also 0,1",
                                          .absent = "the best one",
                                          .aliases = "device_map devices"}),
    option_at<&TaskModelOptions::prepared_cache>(
        {.name = "prepared_cache",
         .type = path,
         .group = kRun,
         .unit = "DIR",
         .help = "keep layers as backends have made them ready in this folder, from which the next start maps them",
         .place = true}),
};

}  // namespace

template <>
std::span<const OptionOf<TaskOptions>> option_table() {
  return kTaskOptions;
}
template <>
std::span<const OptionOf<TaskModelOptions>> option_table() {
  return kTaskModel;
}

}  // namespace arkit
