// Families as data: what a file says becomes a layout, and what it must not say is refused with file and key.
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include <gtest/gtest.h>

#include <arkit/error.h>
#include <arkit/family_files.h>
#include <arkit/model_adapter.h>
#include <arkit/model_layout.h>
#include <arkit/model_source.h>
#include <arkit/sdk/family.h>
#include <arkit/sdk/family_draft.h>
#include <arkit/sdk/forwarding_source.h>
#include <arkit/sdk/layout.h>
#include <arkit/str.h>

#include "models/patched_source.h"
#include "models/plugins.h"

namespace arkit {
namespace {

using tests::PatchedSource;

const std::filesystem::path kModels = ARKIT_TEST_DATA "/models", kDeclared = ARKIT_TEST_DATA "/families";

std::string text_of(const LayerPlan& l) {
  return str(l.name, " ", l.out_features, "x", l.in_features, l.has_bias ? " bias" : "", " block ", l.block, " role ",
             static_cast<int>(l.role), " ", l.fused_group, " ", l.expert, l.experts, "\n");
}

// Everything that a forward pass, a plan or a report reads.
std::string text_of(const ModelLayout& layout) {
  std::string text;
  for (const BlockList& list : layout.lists)
    text += str(list.name, " ", list.first, " ", list.count, " ", list.hidden_size, " ", list.text, "\n");
  for (const BlockLayout& b : layout.blocks) {
    const auto& a = std::get<Attention>(b.mixer);
    const auto& d = std::get<Dense>(b.feed_forward);
    const Norms& n = b.norms;
    text += str(b.name, " ", b.residual_scale, "\n", a.module, " ", a.heads, " ", a.kv_heads, " ", a.key_dim, " ",
                a.value_dim, " ", a.scale, " ", a.softcap, " ", a.window, " ", a.rope, " ", a.rows_by_key_head, " ",
                b.parallel, n.bias, "\n", d.width, " ", d.activation, " ", d.gated, "\n", n.kind, " ", n.epsilon, " ",
                n.offset, " ", n.wide, " ", n.mixer_in, "|", n.mixer_out, "|", n.feed_forward_in, "|",
                n.feed_forward_out, "|", n.query, "|", n.key, " ", n.whole_heads, "\n");
    for (const LayerPlan& layer : b.layers) text += text_of(layer);
  }
  for (const LayerPlan& layer : layout.outside) text += text_of(layer);
  for (const Rope& r : layout.ropes)
    text += str(r.type, " ", r.theta, " ", r.head_dim, " ", r.dim, " ", r.neighbours, "\n");
  const TokenInfo& t = layout.tokens;
  return text + str(t.vocab_size, " ", t.max_positions, " ", t.tied, " ", t.embedding, " ", t.final_norm, " ",
                    t.embedding_scale, " ", t.logit_divisor, " ", t.logit_softcap, "\n");
}

std::vector<std::filesystem::path> all_models() {
  std::vector<std::filesystem::path> folders;
  for (const char* name : {"llama", "llama31", "llama_bf16_sharded", "mistral", "qwen2", "qwen2_sw", "qwen3"})
    folders.push_back(kModels / name);
  for (const char* name : {"olmo2", "granite", "phi3"}) folders.push_back(kDeclared / name);
  return folders;
}

std::vector<std::filesystem::path> all_declared() {
  std::vector<std::filesystem::path> folders;
  for (const auto& entry : std::filesystem::directory_iterator(kDeclared))
    if (entry.is_directory()) folders.push_back(entry.path());
  return folders;
}

TEST(Layout, IsWhatTheOpenedModelSays) {
  std::vector<std::filesystem::path> folders = all_models();
  for (const std::filesystem::path& folder : all_declared()) folders.push_back(folder);
  for (const std::filesystem::path& folder : folders) {
    const auto source = open_hf_folder(folder);
    const ModelAdapter& adapter = tests::adapter_of(*source);
    const ModelLayout layout = adapter.layout(*source);
    const auto model = adapter.open(*source, at::kFloat);
    std::string planned, stated;
    for (const LayerPlan& layer : model->linears()) planned += text_of(layer);
    for (const LayerPlan& layer : layout.linears()) stated += text_of(layer);
    EXPECT_EQ(planned, stated) << folder;
    EXPECT_EQ(static_cast<int64_t>(layout.blocks.size()), model->num_blocks());
    EXPECT_EQ(layout.lists.at(0).name, model->block_lists().at(0));
    EXPECT_EQ(layout.lists.at(0).hidden_size, model->hidden_size());
    EXPECT_EQ(layout.tokens.tied, model->tied_embeddings());
    for (size_t i = 0; i < layout.blocks.size(); ++i)
      EXPECT_EQ(std::get<Attention>(layout.blocks[i].mixer).module, model->attentions().at(i).name);
  }
}

// Each file of share/families is held to transformers by a model of tests/data/families.
TEST(Families, EveryShippedFileHasAGoldenModel) {
  std::set<std::string> types, tested;
  for (const auto& entry : std::filesystem::directory_iterator(tests::kFamilies)) {
    if (entry.path().extension() != ".toml") continue;
    std::ifstream in(entry.path());
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    types.insert(sdk::parse_family(text, entry.path().string()).name);
  }
  for (const std::filesystem::path& folder : all_declared()) {
    const auto source = open_hf_folder(folder);
    const auto& files = dynamic_cast<const FamilyFiles&>(tests::declared());
    const std::optional<FamilyFile> family = files.family_of(source->config());
    ASSERT_TRUE(family) << folder;
    EXPECT_EQ(family->path.stem().string(), family->name);
    tested.insert(family->name);
  }
  EXPECT_EQ(types, tested);
}

TEST(Layout, OfFamiliesSaysWhatTheirFilesSay) {
  const auto layout_of = [](const char* name, const char* patch = "{}") {
    const PatchedSource source(kDeclared / name, patch);
    return tests::declared().layout(source);
  };
  const auto attention = [](const ModelLayout& layout, size_t block) {
    return std::get<Attention>(layout.blocks.at(block).mixer);
  };
  const ModelLayout gemma2 = layout_of("gemma2");
  EXPECT_EQ(attention(gemma2, 0).softcap, 3.0);
  EXPECT_EQ(attention(gemma2, 0).window, 6);
  EXPECT_EQ(attention(gemma2, 1).window, 0);
  EXPECT_EQ(gemma2.tokens.logit_softcap, 2.0);
  EXPECT_EQ(attention(layout_of("gemma2", R"({"attn_logit_softcapping": "<absent>"})"), 0).softcap, 50.0);
  EXPECT_EQ(attention(layout_of("gemma2", R"({"attn_logit_softcapping": null})"), 0).softcap, 0.0);
  EXPECT_EQ(attention(layout_of("gemma2", R"({"layer_types": "<absent>"})"), 1).window, 0);
  // Configurations of transformers 4 and 5 mean the same two ropes.
  const ModelLayout gemma3 = layout_of("gemma3_text");
  const ModelLayout old = layout_of("gemma3_text", R"({"rope_parameters": "<absent>", "rope_theta": 1000000.0,
      "rope_local_base_freq": 10000.0, "rope_scaling": {"rope_type": "linear", "factor": 8.0}})");
  for (const ModelLayout* layout : {&gemma3, &old}) {
    ASSERT_EQ(layout->ropes.size(), 2U);
    EXPECT_EQ(layout->ropes[0].type, "linear");
    EXPECT_EQ(layout->ropes[0].theta, 1e6);
    EXPECT_EQ(layout->ropes[1].type, "default");
    EXPECT_EQ(layout->ropes[1].theta, 1e4);
    EXPECT_EQ(attention(*layout, 0).rope, 1);
    EXPECT_EQ(attention(*layout, 2).rope, 0);
  }
  const ModelLayout cohere2 = layout_of("cohere2");
  EXPECT_EQ(attention(cohere2, 0).rope, 0);
  EXPECT_EQ(attention(cohere2, 1).rope, -1);
  EXPECT_TRUE(cohere2.ropes[0].neighbours);
  EXPECT_TRUE(cohere2.blocks[0].parallel);
  EXPECT_EQ(cohere2.blocks[0].norms.feed_forward_in, "");
  EXPECT_EQ(cohere2.tokens.logit_divisor, 4.0);
  EXPECT_EQ(attention(layout_of("smollm3", R"({"no_rope_layers": "<absent>", "no_rope_layer_interval": 1})"), 0).rope,
            -1);
  const ModelLayout sequential = layout_of("gpt_neox_sequential");
  EXPECT_FALSE(sequential.blocks[0].parallel);
  EXPECT_EQ(sequential.blocks[0].norms.kind, "layer");
  EXPECT_TRUE(sequential.blocks[0].norms.bias);
  EXPECT_TRUE(layout_of("phi").outside[0].has_bias);
  EXPECT_EQ(attention(layout_of("falcon_7b"), 0).kv_heads, 1);
  EXPECT_TRUE(attention(layout_of("falcon"), 0).rows_by_key_head);
}

TEST(Layout, SwitchesThatNoFileSpeaksOfAreRefused) {
  struct Bad {
    const char *model, *patch, *message;
  };
  const Bad bad[] = {
      {"falcon", R"({"alibi": true})", "'alibi' is true, which family 'falcon'"},
      {"gemma", R"({"use_bidirectional_attention": "all"})", "'use_bidirectional_attention' is \"all\""},
      {"smollm3", R"({"no_rope_layers": [1]})", "'no_rope_layers' has 1 entries for 2 blocks"},
      {"smollm3", R"({"no_rope_layers": [1, 2]})", "'no_rope_layers': entry 1 is 2; expected 0 or 1"},
      {"smollm3", R"({"no_rope_layers": 3})", "'no_rope_layers'"},
      {"gemma3_text", R"({"rope_parameters": {"full_attention": {"rope_type": "x"}, "sliding_attention": {}}})", "'x'"},
      {"gemma2", R"({"attn_logit_softcapping": -1})", "'attn_logit_softcapping' is -1; expected a number from 0"},
      {"falcon_7b", R"({"parallel_attn": false})", "of family declared"},
  };
  for (const Bad& b : bad) {
    const PatchedSource source(kDeclared / b.model, b.patch);
    std::string message = tests::declared().matches(source.config()).why_not;
    if (message.empty()) try {
        (void)tests::declared().layout(source);
      } catch (const Error& error) {
        message = error.what();
      }
    EXPECT_NE(message.find(b.message), std::string::npos) << b.patch << " gave: " << message;
  }
}

std::string refusal(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_TRUE(error.code() == ErrorCode::input || error.code() == ErrorCode::unsupported) << error.what();
    return error.what();
  }
  return "nothing was refused";
}

