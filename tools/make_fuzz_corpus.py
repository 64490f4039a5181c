#!/usr/bin/env python3
"""Writes the hand-made inputs of the fuzz targets for model files into tests/fuzz/corpus (run from the repository root).

Each file is one attack that has broken some reader of these formats, or a valid file for mutation to start from."""
import json
import pathlib
import struct

ROOT = pathlib.Path(__file__).resolve().parent.parent / "tests/fuzz/corpus"


def put(target, name, data):
    folder = ROOT / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data if isinstance(data, bytes) else data.encode())


def safetensors(header, data=b"", length=None):
    header = header if isinstance(header, bytes) else header.encode()
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def entry(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def make_safetensors():
    def one(name, tensors, size):
        put("safetensors_header", name, safetensors(json.dumps(tensors), bytes(size)))

    one("valid", {"__metadata__": {"format": "pt"}, "a": entry("BF16", [2, 3], 0, 12), "b": entry("F32", [], 12, 16)}, 16)
    one("empty_tensor", {"a": entry("U8", [0, 7], 0, 0), "b": entry("U8", [4], 0, 4)}, 4)
    one("overlap", {"a": entry("U8", [4], 0, 4), "b": entry("U8", [4], 2, 6)}, 6)
    one("same_bytes_twice", {"a": entry("U8", [4], 0, 4), "b": entry("U8", [4], 0, 4)}, 4)
    one("hole", {"a": entry("U8", [4], 0, 4), "b": entry("U8", [4], 5, 9)}, 9)
    one("rest", {"a": entry("U8", [4], 0, 4)}, 9)
    one("beyond_end", {"a": entry("F32", [1000], 0, 4000)}, 16)
    one("shape_overflow", {"a": entry("F32", [2**62, 4], 0, 0)}, 0)
    one("shape_overflow_zero", {"a": entry("F32", [0, 2**62, 2**62], 0, 0)}, 0)
    one("negative_shape", {"a": entry("U8", [-4], 0, 4)}, 4)
    one("float_shape", {"a": entry("U8", [4.5], 0, 4)}, 4)
    one("huge_number", {"a": entry("U8", [10**30], 0, 4)}, 4)
    one("offsets_swapped", {"a": entry("U8", [4], 4, 0)}, 4)
    one("unknown_dtype", {"a": entry("F4", [8], 0, 4)}, 4)
    one("many_dims", {"a": entry("U8", [1] * 100, 0, 1)}, 1)
    one("metadata_number", {"__metadata__": {"format": 1}}, 0)
    put("safetensors_header", "empty", b"")
    put("safetensors_header", "seven_bytes", b"\0" * 7)
    put("safetensors_header", "zero_length", safetensors(""))
    put("safetensors_header", "length_max", safetensors("{}", length=2**64 - 1))
    put("safetensors_header", "length_wraps", safetensors("{}", length=2**64 - 8))
    put("safetensors_header", "length_100mb", safetensors("{}", length=100_000_001))
    put("safetensors_header", "array", safetensors("[1, 2]"))
    put("safetensors_header", "truncated_json", safetensors('{"a": {"dtype": "F32", "sha'))
    put("safetensors_header", "two_documents", safetensors("{} {}"))
    put("safetensors_header", "invalid_utf8", safetensors(b'{"\xff\xfe": 1}'))
    put("safetensors_header", "deep", safetensors('{"a": ' + "[" * 500 + "]" * 500 + "}"))
    twice = '"a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}'
    put("safetensors_header", "duplicate_name", safetensors("{" + twice + ", " + twice + "}", b"0123"))
    escaped = twice.replace('"a"', '"\\u0061"')
    put("safetensors_header", "duplicate_name_escaped", safetensors("{" + twice + ", " + escaped + "}", b"0123"))
    put("safetensors_header", "escape_name", safetensors('{"\\u001b[2J\\u0000": 3}'))


def make_index():
    def one(name, weight_map):
        put("safetensors_index", name, json.dumps({"metadata": {"total_size": 8}, "weight_map": weight_map}))

    one("valid", {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"})
    for name, file in {"parent": "../x.safetensors", "absolute": "/etc/x.safetensors", "nested": "sub/x.safetensors",
                       "backslash": "..\\x.safetensors", "nul": "x\0.safetensors", "dots": "..", "empty_name": "",
                       "pickle": "x.bin", "long": "x" * 300 + ".safetensors"}.items():
        one(name, {"a": file})
    one("number", {"a": 3})
    one("empty_map", {})
    put("safetensors_index", "no_map", "{}")
    put("safetensors_index", "array_map", '{"weight_map": ["a"]}')
    put("safetensors_index", "duplicate", '{"weight_map": {"a": "x.safetensors", "a": "y.safetensors"}}')
    put("safetensors_index", "duplicate_map", '{"weight_map": {"a": "x.safetensors"}, "weight_map": {}}')
    put("safetensors_index", "truncated", '{"weight_map": {"a": "x.safe')


def text(value):
    value = value if isinstance(value, bytes) else value.encode()
    return struct.pack("<Q", len(value)) + value


U32, F32, BOOL, STRING, ARRAY = 4, 6, 7, 8, 9


def typed(kind, payload):
    return struct.pack("<I", kind) + payload


def array(kind, items, count=None):
    return typed(ARRAY, struct.pack("<IQ", kind, len(items) if count is None else count) + b"".join(items))


def gguf(pairs, tensors=(), data=0, counts=None, version=3, magic=b"GGUF"):
    out = magic + struct.pack("<I", version) + struct.pack("<QQ", *(counts or (len(tensors), len(pairs))))
    for key, value in pairs:
        out += text(key) + value
    for name, dims, kind, offset in tensors:
        out += text(name) + struct.pack("<I", len(dims)) + b"".join(struct.pack("<Q", d) for d in dims)
        out += struct.pack("<IQ", kind, offset)
    return out + bytes(-len(out) % 32) + bytes(data)


MODEL = [("general.architecture", typed(STRING, text("llama"))), ("llama.block_count", typed(U32, struct.pack("<I", 1))),
         ("llama.context_length", typed(U32, struct.pack("<I", 64))), ("llama.embedding_length", typed(U32, struct.pack("<I", 8))),
         ("llama.feed_forward_length", typed(U32, struct.pack("<I", 16))),
         ("llama.attention.head_count", typed(U32, struct.pack("<I", 2))),
         ("llama.attention.layer_norm_rms_epsilon", typed(F32, struct.pack("<f", 1e-5)))]
TENSORS = [("token_embd.weight", [8, 4], 0, 0), ("blk.0.attn_q.weight", [8, 8], 0, 128)]


def tokens(values, kinds, model="gpt2", pre="smollm", merges=("a b",)):
    return MODEL + [("tokenizer.ggml.model", typed(STRING, text(model))), ("tokenizer.ggml.pre", typed(STRING, text(pre))),
                    ("tokenizer.ggml.tokens", array(STRING, [text(v) for v in values])),
                    ("tokenizer.ggml.token_type", array(5, [struct.pack("<i", k) for k in kinds])),
                    ("tokenizer.ggml.scores", array(F32, [struct.pack("<f", -i) for i in range(len(values))])),
                    ("tokenizer.ggml.merges", array(STRING, [text(m) for m in merges])),
                    ("tokenizer.ggml.bos_token_id", typed(U32, struct.pack("<I", 0)))]


def make_gguf():
    put("gguf", "valid", gguf(MODEL, TENSORS, 384))
    put("gguf", "valid_gpt2", gguf(tokens(["<s>", "a", "b", "ab"], [3, 1, 1, 1]), TENSORS, 384))
    put("gguf", "valid_llama", gguf(tokens(["<unk>", "a", "b", "ab"], [2, 1, 1, 1], "llama"), TENSORS, 384))
    put("gguf", "empty", b"")
    put("gguf", "magic_only", b"GGUF")
    put("gguf", "wrong_magic", gguf(MODEL, TENSORS, 384, magic=b"GGJT"))
    put("gguf", "big_endian", gguf([], version=0x03000000))
    put("gguf", "version_1", gguf([], version=1))
    put("gguf", "counts_max", gguf([], counts=(2**64 - 1, 2**64 - 1)))
    put("gguf", "counts_wrap", gguf([], counts=(2**61, 0)))  # tensors x record size wraps
    put("gguf", "string_max", gguf([("k", typed(STRING, struct.pack("<Q", 2**64 - 1)))]))
    put("gguf", "array_2_63", gguf([("k", array(U32, [], 2**63))]))  # hung gguf-py
    put("gguf", "array_wraps", gguf([("k", array(10, [], 2**61))]))  # count x 8 wraps to 0
    put("gguf", "array_nested", gguf([("k", array(ARRAY, [struct.pack("<IQ", 4, 0)] * 3))]))
    put("gguf", "array_of_unknown", gguf([("k", array(99, [], 1))]))
    put("gguf", "value_type_unknown", gguf([("k", typed(13, b"\0" * 8))]))
    put("gguf", "duplicate_key", gguf([MODEL[0], MODEL[0]]))
    for value in (0, 3, 2**31):
        put("gguf", f"alignment_{value}", gguf([("general.alignment", typed(U32, struct.pack("<I", value)))] + MODEL, TENSORS, 384))
    put("gguf", "alignment_string", gguf([("general.alignment", typed(STRING, text("32")))]))
    for name, tensor in {"dims_5": ("t", [1, 1, 1, 1, 8], 0, 0), "dim_zero": ("t", [0], 0, 0), "dim_negative": ("t", [2**64 - 1], 0, 0),
                         "dims_overflow": ("t", [2**62, 4], 0, 0), "bytes_overflow": ("t", [2**61], 0, 0), "block_rest": ("t", [33], 2, 0),
                         "type_retired": ("t", [32], 4, 0), "type_max": ("t", [32], 2**32 - 1, 0), "offset_max": ("t", [8], 0, 2**64 - 1),
                         "hole": ("t", [8], 0, 32), "beyond_end": ("t", [2**30], 0, 0), "name_long": ("t" * 64, [8], 0, 0)}.items():
        put("gguf", "tensor_" + name, gguf(MODEL, [tensor], 64))
    put("gguf", "tensor_overlap", gguf(MODEL, [("a", [16], 0, 0), ("b", [16], 0, 32)], 128))
    put("gguf", "tensor_twice", gguf(MODEL, [("a", [8], 0, 0), ("a", [8], 0, 32)], 64))
    put("gguf", "token_negative_byte", gguf(tokens(["<0x-1>", "a", "b", "ab"], [6, 1, 1, 1], "llama"), TENSORS, 384))
    put("gguf", "token_types_short", gguf(tokens(["a", "b", "ab"], [1]), TENSORS, 384))
    put("gguf", "token_type_unknown", gguf(tokens(["a", "b"], [1, 77]), TENSORS, 384))
    put("gguf", "token_twice", gguf(tokens(["a", "a", "b", "ab"], [1, 1, 1, 1]), TENSORS, 384))
    put("gguf", "token_invalid_utf8", gguf(tokens([b"\xff", "a"], [1, 1]), TENSORS, 384))
    put("gguf", "merge_no_blank", gguf(tokens(["a", "b"], [1, 1], merges=["ab"]), TENSORS, 384))
    put("gguf", "pre_unknown", gguf(tokens(["a", "b"], [1, 1], pre="\x1b[2J"), TENSORS, 384))
    put("gguf", "heads_zero", gguf(MODEL[:5] + [("llama.attention.head_count", typed(U32, struct.pack("<I", 0)))], TENSORS, 384))
    template = ("tokenizer.chat_template", typed(STRING, struct.pack("<Q", 5 * 2**20) + b"{{"))
    put("gguf", "template_lies", gguf(tokens(["<s>", "a"], [3, 1]) + [template], TENSORS, 384))  # 5 MB are announced
    named = [("tokenizer.chat_template", typed(STRING, text("{{ a }}"))), ("tokenizer.chat_templates", array(STRING, [text("x")] * 3)),
             ("tokenizer.chat_template.x", typed(STRING, text("{{ b }}")))]
    put("gguf", "templates_named", gguf(tokens(["<s>", "a", "b", "ab"], [3, 1, 1, 1]) + named, TENSORS, 384))
    put("gguf", "templates_many", gguf(tokens(["<s>", "a", "b", "ab"], [3, 1, 1, 1]) + [("tokenizer.chat_templates", array(STRING, [text("")] * 65))],
                                       TENSORS, 384))
    put("gguf", "tensor_ends_early", gguf(MODEL, [("t", [32], 8, 0)], 33))  # one byte less than a Q8_0 block
    put("gguf", "tensor_q6_last", gguf(MODEL, [("t", [256, 2], 14, 0)], 420))  # blocks up to the last byte
    put("gguf", "string_wraps", gguf([("k", typed(STRING, struct.pack("<Q", 2**64 - 24)))]))  # position + length wraps
    put("gguf", "array_string_wraps", gguf([("k", array(STRING, [struct.pack("<Q", 2**64 - 8)]))]))
    put("gguf", "bos_beyond", gguf(tokens(["a"], [1])[:-1] + [("tokenizer.ggml.bos_token_id", typed(U32, struct.pack("<I", 9)))], TENSORS, 384))


def make_config():
    config = {"model_type": "llama", "hidden_size": 64, "rms_norm_eps": 1e-6, "tie_word_embeddings": False}
    put("config_json", "valid", json.dumps(config))
    put("config_json", "non_finite", '{"rms_norm_eps": -Infinity, "a": [NaN, Infinity], "b": "NaN"}')
    put("config_json", "float_object", '{"rms_norm_eps": {"__float__": "Infinity"}}')
    put("config_json", "float_size", '{"hidden_size": 64.5}')
    put("config_json", "huge_size", '{"hidden_size": 1e400}')
    put("config_json", "integer_overflow", '{"hidden_size": 99999999999999999999999}')
    put("config_json", "wrong_type", '{"hidden_size": "64"}')
    put("config_json", "duplicate", '{"hidden_size": 64, "hidden_size": 65}')
    put("config_json", "deep_object", '{"a":' * 200 + "1" + "}" * 200)
    put("config_json", "array", "[]")
    put("config_json", "empty", "")
    put("config_json", "bom", b"\xef\xbb\xbf{}")
    put("config_json", "invalid_utf8", b'{"a": "\xc0\xaf"}')
    put("config_json", "lone_surrogate", '{"a": "\\ud800"}')
    put("config_json", "escapes", '{"a": "\\u0000\\"\\\\\\/\\b\\f\\n\\r\\t"}')
    put("config_json", "truncated", '{"a": "\\')
    put("config_json", "trailing", "{} x")


def make_recipe():
    put("recipe_toml", "valid", 'model = "models/x"\nscheme = "W4A16"\niters = 50\nlr = 5e-3\nformat = ["auto_round", "fake"]\nasym = true\n'
        'layer_config = { k_proj = { bits = 8, sym = false }, "model.layers.0" = { bits = 3 } }\n')
    put("recipe_toml", "dashes", "group-size = 64\nquant-lm-head = true\n")
    put("recipe_toml", "twice_by_dash", "group-size = 64\ngroup_size = 32\n")
    put("recipe_toml", "twice", "iters = 1\niters = 2\n")
    put("recipe_toml", "unknown_key", "itres = 3\n")
    put("recipe_toml", "plugin", 'plugin = "/tmp/evil.so"\n')
    put("recipe_toml", "plugin_list", 'plugin = ["/tmp/evil.so"]\n')
    put("recipe_toml", "config", 'config = "other.toml"\n')
    put("recipe_toml", "help", "help = true\n")
    put("recipe_toml", "section", '[quantize]\nscheme = "W4A16"\n')
    put("recipe_toml", "date", "iters = 2024-01-01\n")
    put("recipe_toml", "time_in_list", "format = [07:32:00]\n")
    put("recipe_toml", "flag_text", 'asym = "maybe"\n')
    put("recipe_toml", "flag_number", "asym = 1\n")
    put("recipe_toml", "integer_text", 'iters = "ten"\n')
    put("recipe_toml", "integer_float", "iters = 1.5\n")
    put("recipe_toml", "integer_overflow", "iters = 9223372036854775808\n")
    put("recipe_toml", "integer_min", "iters = -9223372036854775808\n")
    put("recipe_toml", "number_inf", "lr = inf\n")
    put("recipe_toml", "number_nan", "lr = -nan\n")
    put("recipe_toml", "number_huge", "lr = 1e999\n")
    put("recipe_toml", "list_for_one", "iters = [1, 2]\n")
    put("recipe_toml", "list_mixed", 'ignore_layers = ["a", 1, true, 2.5]\n')
    put("recipe_toml", "list_empty", "format = []\n")
    put("recipe_toml", "list_of_tables", "format = [{ a = 1 }]\n")
    put("recipe_toml", "list_nested", 'format = [["a"]]\n')
    put("recipe_toml", "deep_array", "format = " + "[" * 2000 + "]" * 2000 + "\n")
    put("recipe_toml", "deep_table", "layer_config = " + "{ a = " * 300 + "1" + " }" * 300 + "\n")
    put("recipe_toml", "deep_dotted", "layer_config." + ".".join(["a"] * 2000) + " = 1\n")
    put("recipe_toml", "size_overflow", 'max_shard_size = "99999999999999999999GB"\n')
    put("recipe_toml", "size_negative", 'max_shard_size = "-1GB"\n')
    put("recipe_toml", "size_fraction", 'max_shard_size = "1.5GB"\n')
    put("recipe_toml", "empty", "")
    put("recipe_toml", "empty_text", 'scheme = ""\n')
    put("recipe_toml", "comment_only", "# nothing\n")
    put("recipe_toml", "nul", b'scheme = "W4\0A16"\n')
    put("recipe_toml", "escapes", 'scheme = "\\u001b[2J\\U0010FFFF"\n')
    put("recipe_toml", "surrogate", 'scheme = "\\ud800"\n')
    put("recipe_toml", "invalid_utf8", b'scheme = "\xc0\xaf"\n')
    put("recipe_toml", "bom", b'\xef\xbb\xbfscheme = "W4A16"\n')
    put("recipe_toml", "unterminated", 'scheme = "W4A16')
    put("recipe_toml", "multiline", 'dataset = """\na.json:num=3,\\\n  b.txt"""\n')
    put("recipe_toml", "no_value", "iters =\n")
    put("recipe_toml", "json", '{"iters": 3}')


def make_recipe_yaml():
    stage = "default_stage:\n  default_modifiers:\n"
    rounding, tuning = stage + "    QuantizationModifier:\n", stage + "    AutoRoundModifier:\n"
    put("recipe_yaml", "alias", 'x_stage:\n  x_modifiers:\n    QuantizationModifier:\n      targets: &t [Linear]\n      ignore: *t\n      scheme: W4A16\n')
    put("recipe_yaml", "alias_bomb", "a0: &a0 [" + ",".join("x" * 10) + "]\n" + "".join(f"a{i}: &a{i} [" + ",".join([f"*a{i - 1}"] * 10) + "]\n" for i in range(1, 12)))
    put("recipe_yaml", "alias_bomb_text", "a: &a \"" + "x" * 4000 + "\"\nb: [" + ",".join(["*a"] * 400) + "]\n")
    put("recipe_yaml", "alias_to_itself", 'a: &x [*x]\n')
    put("recipe_yaml", "alias_undefined", 'a: *b\n')
    put("recipe_yaml", "anchor_only", '&a\n')
    put("recipe_yaml", "attn_head", rounding + '      config_groups: {g: {targets: [LlamaAttention], input_activations: {num_bits: 8, type: float, strategy: attn_head}}}\n')
    put("recipe_yaml", "bits_huge", rounding + '      config_groups: {g: {targets: [Linear], weights: {num_bits: 9223372036854775807}}}\n')
    put("recipe_yaml", "bits_negative", rounding + '      config_groups: {g: {targets: [Linear], weights: {num_bits: -4}}}\n')
    put("recipe_yaml", "block_bad", rounding + '      config_groups: {g: {targets: [Linear], weights: {type: float, strategy: block, block_structure: [0, -1]}}}\n')
    put("recipe_yaml", "block_text", rounding + '      config_groups: {g: {targets: [Linear], weights: {type: float, strategy: block, block_structure: 128x128}}}\n')
    put("recipe_yaml", "bom", b'\xef\xbb\xbfa_stage: {}\n')
    put("recipe_yaml", "colon", ':\n')
    put("recipe_yaml", "deep_block", "".join("  " * i + "a:\n" for i in range(60)))
    put("recipe_yaml", "deep_flow", "a: " + "[" * 200 + "]" * 200 + "\n")
    put("recipe_yaml", "deep_flow_open", "[" * 5000)
    put("recipe_yaml", "deep_map_open", "{a: " * 3000)
    put("recipe_yaml", "deep_sequence", "- " * 2000 + "a\n")
    put("recipe_yaml", "directive", '%YAML 1.2\n---\na_stage: {}\n')
    put("recipe_yaml", "directive_bad", '%TAG ! !\n%TAG ! !\n---\na: 1\n')
    put("recipe_yaml", "duplicate_key", rounding + '      scheme: W4A16\n      scheme: W8A16\n')
    put("recipe_yaml", "empty", '')
    put("recipe_yaml", "empty_body", 'default_stage:\n  default_modifiers:\n    QuantizationModifier: {}\n')
    put("recipe_yaml", "group_huge", rounding + '      config_groups: {g: {targets: [Linear], weights: {num_bits: 4, group_size: 9223372036854775807}}}\n')
    put("recipe_yaml", "group_zero", rounding + '      config_groups: {g: {targets: [Linear], weights: {num_bits: 4, group_size: 0}}}\n')
    put("recipe_yaml", "huge_number", rounding + '      scheme: W4A16\n      start: 99999999999999999999999999\n')
    put("recipe_yaml", "invalid_utf8", b'a: \xff\xfe\n')
    put("recipe_yaml", "iters_negative", tuning + '      scheme: W4A16\n      iters: -1\n')
    put("recipe_yaml", "list_key", '? [a, b]\n: c\n')
    put("recipe_yaml", "lr_nan", tuning + '      scheme: W4A16\n      lr: .nan\n')
    put("recipe_yaml", "merge_key", 'a: &x {b: 1}\nc:\n  <<: *x\n')
    put("recipe_yaml", "modifiers_key", 'default_stage:\n  modifiers:\n    QuantizationModifier: {scheme: W8A8}\n')
    put("recipe_yaml", "modifiers_list", 'default_stage:\n  default_modifiers:\n    - QuantizationModifier: {scheme: W8A8}\n')
    put("recipe_yaml", "no_targets", rounding + '      config_groups: {g: {weights: {num_bits: 4}}}\n')
    put("recipe_yaml", "nul", b'a: \x00\n')
    put("recipe_yaml", "null", '~\n')
    put("recipe_yaml", "null_body", rounding + '')
    put("recipe_yaml", "number_key", '1: 2\n')
    put("recipe_yaml", "only_comment", '# nothing\n')
    put("recipe_yaml", "overlong", b'a: \xc0\xaf\n')
    put("recipe_yaml", "percent", '%\n')
    put("recipe_yaml", "python_tag", rounding + '      config_groups:\n        group_0:\n          targets: [Linear]\n          weights:\n            num_bits: 8\n            type: !!python/object/apply:compressed_tensors.quantization.quant_args.QuantizationType [int]\n            strategy: !!python/object/apply:compressed_tensors.quantization.quant_args.QuantizationStrategy [channel]\n')
    put("recipe_yaml", "python_tag_call", 'a_stage: !!python/object/apply:os.system ["true"]\n')
    put("recipe_yaml", "python_tag_scalar", 'a_stage: !!python/name:os.system x\n')
    put("recipe_yaml", "python_tag_two", 'a_stage: !!python/object/apply:x.y [a, b]\n')
    put("recipe_yaml", "question", '?\n')
    put("recipe_yaml", "scalar", 'W4A16\n')
    put("recipe_yaml", "surrogate", b'a: \xed\xa0\x80\n')
    put("recipe_yaml", "tab_indent", 'a:\n\tb: 1\n')
    put("recipe_yaml", "tag_unknown", '!local {a: b}\n')
    put("recipe_yaml", "token_weights", rounding + '      config_groups: {g: {targets: [Linear], weights: {strategy: token, dynamic: true}}}\n')
    put("recipe_yaml", "top_level_class", 'QuantizationModifier:\n  scheme: W8A8\n')
    put("recipe_yaml", "top_level_list", '- QuantizationModifier: {scheme: W8A8}\n')
    put("recipe_yaml", "two_documents", 'a: 1\n---\nb: 2\n')
    put("recipe_yaml", "two_modifiers", 'a_stage:\n  a_modifiers:\n    QuantizationModifier: {scheme: W4A16}\n    AutoRoundModifier: {scheme: W4A16}\n')
    put("recipe_yaml", "unknown_field", rounding + '      scheme: W4A16\n      seqlen: 2048\n')
    put("recipe_yaml", "unknown_modifier", 'default_stage:\n  default_modifiers:\n    GPTQModifier: {scheme: W4A16}\n')
    put("recipe_yaml", "unterminated_flow", 'a: [b, c\n')
    put("recipe_yaml", "unterminated_quote", 'a: "b\n')
    put("recipe_yaml", "utf16", "a: b\n".encode("utf-16"))
    put("recipe_yaml", "valid", rounding + '      targets: [Linear]\n      ignore: [lm_head]\n      scheme: W4A16\n')
    put("recipe_yaml", "valid_autoround", tuning + '      targets: Linear\n      ignore: [lm_head]\n      scheme: NVFP4\n      iters: 0\n      lr: 1e-3\n      device_ids: "0,1"\n')
    put("recipe_yaml", "valid_groups", rounding + "      config_groups:\n        group_0:\n          targets: ['re:.*self_attn.*']\n          weights: {num_bits: 8, type: int, symmetric: true, strategy: channel}\n          input_activations: {num_bits: 8, type: int, strategy: token, dynamic: true}\n        group_1:\n          targets: [Linear]\n          weights: {num_bits: 4, type: float, strategy: tensor_group, group_size: 16, scale_dtype: torch.float8_e4m3fn}\n")
    put("recipe_yaml", "valid_json", '{"q_stage": {"q_modifiers": {"QuantizationModifier": {"scheme": {"W4A16": ["Linear"], "FP8": "re:.*x"}}}}}')
    put("recipe_yaml", "valid_kv", rounding + '      kv_cache_scheme: {num_bits: 8, type: float, strategy: tensor, dynamic: false}\n')


# The smallest shared object the manifest reader accepts: one segment that maps the file as it is, .dynsym, .dynstr and
# relative relocations for the manifest's pointers.
ABI_TAG = "arkit1-torch2.13-gxxabi1017-cxx11abi1"
MANIFEST = {"magic": 0x54494B41, "struct_size": 72, "api": 1, "count": 1, "abi_tag": ABI_TAG, "id": "org.example.fuzz", "version": "0.1.0",
            "vendor": "Example", "license": "Apache-2.0", "url": "https://example.org"}


def elf(manifest=None, components=((1, "fuzz", "a scheme"),), symbol="arkit_manifest", sections=None, header=None, segment=None, cut=None,
        relocate=True, dynsym=None):
    fields = {**MANIFEST, **(manifest or {})}
    body, base = bytearray(), 64 + 56  # ELF header, one program header

    def place(data, align=8):
        body.extend(bytes(-len(body) % align))
        body.extend(data)
        return base + len(body) - len(data)

    def string(value):
        return 0 if value is None else place((value if isinstance(value, bytes) else value.encode()) + b"\0", 1)

    relocations = []

    def pointers(at, values):
        relocations.extend((at + 8 * i, value) for i, value in enumerate(values) if value)

    table = []
    for kind, name, summary in components:
        table.append((kind, string(name), string(summary)))
    first = place(b"".join(struct.pack("<IIQQQQ", kind, 0, *([0] * 4 if relocate else [name, summary, 1, 1]))
                           for kind, name, summary in table))
    for i, (_, name, summary) in enumerate(table):
        pointers(first + 40 * i + 8, [name, summary])
    texts = [string(fields[key]) for key in ("abi_tag", "id", "version", "vendor", "license", "url")] + [fields.get("components", first)]
    at = place(struct.pack("<IIII7Q", fields["magic"], fields["struct_size"], fields["api"], fields["count"],
                           *([0] * 7 if relocate else texts)))
    pointers(at + 16, texts)
    names = place(b"\0" + symbol.encode() + b"\0", 1)
    symbols = place(bytes(24) + struct.pack("<IBBHQQ", 1, 0x11, 0, 1, at, 72))
    rela = place(b"".join(struct.pack("<QQq", where, 8, value) for where, value in relocations) if relocate else b"")
    strings_size = len(symbol) + 2
    table = sections if sections is not None else [
        (0, 0, 0, 0, 0), (11, 2, symbols, dynsym or 48, 2), (3, 2, names, strings_size, 0),
        (4, 2, rela, 24 * len(relocations) if relocate else 0, 0)]
    start = place(b"".join(struct.pack("<IIQQQQIIQQ", 0, kind, flags, offset, offset, size, link, 0, 1, 0)
                           for kind, flags, offset, size, link in table))
    end = base + len(body)
    values = {"ident": b"\x7fELF\x02\x01\x01" + bytes(9), "type": 3, "phoff": 64, "shoff": start, "phnum": 1, "shnum": len(table),
              **(header or {})}
    head = values["ident"] + struct.pack("<HHIQQQIHHHHHH", values["type"], 62, 1, 0, values["phoff"], values["shoff"], 0, 64, 56,
                                         values["phnum"], 64, values["shnum"], 0)
    load = {"offset": 0, "address": 0, "size": end, **(segment or {})}
    head += struct.pack("<IIQQQQQQ", 1, 5, load["offset"], load["address"], load["address"], load["size"], load["size"], 4096)
    return (head + bytes(body))[:cut]


def make_manifest():
    top = 2**64 - 1
    whole = elf()
    put("plugin_manifest", "valid", whole)
    put("plugin_manifest", "valid_in_place", elf(relocate=False))
    put("plugin_manifest", "valid_64_components", elf({"count": 64}, [(1 + i % 5, f"c{i}", "") for i in range(64)]))
    put("plugin_manifest", "no_manifest", elf(symbol="other"))
    for name, fields in {"magic": {"magic": 1}, "struct_small": {"struct_size": 8}, "struct_huge": {"struct_size": 2**32 - 1}, "api": {"api": 2},
                         "abi": {"abi_tag": "arkit1-torch1.0-gxxabi1-cxx11abi0"}, "count_zero": {"count": 0}, "count_more": {"count": 60},
                         "count_max": {"count": 2**32 - 1}, "id_null": {"id": None}, "id_hostile": {"id": "\x1b[2J../x"}, "id_empty": {"id": ""},
                         "id_long": {"id": "a" * 4000}, "vendor_utf8": {"vendor": b"\xff\xfe"}, "components_null": {"components": 0},
                         "components_end": {"components": len(whole) - 4}, "components_far": {"components": 2**63 - 8}}.items():
        put("plugin_manifest", "field_" + name, elf(fields))
    put("plugin_manifest", "component_kind_0", elf(components=[(0, "x", "")]))
    put("plugin_manifest", "component_kind_max", elf(components=[(2**32 - 1, "x", "")]))
    put("plugin_manifest", "component_name_null", elf(components=[(1, None, "")]))
    put("plugin_manifest", "component_name_path", elf(components=[(2, "../../etc", "")]))
    put("plugin_manifest", "component_name_long", elf(components=[(2, "n" * 129, "s" * 300)]))
    for name, header in {"32_bit": {"ident": b"\x7fELF\x01\x01\x01" + bytes(9)}, "big_endian": {"ident": b"\x7fELF\x02\x02\x01" + bytes(9)},
                         "executable": {"type": 2}, "phoff_max": {"phoff": top}, "phoff_wraps": {"phoff": top - 8}, "shoff_max": {"shoff": top - 63},
                         "phnum_max": {"phnum": 65535}, "shnum_max": {"shnum": 65535}, "no_segments": {"phnum": 0}, "no_sections": {"shnum": 0}}.items():
        put("plugin_manifest", "header_" + name, elf(header=header))
    for name, segment in {"offset_max": {"offset": top}, "size_max": {"size": top}, "address_wraps": {"address": top - 100},
                          "offset_beyond": {"offset": 10**6}, "size_short": {"size": 200}, "empty": {"size": 0}}.items():
        put("plugin_manifest", "segment_" + name, elf(segment=segment))
    size = len(whole)
    for name, sections in {"size_max": [(11, 2, 120, top, 1), (3, 2, 120, 10, 0)], "offset_max": [(11, 2, top, 48, 1), (3, 2, 120, 10, 0)],
                           "link_beyond": [(11, 2, 120, 48, 9)], "link_itself": [(11, 2, 120, 48, 0)], "strings_empty": [(11, 2, 120, 48, 1), (3, 2, 120, 0, 0)],
                           "strings_unfinished": [(11, 2, 120, 48, 1), (3, 2, size - 3, 3, 0)], "strings_nobits": [(11, 2, 120, 48, 1), (8, 2, top, top, 0)],
                           "rela_odd": [(11, 2, 120, 48, 1), (3, 2, 120, 10, 0), (4, 2, 121, 100, 0)], "symbols_odd": [(11, 2, 121, 47, 1), (3, 2, 120, 10, 0)],
                           "symbols_one": [(11, 2, 120, 23, 1), (3, 2, 120, 10, 0)]}.items():
        put("plugin_manifest", "section_" + name, elf(sections=sections))
    put("plugin_manifest", "empty", b"")
    for cut in (4, 63, 64, 100, 119, 200, size - 64, size - 1):
        put("plugin_manifest", f"cut_{cut if cut < 200 else 'end_%d' % (size - cut)}", elf(cut=cut))


make_safetensors()
make_index()
make_gguf()
make_config()
make_recipe()
make_recipe_yaml()
make_manifest()
