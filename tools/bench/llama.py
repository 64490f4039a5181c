"""Tokens a second of llama.cpp through llama-cpp-python: llama.py FILE.gguf THREADS; prints {"prefill": ..., "decode": ...}.

A prompt of 1,024 tokens, and 128 tokens after 8, as `arkit bench` measures them; the best of three each.
"""
import json
import sys
import time

import llama_cpp as llama

path, threads = sys.argv[1], int(sys.argv[2])
llama.llama_backend_init()
model = llama.llama_model_load_from_file(path.encode(), llama.llama_model_default_params())
settings = llama.llama_context_default_params()
settings.n_ctx, settings.n_batch, settings.n_ubatch = 2048, 2048, 512
settings.n_threads = settings.n_threads_batch = threads
context = llama.llama_init_from_model(model, settings)
memory = llama.llama_get_memory(context)


def feed(tokens, position):
    batch = llama.llama_batch_init(len(tokens), 0, 1)
    batch.n_tokens = len(tokens)
    for i, token in enumerate(tokens):
        batch.token[i], batch.pos[i], batch.n_seq_id[i] = token, position + i, 1
        batch.seq_id[i][0], batch.logits[i] = 0, i == len(tokens) - 1
    if llama.llama_decode(context, batch) != 0:
        sys.exit("llama_decode failed")
    llama.llama_batch_free(batch)


def best(prepare, work, repeats=3):
    seconds = []
    for _ in range(repeats):
        llama.llama_memory_clear(memory, True)
        prepare()
        start = time.perf_counter()
        work()
        llama.llama_synchronize(context)
        seconds.append(time.perf_counter() - start)
    return min(seconds)


tokens = [(i * 37) % 4000 + 100 for i in range(1024)]
prefill = 1024 / best(lambda: None, lambda: feed(tokens, 0))
decode = 128 / best(lambda: feed(tokens[:8], 0), lambda: [feed([tokens[i]], 8 + i) for i in range(128)])
print(json.dumps({"prefill": prefill, "decode": decode}))
