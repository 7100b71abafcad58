"""What the parity tests share: tiny random models made by transformers, and pass_tool as a function."""
import json
import os
import pathlib
import subprocess

import numpy
import torch
import transformers

TOOL = os.environ.get("LIBLORA_PASS_TOOL", "pass_tool")
SHARED = pathlib.Path(os.environ.get("LIBLORA_SHARED", pathlib.Path(__file__).resolve().parents[3] / "shared"))

SMALL = dict(vocab_size=131, hidden_size=48, intermediate_size=80, num_hidden_layers=3, num_attention_heads=4,
             num_key_value_heads=2, max_position_embeddings=256, rms_norm_eps=1e-5, initializer_range=0.2)
LLAMA3 = {"rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 32}
LINEAR = {"rope_type": "linear", "rope_theta": 20000.0, "factor": 2.5}

# name: (configuration class, settings beside SMALL)
MODELS = {
    "llama": ("LlamaConfig", {}),
    "llama-biases": ("LlamaConfig", dict(attention_bias=True, mlp_bias=True)),
    "llama-tied": ("LlamaConfig", dict(tie_word_embeddings=True)),
    "llama-3": ("LlamaConfig", dict(rope_parameters=LLAMA3, head_dim=20)),
    "llama-linear": ("LlamaConfig", dict(rope_parameters=LINEAR)),
    "llama-all-heads": ("LlamaConfig", dict(num_key_value_heads=4)),
    "llama-gelu": ("LlamaConfig", dict(hidden_act="gelu_pytorch_tanh", rms_norm_eps=1e-6)),
    "mistral": ("MistralConfig", dict(sliding_window=None)),
    "mistral-window": ("MistralConfig", dict(sliding_window=5, head_dim=8)),
    "qwen2": ("Qwen2Config", dict(tie_word_embeddings=True)),
    "qwen2-window": ("Qwen2Config", dict(use_sliding_window=True, sliding_window=4, max_window_layers=1)),
    "qwen3": ("Qwen3Config", dict(head_dim=16)),
    "qwen3-tied": ("Qwen3Config", dict(head_dim=24, tie_word_embeddings=True, attention_bias=True)),
}


def make_model(name):
    kind, settings = MODELS[name]
    torch.manual_seed(sum(map(ord, name)))
    config = getattr(transformers, kind)(**{**SMALL, **settings}, attn_implementation="eager")
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            if parameter.ndim == 1:  # norms and biases are 1 and 0 otherwise, which would hide mistakes
                parameter += 0.3 * torch.randn_like(parameter)
    return model.eval()


def save_model(model, directory, **settings):
    model.save_pretrained(directory, **settings)
    return str(directory)


def random_spans(lengths, seed=0, vocabulary=SMALL["vocab_size"]):
    generator = numpy.random.default_rng(seed)
    return [generator.integers(0, vocabulary, length).tolist() for length in lengths]


def run_tool(directory, expect_failure=False, **request):
    """Runs pass_tool and returns its output directory, or its message when a failure is expected."""
    output = pathlib.Path(directory) / "output"
    output.mkdir(exist_ok=True)
    for old in output.iterdir():
        old.unlink()
    path = pathlib.Path(directory) / "request.json"
    path.write_text(json.dumps(request))
    done = subprocess.run([TOOL, str(path), str(output)], capture_output=True, text=True, timeout=120)
    if expect_failure:
        assert done.returncode == 1, f"expected a failure, got {done.returncode}: {done.stderr}"
        return done.stderr.strip()
    assert done.returncode == 0, done.stderr
    return output


def read(output, name, *shape):
    values = numpy.fromfile(output / f"{name}.f32", dtype=numpy.float32)
    return values.reshape(shape) if shape else values


def log_softmax(logits):
    return torch.log_softmax(torch.as_tensor(logits, dtype=torch.float64), -1).numpy()


def reference_logits(model, spans):
    with torch.no_grad():
        return numpy.concatenate([model(torch.tensor([span])).logits[0].numpy() for span in spans])
