"""The reference: tiny random models of each family in transformers, adapters in PEFT, and a plain torch training loop
that does what transformers' Trainer does (token-mean loss over a step, global-norm clipping, decoupled AdamW, its
schedules)."""
import numpy
import torch
import transformers
from peft import LoraConfig, get_peft_model
from transformers import get_scheduler

torch.set_num_threads(1)  # the models are tiny: more threads only wait for each other

VOCABULARY = 96
SHAPE = dict(vocab_size=VOCABULARY, hidden_size=32, intermediate_size=56, num_hidden_layers=2, num_attention_heads=4,
             num_key_value_heads=2, max_position_embeddings=128, rms_norm_eps=1e-6, attn_implementation="eager",
             initializer_range=0.15)

FAMILIES = {
    "llama": lambda: transformers.LlamaConfig(**SHAPE, attention_bias=True, mlp_bias=True, tie_word_embeddings=False),
    # a window shorter than the rows
    "mistral": lambda: transformers.MistralConfig(**SHAPE, head_dim=12, sliding_window=7, tie_word_embeddings=False),
    "qwen2": lambda: transformers.Qwen2Config(**SHAPE, tie_word_embeddings=True),
    "qwen3": lambda: transformers.Qwen3Config(**SHAPE, head_dim=16, attention_bias=True, tie_word_embeddings=False),
}


def make_model(family, seed=0):
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(FAMILIES[family]()).float()
    with torch.no_grad():  # biases and norms that are not 0 and 1, so that they count
        for name, p in model.named_parameters():
            if p.dim() == 1:
                p.add_(torch.randn_like(p) * 0.1)
    return model.eval()


def make_rows(count=12, seed=0, longest=24):
    """Rows of (ids, labels): a prompt that is not learnt, an answer that is."""
    generator = numpy.random.default_rng(seed)
    rows = []
    for _ in range(count):
        length = int(generator.integers(8, longest + 1))
        ids = generator.integers(0, VOCABULARY, length)
        labels = ids.copy()
        labels[: int(generator.integers(1, length // 2))] = -100
        rows.append((ids.astype(numpy.int32), labels.astype(numpy.int32)))
    return rows


def add_adapter(model, seed=1, **settings):
    torch.manual_seed(seed)
    settings.setdefault("target_modules", ["q_proj", "v_proj"])
    return get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", lora_dropout=0.0, **settings))


def row_losses(model, ids, labels):
    logits = model(input_ids=torch.tensor(ids[None], dtype=torch.long)).logits[0].float()
    return torch.nn.functional.cross_entropy(logits[:-1], torch.tensor(labels[1:], dtype=torch.long), ignore_index=-100,
                                             reduction="sum")


def packed_loss(model, rows, window=None):
    """All rows as one sequence: positions begin anew and no row sees another."""
    ids = numpy.concatenate([r[0] for r in rows])
    positions = numpy.concatenate([numpy.arange(len(r[0])) for r in rows])
    document = numpy.concatenate([numpy.full(len(r[0]), i) for i, r in enumerate(rows)])
    seen = (document[:, None] == document[None]) & (positions[:, None] >= positions[None])
    if window:
        seen &= positions[:, None] - positions[None] < window
    mask = torch.where(torch.tensor(seen), 0.0, torch.finfo(torch.float32).min)[None, None]
    logits = model(input_ids=torch.tensor(ids[None], dtype=torch.long),
                   position_ids=torch.tensor(positions[None], dtype=torch.long), attention_mask=mask).logits[0]
    targets = numpy.concatenate([numpy.append(r[1][1:], -100) for r in rows])
    return torch.nn.functional.cross_entropy(logits, torch.tensor(targets, dtype=torch.long), ignore_index=-100,
                                             reduction="sum")


def label_count(rows):
    return sum(int((labels[1:] != -100).sum()) for _, labels in rows)


def decay_groups(model, weight_decay):
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    plain = [p for n, p in named if "bias" in n or "norm" in n]
    return [{"params": [p for n, p in named if not ("bias" in n or "norm" in n)], "weight_decay": weight_decay},
            {"params": plain, "weight_decay": 0.0}]


def train(model, rows, steps, batch, accumulation=1, learning_rate=5e-3, schedule="linear", warmup=0, weight_decay=0.0,
          max_grad_norm=1.0, packed=False, epsilon=1e-8):
    """Losses and gradient norms of each step; rows are taken in order, over and over."""
    optimizer = torch.optim.AdamW(decay_groups(model, weight_decay), lr=learning_rate, betas=(0.9, 0.999), eps=epsilon)
    scheduler = get_scheduler(schedule, optimizer, num_warmup_steps=warmup, num_training_steps=steps)
    window = getattr(model.config, "sliding_window", None) if model.config.model_type == "mistral" else None
    batches = [rows[i:i + batch] for i in range(0, len(rows), batch)]
    windows = [batches[i:i + accumulation] for i in range(0, len(batches), accumulation)]
    losses, norms = [], []
    for step in range(steps):
        window_rows = [row for b in windows[step % len(windows)] for row in b]
        labels = label_count(window_rows)
        if packed:
            loss = packed_loss(model, window_rows, window) / labels
        else:
            loss = sum(row_losses(model, *row) for row in window_rows) / labels
        loss.backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad],
                                                          max_grad_norm)))
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        losses.append(float(loss))
    return numpy.array(losses), numpy.array(norms)


def relative(a, b):
    a, b = numpy.asarray(a, numpy.float64), numpy.asarray(b, numpy.float64)
    return float(numpy.linalg.norm(a - b) / max(numpy.linalg.norm(b), 1e-30))