// A checkpoint with one tensor more.
class WithTensor final : public sdk::ForwardingSource, WeightSource {
 public:
  WithTensor(const std::filesystem::path& folder, std::string name, std::vector<int64_t> shape = {64},
             at::ScalarType dtype = at::kFloat)
      : ForwardingSource(open_hf_folder(folder)) {
    std::vector<TensorInfo> all(inner().weights().tensors().begin(), inner().weights().tensors().end());
    all.push_back({.name = std::move(name),
                   .dtype = dtype,
                   .stored_type = "F32",
                   .shape = std::move(shape),
                   .file = "more.safetensors"});
    set_tensors(std::move(all));
  }
  const WeightSource& weights() const override { return *this; }
  at::Tensor load(std::string_view name) const override { return inner().weights().load(name); }
  void release(std::string_view name) const noexcept override { inner().weights().release(name); }
};

// What a block stores and no slot reads would be left out of what is computed.
TEST(FamilyFile, TensorsThatNoSlotReadsAreNamed) {
  const auto family = [](const std::string& more) {
    return sdk::parse_family("name = \"x\"\nmodel_types = [\"llama\"]\n" + more, "'x.toml'");
  };
  const auto checked = [&](const ModelSource& source, const std::string& text) {
    const ModelLayout layout = sdk::family_layout(family(text), source);
    return refusal([&] { sdk::check_tensors(layout, source); });
  };
  const auto source = open_hf_folder(kModels / "llama");
  EXPECT_EQ(checked(*source, ""), "nothing was refused");
  const std::string blind = "[norms]\nbefore_attention = \"\"\n";
  const std::string message = checked(*source, blind);
  EXPECT_NE(
      message.find("tensor 'model.layers.0.input_layernorm.weight' of file 'model.safetensors' is read by no slot"),
      std::string::npos)
      << message;
  EXPECT_EQ(checked(*source, blind + "[ignore]\ntensors = [\"*.input_layernorm.weight\"]\n"), "nothing was refused");
  EXPECT_NE(checked(*source, blind + "[ignore]\ntensors = [\"*.0.input*\"]\n").find("'model.layers.1.input_layernorm"),
            std::string::npos);
  EXPECT_EQ(checked(*source,
                    blind + "[ignore]\ntensors = [\"*.0.input*norm*\", \"model.layers.1.input_layernorm.weight\"]\n"),
            "nothing was refused");
  // What old checkpoints carry along, what lies behind the last block and outside of blocks is another matter.
  for (const char* name : {"model.layers.0.self_attn.rotary_emb.inv_freq", "model.layers.7.shared_head.norm.weight",
                           "model.layers.q.weight", "model.extra.weight", "model.layers"})
    EXPECT_EQ(checked(WithTensor(kModels / "llama", name), ""), "nothing was refused") << name;
  for (const char* name : {"model.layers.0.self_attn.sinks", "model.layers.1.mlp.router.weight",
                           "model.layers.1.post_attention_layernorm.bias", "model.layers.0.gamma"})
    EXPECT_NE(
        checked(WithTensor(kModels / "llama", name), "").find(str("tensor '", name, "' of file 'more.safetensors'")),
        std::string::npos)
        << name;
  // A bias that config.json denies is said by others, and dropped.
  EXPECT_EQ(checked(WithTensor(kModels / "llama", "model.layers.0.mlp.up_proj.bias"), ""), "nothing was refused");
}

