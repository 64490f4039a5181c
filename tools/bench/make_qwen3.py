"""A qwen3 model that has something to lose: SmolLM2 with the query and key norms of qwen3, taught by SmolLM2 itself.

make_qwen3.py SMOLLM2 TEXT.json OUT [--samples 64] [--seqlen 256] [--batch 4] [--block_steps 100] [--steps 20]

No trained qwen3 comes with the test data, and a random one is not sensitive to quantization. The norms start with the average size that
queries and keys have on the text. Then the attention of one block after the other learns to bring the student's hidden states back to the
teacher's (only attention runs backwards: minutes, not hours), and at the end the whole model is distilled for some steps (KL to SmolLM2).
"""
import argparse
import json

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen3Config, Qwen3ForCausalLM


def texts(path):
    rows = json.load(open(path))
    return "\n".join(row["text"] if isinstance(row, dict) else row for row in (rows["text"] if isinstance(rows, dict) else rows))


def start(teacher):
    c = teacher.config
    config = Qwen3Config(vocab_size=c.vocab_size, hidden_size=c.hidden_size, intermediate_size=c.intermediate_size,
                         num_hidden_layers=c.num_hidden_layers, num_attention_heads=c.num_attention_heads,
                         num_key_value_heads=c.num_key_value_heads, head_dim=c.hidden_size // c.num_attention_heads,
                         max_position_embeddings=c.max_position_embeddings, rms_norm_eps=c.rms_norm_eps, tie_word_embeddings=True,
                         rope_parameters=c.rope_parameters, bos_token_id=c.bos_token_id, eos_token_id=c.eos_token_id)
    student = Qwen3ForCausalLM(config).float()
    missing, unexpected = student.load_state_dict(teacher.state_dict(), strict=False)
    assert not unexpected and all("_norm" in name for name in missing), (missing, unexpected)
    return student


@torch.no_grad()
def measure_norms(teacher, student, ids):
    """q_norm and k_norm give queries and keys the size they have on average; their directions stay."""
    hooks = []
    for block, target in zip(teacher.model.layers, student.model.layers):
        for name in ("q", "k"):
            def see(_, __, out, norm=getattr(target.self_attn, name + "_norm")):
                norm.weight.fill_(out.float().pow(2).mean().sqrt())
            hooks.append(getattr(block.self_attn, name + "_proj").register_forward_hook(see))
    teacher(ids)
    for hook in hooks:
        hook.remove()


def attend(block, hidden, positions):
    """The hidden states after attention, before the MLP."""
    return hidden + block.self_attn(block.input_layernorm(hidden), position_embeddings=positions, attention_mask=None)[0]


def feed(block, hidden):
    return hidden + block.mlp(block.post_attention_layernorm(hidden))


def teach_block(block, inputs, goals, positions, a):
    norms = [p for name, p in block.self_attn.named_parameters() if "_norm" in name]
    others = [p for name, p in block.self_attn.named_parameters() if "_norm" not in name]
    rates = [1e-2, 3e-4]
    optimizer = torch.optim.Adam([{"params": norms}, {"params": others}], lr=rates[0])
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, total_steps=a.block_steps, pct_start=0.1)
    first = None
    for step in range(a.block_steps):
        rows = torch.randperm(len(inputs))[: a.batch]
        error = (attend(block, inputs[rows], positions) - goals[rows]).pow(2).sum(-1)
        loss = (error / goals[rows].pow(2).sum(-1)).mean()  # each token counts alike: the first ones are larger by orders of magnitude
        first = first or loss.item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return first, loss.item()


def teach_blocks(teacher, student, ids, a):
    positions = teacher.model.rotary_emb(torch.zeros(1), torch.arange(a.seqlen)[None])
    with torch.no_grad():
        theirs = teacher.model.embed_tokens(ids)
    ours = theirs.clone()
    in_batches = lambda step, *tensors: torch.cat([step(*part) for part in zip(*(t.split(a.batch) for t in tensors))])
    for i, (master, block) in enumerate(zip(teacher.model.layers, student.model.layers)):
        with torch.no_grad():
            goals = in_batches(lambda h: attend(master, h, positions), theirs)
        first, last = teach_block(block, ours, goals, positions, a)
        with torch.no_grad():
            ours = in_batches(lambda h: feed(block, attend(block, h, positions)), ours)
            theirs = in_batches(lambda h: feed(master, h), goals)
        print(f"block {i}: relative error after attention {first:.4f} -> {last:.4f}", flush=True)


def distill(teacher, student, ids, a):
    if not a.steps:
        return
    optimizer = torch.optim.AdamW(student.parameters(), lr=a.lr, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, a.lr, total_steps=a.steps, pct_start=0.1)
    for step in range(a.steps):
        batch = ids[torch.randperm(len(ids))[: a.batch]]
        with torch.no_grad():
            goal = teacher(batch).logits.log_softmax(-1)
        loss = torch.nn.functional.kl_div(student(batch).logits.log_softmax(-1).flatten(0, 1), goal.flatten(0, 1), log_target=True,
                                          reduction="batchmean")
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        print(f"step {step}: KL {loss.item():.4f}", flush=True)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("smollm2"), p.add_argument("text"), p.add_argument("out")
    p.add_argument("--samples", type=int, default=64)
    p.add_argument("--seqlen", type=int, default=256)
    p.add_argument("--batch", type=int, default=4)
    p.add_argument("--block_steps", type=int, default=100)
    p.add_argument("--steps", type=int, default=20)
    p.add_argument("--lr", type=float, default=1e-4)
    a = p.parse_args()
    torch.manual_seed(42)
    tokenizer = AutoTokenizer.from_pretrained(a.smollm2)
    teacher = AutoModelForCausalLM.from_pretrained(a.smollm2, dtype=torch.float32).eval()
    student = start(teacher)
    ids = tokenizer(texts(a.text), return_tensors="pt").input_ids[0]
    ids = ids[: len(ids) // a.seqlen * a.seqlen].view(-1, a.seqlen)
    ids = ids[torch.randperm(len(ids))[: a.samples]]
    measure_norms(teacher, student, ids[:8])
    teach_blocks(teacher, student, ids, a)
    save(student, tokenizer, a.out)
    distill(teacher, student, ids, a)
    save(student, tokenizer, a.out)


def save(student, tokenizer, out):
    state = {name: tensor.detach().bfloat16() for name, tensor in student.state_dict().items() if name != "lm_head.weight"}
    student.save_pretrained(out, state_dict=state)
    tokenizer.save_pretrained(out)


if __name__ == "__main__":
    main()
