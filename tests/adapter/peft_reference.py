"""What the adapter tests share: tiny random bases, adapters made by PEFT, and adapter_tool as a function."""

import json
import os
import pathlib
import subprocess

import numpy
import peft
import torch
import transformers

torch.set_num_threads(1)
TOOL = os.environ.get("LIBLORA_ADAPTER_TOOL", "adapter_tool")
SHARED = pathlib.Path(os.environ.get("LIBLORA_SHARED", pathlib.Path(__file__).resolve().parents[3] / "shared"))

SMALL = dict(
    vocab_size=97,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=64,
    initializer_range=0.2,
)
FAMILIES = {
    "llama": ("LlamaConfig", dict(attention_bias=True, mlp_bias=True)),
    "mistral": ("MistralConfig", dict(sliding_window=5)),
    "qwen2": ("Qwen2Config", {}),
    "qwen3": ("Qwen3Config", dict(head_dim=16)),
    "llama-tied": ("LlamaConfig", dict(tie_word_embeddings=True)),
}
IDS = [3, 41, 5, 92, 65, 35, 8, 97 - 1, 79, 32, 38, 46]


def make_base(name, directory, dtype=torch.float32, **save):
    """A base on disk and in memory."""
    kind, settings = FAMILIES[name]
    torch.manual_seed(sum(map(ord, name)))
    config = getattr(transformers, kind)(**{**SMALL, **settings}, attn_implementation="eager")
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter += 0.3 * torch.randn_like(parameter)
    model = model.to(dtype).eval()
    model.save_pretrained(directory, **save)
    return model


def load_base(directory):
    return transformers.AutoModelForCausalLM.from_pretrained(
        directory, attn_implementation="eager", dtype="auto"
    ).eval()


def make_adapter(base_directory, directory, seed=5, scale=0.1, **settings):
    """An adapter that PEFT made, with trained tensors that are not at their start."""
    model = peft.get_peft_model(load_base(base_directory), peft.LoraConfig(task_type="CAUSAL_LM", **settings)).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad and "lora_A" not in name:
                parameter += scale * torch.randn(parameter.shape, generator=generator)
    model.save_pretrained(directory)
    return model


def load_adapter(base_directory, directory):
    """An adapter as PEFT loads it; a missing or unexpected key fails."""
    model = peft.PeftModelForCausalLM(load_base(base_directory), peft.PeftConfig.from_pretrained(directory))
    result = model.load_adapter(str(directory), "default")
    assert not result.missing_keys and not result.unexpected_keys
    return model.eval()


def log_probabilities(logits):
    return torch.log_softmax(torch.as_tensor(numpy.asarray(logits), dtype=torch.float64), -1).numpy()


def reference(model, ids=IDS):
    with torch.no_grad():
        return log_probabilities(model(torch.tensor([ids])).logits[0].float().numpy())


def run(directory, base, *operations, **settings):
    """Results of adapter_tool's operations on a base."""
    request = pathlib.Path(directory) / "request.json"
    request.write_text(json.dumps(dict(model=str(base), operations=operations, **settings)))
    done = subprocess.run([TOOL, str(request)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def run_well(directory, base, *operations, **settings):
    """The same, where every operation must succeed."""
    results = run(directory, base, *operations, **settings)
    for operation, result in zip(operations, results):
        assert result["status"] == "LORA_OK", (operation, result["message"])
    return results


def read(path, *shape):
    values = numpy.fromfile(path, dtype=numpy.float32)
    return values.reshape(shape) if shape else values


def read_log_probabilities(path, ids=IDS):
    return log_probabilities(read(path, len(ids), -1))