TEST(Layout, SaysWhatEveryLayerDoes) {
  const auto source = open_hf_folder(kModels / "llama");
  const ModelLayout layout = tests::llama().layout(*source);
  using enum LayerRole;
  const std::vector<LayerRole> wanted = {query, key, value, output, gate, up, down};
  for (const BlockLayout& block : layout.blocks) {
    std::vector<LayerRole> roles;
    for (const LayerPlan& layer : block.layers) roles.push_back(layer.role);
    EXPECT_EQ(roles, wanted);
  }
  EXPECT_EQ(layout.outside.at(0).role, head);
  const auto fused = open_hf_folder(kDeclared / "phi3");
  const ModelLayout phi3 = tests::declared().layout(*fused);
  EXPECT_EQ(phi3.blocks[0].layers[0].role, qkv);
  EXPECT_EQ(phi3.blocks[0].layers[2].role, gate_up);
  EXPECT_EQ(phi3.ropes.at(0).dim, 8);  // half of a head
}

TEST(Layout, ReadsNullAbsentAndGivenKeysApart) {
  const auto window = [](const char* model, const std::string& patch) {
    const PatchedSource source(kModels / model, patch);
    return std::get<Attention>(tests::adapter_of(source).layout(source).blocks.back().mixer).window;
  };
  EXPECT_EQ(window("mistral", R"({"sliding_window": 9})"), 9);
  EXPECT_EQ(window("mistral", R"({"sliding_window": null})"), 0);
  EXPECT_EQ(window("mistral", R"({"sliding_window": "<absent>"})"), 4096);
  EXPECT_EQ(window("qwen2_sw", "{}"), 5);
  EXPECT_EQ(window("qwen2_sw", R"({"use_sliding_window": "<absent>"})"), 0);
  EXPECT_EQ(window("qwen2_sw", R"({"max_window_layers": 2, "layer_types": "<absent>"})"), 0);
  const PatchedSource plain(kDeclared / "granite",
                            R"({"attention_multiplier": "<absent>", "logits_scaling": "<absent>"})");
  const ModelLayout layout = tests::declared().layout(plain);
  EXPECT_EQ(std::get<Attention>(layout.blocks[0].mixer).scale, 1.0);
  EXPECT_EQ(layout.tokens.logit_divisor, 1.0);
  EXPECT_EQ(layout.blocks[0].residual_scale, 0.22);
}

// What no shipped family needs, but files can say.
TEST(Layout, TakesEveryKeyOfAFile) {
  constexpr std::string_view kText = R"toml(
name = "odd"
model_types = ["odd", "odder"]
[keys]
hidden_size = "n_embd"
[defaults]
head_dim = 24
rms_norm_eps = 0.5
[tensors]
prefix = "decoder."
embedding = "wte"
blocks = "h"
final_norm = ""
head = "out"
[norms]
offset = 1
rounding = "after_weight"
after_mlp = "n4"
[attention]
module = "attn"
query_key_norm = "heads"
query_norm = "qn"
scale_width = 16
[window]
size = 6
full_every = 2
[mlp]
gate = ""
bias = true
[scales]
embedding = "sqrt(hidden_size)"
logits_softcap = 3
)toml";
  const sdk::Family family = sdk::parse_family(kText, "'odd.toml'");
  const PatchedSource source(
      kModels / "llama", R"({"hidden_size": "<absent>", "n_embd": 64, "head_dim": null, "rms_norm_eps": "<absent>"})");
  const ModelLayout layout = sdk::family_layout(family, source);
  const BlockLayout& block = layout.blocks.at(1);
  const auto& attention = std::get<Attention>(block.mixer);
  EXPECT_EQ(block.name, "decoder.h.1");
  EXPECT_EQ(attention.module, "decoder.h.1.attn");
  EXPECT_EQ(attention.key_dim, 24);
  EXPECT_EQ(attention.scale, 0.25);
  EXPECT_EQ(attention.window, 0);  // every second block sees everything
  EXPECT_EQ(std::get<Attention>(layout.blocks[0].mixer).window, 6);
  EXPECT_EQ(block.norms.query, "decoder.h.1.attn.qn.weight");
  EXPECT_EQ(block.norms.key, "decoder.h.1.attn.k_norm.weight");
  EXPECT_EQ(block.norms.feed_forward_out, "decoder.h.1.n4.weight");
  EXPECT_EQ(block.norms.offset, 1.0);
  EXPECT_EQ(block.norms.epsilon, 0.5);
  EXPECT_TRUE(block.norms.wide);
  EXPECT_FALSE(std::get<Dense>(block.feed_forward).gated);
  EXPECT_EQ(block.layers.size(), 6U);
  EXPECT_TRUE(block.layers.back().has_bias);
  EXPECT_EQ(layout.tokens.embedding, "decoder.wte.weight");
  EXPECT_EQ(layout.tokens.final_norm, "");
  EXPECT_EQ(layout.tokens.embedding_scale, 8.0);
  EXPECT_EQ(layout.tokens.logit_softcap, 3.0);
  EXPECT_EQ(layout.outside.at(0).name, "out");
}

TEST(FamilyFile, RefusesEveryFaultWithFileAndKey) {
  struct Bad {
    const char *text, *message;
  };
  const std::string head = "name = \"x\"\nmodel_types = [\"x\"]\n";
  const Bad bad[] = {
      {"[attention]\nbais = true", "'x.toml': [attention] 'bais' is unknown; did you mean 'bias'?"},
      {"[atention]", "'x.toml': 'atention' is unknown; did you mean 'attention'?"},
      {"colour = 1", "'x.toml': 'colour' is unknown; known are 'name', 'summary', 'model_types', 'keys', 'defaults'"},
      {"attention = 3", "'x.toml': 'attention' is 3; expected a table: [attention]"},
      {"[attention]\nbias = 3", "[attention] 'bias' is 3; expected true, false, a key of config.json, or { key ="},
      {"[attention]\nbias = \"a b\"", "[attention] 'bias' is \"a b\"; expected"},
      {"[attention]\nbias = { absent = true }", "[attention.bias] 'key' is missing; expected a key of config.json"},
      {"[attention]\nbias = { key = \"b\", absent = 1 }", "[attention.bias] 'absent' is 1; expected true, false"},
      {"[attention]\nbias = { key = \"b\", default = true }", "[attention.bias] 'default' is unknown"},
      {"[attention]\nscale = -1", "[attention] 'scale' is -1; expected a number from 1e-06 to 1e+06"},
      {"[attention]\nscale = \"a\"\nscale_width = 8", "[attention] 'scale_width' beside 'scale'"},
      {"[attention]\nquery = \"\"", "[attention] 'query' is \"\"; expected a name made of letters"},
      {"[attention]\nkey = \"q_proj\"", "two slots of a block have the name 'self_attn.q_proj'"},
      {"[attention]\nquery_key_norm = \"head\"",
       "[attention] 'query_key_norm' is 'head'; expected none, heads or whole"},
      {"[attention]\npartial_rope = 1", "[attention] 'partial_rope' is 1; expected true or false"},
      {"[window]\nfull_every = 2", "[window] 'full_every' stands without 'size'"},
      {"[window]\nsize = 0", "[window] 'size' is 0; expected a whole number from 1"},
      {"[window]\nsize = 2.5", "[window] 'size' is 2.5; expected a whole number"},
      {"[norms]\noffset = 1", "[norms] 'offset' needs rounding = \"after_weight\""},
      {"[norms]\nrounding = \"late\"", "[norms] 'rounding' is 'late'; expected before_weight or after_weight"},
      {"[norms]\nbefore_mlp = \"input_layernorm\"", "two slots of a block have the name 'input_layernorm'"},
      {"[defaults]\nhidden_size = \"64\"", "[defaults] 'hidden_size' is \"64\"; expected a whole number from 1"},
      {"[defaults]\nhidden_size = 9223372036854775807", "[defaults] 'hidden_size' is 9223372036854775807; expected"},
      {"[defaults]\nhidden_act = \"geglu\"", "[defaults] 'hidden_act' is 'geglu'; expected silu, gelu"},
      {"[defaults]\nrms_norm_eps = nan", "'x.toml': line 4: 'rms_norm_eps' is nan; expected a finite number"},
      {"[scales]\nembedding = nan", "line 4: 'embedding' is nan"},
      {"[attention]\nsoftcap = { key = \"cap\", absent = -inf }", "line 4: 'absent' is inf"},
      {"[keys]\nhiden_size = \"n_embd\"", "[keys] 'hiden_size' is unknown; did you mean 'hidden_size'?"},
      {"[keys]\nhidden_size = \"\"", "[keys] 'hidden_size' is \"\"; expected a name"},
      {"[tensors]\nhead = \"../x y\"", "[tensors] 'head' is \"../x y\"; expected a name"},
      {"[scales]\nembedding = \"sqrt(width)\"", "[scales] 'embedding' is \"sqrt(width)\"; expected a number"},
      {"[scales]\nlogits_divisor = 0", "[scales] 'logits_divisor' is 0; expected"},
      {"name = \"y\"", "'x.toml': line 3: not TOML"},
      {"[[attention]]", "'x.toml': 'attention' is [{}]; expected a table"},
      {"[norms]\nkind = \"group\"", "[norms] 'kind' is 'group'; expected rms or layer"},
      {"[norms]\nbias = true", "[norms] 'bias' needs kind = \"layer\""},
      {"[norms]\nkind = \"layer\"\noffset = 1", "[norms] 'offset' is of RMSNorm"},
      {"[attention]\nrope_pairs = \"quarters\"",
       "[attention] 'rope_pairs' is 'quarters'; expected halves or neighbours"},
      {"[attention]\nqkv_rows = \"kinds\"", "[attention] 'qkv_rows' stands without 'qkv'"},
      {"[attention]\nrotary_share = 0.5", "[attention] 'rotary_share' stands without partial_rope = true"},
      {"[attention]\nrope_in = \"windowed\"\nrope_blocks = \"b\"", "[attention] 'rope_in' beside 'rope_blocks'"},
      {"[attention]\nkv_heads = 0", "[attention] 'kv_heads' is 0; expected a whole number from 1"},
      {"[window]\nplain_rope = true", "[window] 'plain_rope' stands without 'size'"},
      {"[window]\nsize = 4\nrope_theta = 100\nplain_rope = true", "[window] 'plain_rope' beside 'rope_theta'"},
      {"[block]\nparallel_norm = \"shared\"", "[block] 'parallel_norm' stands without 'parallel'"},
      {"[block]\nparallel = 1", "[block] 'parallel' is 1; expected true, false"},
      {"[scales]\nlogits_factor = 2\nlogits_divisor = 2", "[scales] 'logits_factor' beside 'logits_divisor'"},
      {"[ignore]\ntensors = \"*\"", "[ignore] 'tensors' is \"*\"; expected a list of tensor names"},
      {"[ignore]\ntensors = [\"*\"]", "[ignore] 'tensors' is [\"*\"]; expected a list of tensor names"},
      {"[ignore]\ntensors = [\"*.*\"]", "[ignore] 'tensors': '*.*' fits 'model.layers.0.input_layernorm.weight'"},
      {"[ignore]\ntensors = [\"*.17.mlp.*\"]", "fits 'model.layers.17.mlp.gate_proj.weight', which a slot"},
      {"[attention]\nqkv = \"qkv\"\n[ignore]\ntensors = [\"*.rope\", \"*qkv*\"]",
       "'*qkv*' fits 'model.layers.0.self_attn.qkv.weight'"},
      {"[norms]\nbefore_mlp = \"ln_2\"\n[block]\nparallel = true\nparallel_norm = \"shared\"",
       "[norms] 'before_mlp' beside [block] parallel_norm = \"shared\""},
      {"[when]\nflag = 1", "[when] 'flag' is 1; expected true or false"},
      {"[defaults]\nintermediate_factor = 0", "[defaults] 'intermediate_factor' is 0; expected a whole number"},
  };
  for (const Bad& b : bad) {
    const std::string text = head + b.text;
    const std::string message = refusal([&] { (void)sdk::parse_family(text, "'x.toml'"); });
    EXPECT_NE(message.find(b.message), std::string::npos) << b.text << " gave: " << message;
    EXPECT_NE(message.find("'x.toml'"), std::string::npos) << message;
  }
  const Bad heads[] = {{"model_types = [\"x\"]", "'name' is missing"},
                       {"name = \"x\"", "'model_types' is missing; expected a list of one or more names"},
                       {"name = \"x\"\nmodel_types = []", "'model_types' is []; expected a list"},
                       {"name = \"x\"\nmodel_types = [1]", "'model_types' is [1]; expected a list"},
                       {"name = 1", "'name' is 1; expected a name"}};
  for (const Bad& b : heads)
    EXPECT_NE(refusal([&] { (void)sdk::parse_family(b.text, "'x.toml'"); }).find(b.message), std::string::npos)
        << b.text;
}

// What is no slot of this family may be ignored, whatever it is called elsewhere.
TEST(FamilyFile, PatternsOfWhatNothingReadsAreTaken) {
  const char* good[] = {"[ignore]\ntensors = [\"*.rotary_emb.inv_freq\", \"*.bias\"]",
                        "[mlp]\ngate = \"\"\n[ignore]\ntensors = [\"*.gate_proj.*\"]",
                        "[block]\nparallel = true\nparallel_norm = \"shared\"\n[ignore]\ntensors = "
                        "[\"*.post_attention_layernorm.weight\"]",
                        "[norms]\nbefore_mlp = \"ln_2\"\n[block]\nparallel = \"key\"\nparallel_norm = \"shared\""};
  for (const char* text : good)
    EXPECT_EQ(refusal([&] { (void)sdk::parse_family(str("name = \"x\"\nmodel_types = [\"x\"]\n", text), "'x.toml'"); }),
              "nothing was refused")
        << text;
}

TEST(FamilyFile, DeepKeysEndInAMessage) {
  std::string deep = "name";
  for (int i = 0; i < 100'000; ++i) deep += ".a";
  EXPECT_NE(refusal([&] { (void)sdk::parse_family(deep + " = 1", "'x.toml'"); }).find("more than 64 parts"),
            std::string::npos);
}

TEST(FamilyFile, CapsOfScoresAreRead) {
  const sdk::Family capped = sdk::parse_family(
      "name = \"x\"\nmodel_types = [\"llama\"]\n[attention]\nsoftcap = { key = \"cap\", absent = 50 }", "'x.toml'");
  const auto open = [&](const char* patch) {
    const PatchedSource source(kModels / "llama", patch);
    return refusal([&] { (void)sdk::FamilyAdapter(capped).open(source, at::kFloat); });
  };
  EXPECT_EQ(open("{}"), "nothing was refused");
  EXPECT_NE(open(R"({"cap": -1})").find("'cap' is -1; expected a number from 0"), std::string::npos);
  EXPECT_EQ(open(R"({"cap": null})"), "nothing was refused");
}

TEST(Families, TheEarlierFileOfAModelTypeWins) {
  const auto family = [](const char* name, const char* head) {
    return sdk::parse_family(
        str("name = \"", name, "\"\nmodel_types = [\"llama\"]\n[tensors]\nhead = \"", head, "\"\n"), name);
  };
  sdk::FamilyAdapter adapter("files", "two files");
  EXPECT_FALSE(adapter.matches({{"model_type", "llama"}}));
  adapter.add(family("first", "head_a"));
  adapter.add(family("second", "head_b"));
  EXPECT_TRUE(adapter.matches({{"model_type", "llama"}}));
  EXPECT_EQ(adapter.info().model_types.size(), 1U);
  const auto source = open_hf_folder(kModels / "llama");
  EXPECT_EQ(adapter.layout(*source).outside.at(0).name, "head_a");
}

// Flags of config.json tell families of one model_type apart.
TEST(Families, AreToldApartByFlags) {
  const auto family = [](const char* name, bool flag) {
    return sdk::parse_family(str("name = \"", name, "\"\nmodel_types = [\"llama\"]\n[when]\nnew = ",
                                 flag ? "true" : "false", "\n[tensors]\nhead = \"", name, "\"\n"),
                             name);
  };
  sdk::FamilyAdapter adapter("files", "two files");
  adapter.add(family("with", true));
  EXPECT_FALSE(adapter.matches({{"model_type", "llama"}}));
  adapter.add(family("without", false));
  EXPECT_EQ(adapter.layout(PatchedSource(kModels / "llama", R"({"new": true})")).outside.at(0).name, "with");
  for (const char* patch : {"{}", R"({"new": false})", R"({"new": null})"})
    EXPECT_EQ(adapter.layout(PatchedSource(kModels / "llama", patch)).outside.at(0).name, "without") << patch;
}

TEST(Draft, OfACheckpointIsTheShippedFamilyButForWhatNobodyCanSee) {
  for (const std::filesystem::path& folder : all_models()) {
    const auto source = open_hf_folder(folder);
    sdk::FamilyDraft draft = sdk::draft_family(source->config(), source->weights().tensors());
    sdk::Family family = sdk::parse_family(draft.toml, "the draft");
    if (folder.filename() == "olmo2") family.norms.wide = true;
    EXPECT_EQ(text_of(sdk::family_layout(family, *source)), text_of(tests::adapter_of(*source).layout(*source)))
        << draft.toml;
    EXPECT_TRUE(family.summary == family.name && !draft.open.empty());
  }
}

TEST(Draft, SaysWhatItCouldNotInfer) {
  const auto said = [](const json::Object& config, std::span<const TensorInfo> tensors, const char* what) {
    for (const std::string& sentence : sdk::draft_family(config, tensors).open)
      if (sentence.find(what) != std::string::npos) return true;
    return false;
  };
  const auto source = open_hf_folder(kDeclared / "olmo2");
  const json::Object& config = source->config();
  EXPECT_FALSE(said(config, {}, "sqrt(hidden_size)"));
  json::Object gemma = config;
  gemma["query_pre_attn_scalar"] = 256;
  EXPECT_TRUE(said(gemma, {}, "multiply embeddings by sqrt(hidden_size)"));
  EXPECT_TRUE(sdk::parse_family(sdk::draft_family(gemma, {}).toml, "the draft").scales.embedding_by_width);
  gemma["embedding_multiplier"] = 8;
  EXPECT_FALSE(sdk::parse_family(sdk::draft_family(gemma, {}).toml, "the draft").scales.embedding_by_width);
  EXPECT_TRUE(said(config, {}, "no checkpoint was given"));
  EXPECT_FALSE(said(config, source->weights().tensors(), "no checkpoint was given"));
  EXPECT_TRUE(said(config, {}, "names do not show how norms are computed"));
  json::Object more = config;
  more["clip_qkv"] = 8;
  more.erase("intermediate_size");
  EXPECT_TRUE(said(more, {}, "nothing in the file speaks of these keys of config.json: 'clip_qkv'"));
  EXPECT_TRUE(said(more, {}, "config.json has no 'intermediate_size'"));
  EXPECT_FALSE(said(config, {}, "nothing in the file speaks of"));
  std::vector<TensorInfo> tensors(source->weights().tensors().begin(), source->weights().tensors().end());
  tensors.push_back({.name = "model.layers.0.self_attn.sinks.weight", .shape = {4}});
  EXPECT_TRUE(said(config, tensors, "tensor 'model.layers.0.self_attn.sinks.weight' fits no slot"));
  EXPECT_NE(refusal([] { (void)sdk::draft_family({}, {}); }).find("'model_type' is missing"), std::string::npos);
}

}  // namespace
}  // namespace arkit
