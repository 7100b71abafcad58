"""Merging against PEFT's merge_and_unload, and merged models on disk against transformers."""

import json

import numpy
import pytest
import safetensors.torch
import torch

from peft_reference import (
    FAMILIES,
    IDS,
    load_base,
    make_adapter,
    make_base,
    read,
    read_log_probabilities,
    reference,
    run,
    run_well,
)


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    directory = tmp_path_factory.mktemp("bases")
    for name in FAMILIES:
        make_base(name, directory / name)
    make_base("llama", directory / "llama-bf16", torch.bfloat16)
    make_base("qwen3", directory / "qwen3-f16", torch.float16)
    return directory


def load_file(directory):
    tensors = {}
    for path in sorted(directory.glob("*.safetensors")):
        tensors |= safetensors.torch.load_file(path)
    return tensors


CASES = {
    "llama": dict(r=4, lora_alpha=7, target_modules="all-linear", bias="all"),
    "mistral": dict(r=3, use_rslora=True, target_modules=["q_proj", "o_proj", "lm_head"]),
    "qwen2": dict(r=4, modules_to_save=["embed_tokens", "lm_head", "norm"], bias="lora_only"),
    "qwen3": dict(r=2, target_modules=["up_proj", "down_proj"], alpha_pattern={"up_proj": 5}),
    "llama-tied": dict(r=2, modules_to_save=["embed_tokens"], ensure_weight_tying=True),
}


@pytest.mark.parametrize("family", CASES)
def test_merge_in_f32(family, bases, tmp_path):
    base = bases / family
    model = make_adapter(base, tmp_path / "adapter", **CASES[family])
    attached = reference(model)
    expected = model.merge_and_unload().state_dict()
    results = run_well(
        tmp_path,
        base,
        dict(op="load", path=str(tmp_path / "adapter")),
        dict(op="merge", weights=[1]),
        dict(op="logits", ids=IDS, merged=True, file=str(tmp_path / "merged.f32")),
        dict(op="save_model", merged=True, path=str(tmp_path / "merged")),
    )
    report = results[1]["report"]
    ours = load_file(tmp_path / "merged")
    originals = load_file(base)
    assert ours.keys() == originals.keys()
    for name, value in ours.items():
        assert (value - expected[name]).abs().max() <= 1e-6, name
    changed = [name for name in ours if not torch.equal(ours[name], originals[name])]
    assert report["merged_tensors"] == len(changed) > 0
    assert report["max_change"] == pytest.approx(max((ours[name] - originals[name]).abs().max() for name in changed))
    assert report["max_rounding"] == 0 and report["mean_rounding"] == 0
    assert report["probe_max_difference"] < 1e-4 and abs(report["probe_mean_divergence"]) < 1e-6
    assert numpy.abs(read_log_probabilities(tmp_path / "merged.f32") - attached).max() < 1e-4
    assert numpy.abs(reference(load_base(tmp_path / "merged")) - attached).max() < 1e-4


def test_adapted_head_is_untied(bases, tmp_path):
    base = bases / "llama-tied"
    model = make_adapter(base, tmp_path / "adapter", r=2, target_modules=["v_proj", "lm_head"])
    attached = reference(model)
    run_well(
        tmp_path,
        base,
        dict(op="load", path=str(tmp_path / "adapter")),
        dict(op="merge", weights=[1]),
        dict(op="logits", ids=IDS, merged=True, file=str(tmp_path / "merged.f32")),
        dict(op="save_model", merged=True, path=str(tmp_path / "merged")),
    )
    assert numpy.abs(read_log_probabilities(tmp_path / "merged.f32") - attached).max() < 1e-4
    assert json.loads((tmp_path / "merged/config.json").read_text())["tie_word_embeddings"] is False
    ours, originals = load_file(tmp_path / "merged"), load_file(base)
    assert ours.keys() - originals.keys() == {"lm_head.weight"}
    assert torch.equal(ours["model.embed_tokens.weight"], originals["model.embed_tokens.weight"])
    assert numpy.abs(reference(load_base(tmp_path / "merged")) - attached).max() < 1e-4
    run_well(tmp_path, tmp_path / "merged", dict(op="logits", ids=IDS, file=str(tmp_path / "again.f32")))
    assert numpy.abs(read_log_probabilities(tmp_path / "again.f32") - attached).max() < 1e-4


def test_weights_and_several_adapters(bases, tmp_path):
    base = bases / "qwen3"
    models = [
        make_adapter(base, tmp_path / str(i), seed=i, r=2 + i, target_modules=["q_proj", "up_proj"][: 2 - i])
        for i in range(2)
    ]
    loads = [dict(op="load", path=str(tmp_path / str(i))) for i in range(2)]
    run_well(
        tmp_path,
        base,
        *loads,
        dict(op="merge", weights=[0.5, -2]),
        dict(op="save_model", merged=True, path=str(tmp_path / "merged")),
    )
    ours, originals = load_file(tmp_path / "merged"), load_file(base)
    deltas = [
        {name: value - originals[name] for name, value in model.merge_and_unload().state_dict().items()}
        for model in models
    ]
    for name, value in ours.items():
        expected = originals[name] + 0.5 * deltas[0][name] - 2 * deltas[1][name]
        assert (value - expected).abs().max() <= 2e-6, name


@pytest.mark.parametrize(
    "base_name,asked,stored",
    [
        ("llama-bf16", None, torch.bfloat16),
        ("qwen3-f16", None, torch.float16),
        ("llama", "bf16", torch.bfloat16),
        ("llama-bf16", "f32", torch.float32),
        ("llama", "f16", torch.float16),
    ],
)
def test_rounding_is_done_once_and_reported(base_name, asked, stored, bases, tmp_path):
    base = bases / base_name
    settings = dict(r=4, target_modules=["q_proj", "down_proj"], bias="lora_only")
    make_adapter(base, tmp_path / "adapter", scale=0.05, **settings)
    adapter = safetensors.torch.load_file(tmp_path / "adapter/adapter_model.safetensors")
    results = run_well(
        tmp_path,
        base,
        dict(op="load", path=str(tmp_path / "adapter")),
        dict(op="merge", weights=[1], **(dict(type=asked) if asked else {})),
        dict(op="save_model", merged=True, path=str(tmp_path / "merged")),
    )
    ours, originals = load_file(tmp_path / "merged"), load_file(base)
    prefix, roundings = "base_model.model.", []
    for name, original in originals.items():
        module, kind = name.rsplit(".", 1)
        exact = original.double()
        if prefix + module + ".lora_A.weight" in adapter and kind == "weight":
            b, a = (adapter[f"{prefix}{module}.lora_{letter}.weight"].double() for letter in "BA")
            exact = exact + 8 / 4 * b @ a
        if prefix + module + ".base_layer.bias" in adapter and kind == "bias":
            exact = adapter[prefix + module + ".base_layer.bias"].double()
        assert ours[name].dtype == stored, name
        assert (ours[name].double() - exact).abs().max() <= (
            exact.float().to(stored).double() - exact
        ).abs().max() + 1e-6
        if not torch.equal(exact.float(), original.float()):
            assert stored == torch.float32 or (ours[name] == exact.float().to(stored)).float().mean() > 0.999, name
            roundings.append((ours[name].double() - exact).abs().flatten())
    report = results[1]["report"]
    roundings = torch.cat(roundings)
    assert report["max_rounding"] == pytest.approx(roundings.max().item(), rel=1e-2, abs=1e-6)
    assert report["mean_rounding"] == pytest.approx(roundings.mean().item(), rel=1e-2, abs=1e-6)
    config = json.loads((tmp_path / "merged/config.json").read_text())
    assert config["dtype"] == str(stored).removeprefix("torch.")
    # The probe sees what rounding did, and only that.
    if asked == "f32":
        assert report["probe_max_difference"] < 1e-4
    elif asked != "f16":
        assert 1e-5 < report["probe_max_difference"] < 0.5 and 0 < report["probe_mean_divergence"] < 0.1


def test_base_keeps_its_bits(bases, tmp_path):
    base = bases / "llama-bf16"
    make_adapter(base, tmp_path / "adapter", target_modules="all-linear")
    names = ["model.layers.1.self_attn.q_proj.weight", "model.layers.2.mlp.down_proj.weight", "lm_head.weight"]
    weights = lambda stage: [
        dict(op="weight", tensor=name, file=str(tmp_path / f"{stage}{i}")) for i, name in enumerate(names)
    ]
    run_well(
        tmp_path,
        base,
        *weights("before"),
        dict(op="logits", ids=IDS, file=str(tmp_path / "logits-before")),
        dict(op="load", path=str(tmp_path / "adapter")),
        dict(op="merge", weights=[1]),
        *weights("during"),
        dict(op="unmerge"),
        *weights("after"),
        dict(op="logits", ids=IDS, file=str(tmp_path / "logits-after")),
    )
    for i in range(len(names)):
        before = (tmp_path / f"before{i}").read_bytes()
        assert before == (tmp_path / f"during{i}").read_bytes() == (tmp_path / f"after{i}").read_bytes()
    assert (tmp_path / "logits-before").read_bytes() == (tmp_path / "logits-after").read_bytes()


def test_merged_full_fine_tuning(bases, tmp_path):
    base = bases / "qwen2"
    run_well(
        tmp_path,
        base,
        dict(op="create", full=True),
        dict(op="noise", scale=0.05),
        dict(op="merge", weights=[1]),
        dict(op="logits", ids=IDS, weights=[1], file=str(tmp_path / "attached")),
        dict(op="save_model", merged=True, path=str(tmp_path / "merged")),
    )
    assert (
        numpy.abs(reference(load_base(tmp_path / "merged")) - read_log_probabilities(tmp_path / "attached")).max()
        < 1e-4
    )
    assert all(not torch.equal(value, load_file(base)[name]) for name, value in load_file(tmp_path / "merged").items())


def test_same_shards_and_companions(tmp_path):
    """Shards, their order of names, the index, config.json and the tokenizer's files are those of the base."""
    base = tmp_path / "base"
    make_base("mistral", base, torch.bfloat16, max_shard_size="25kB")
    for name in ("tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja", "generation_config.json"):
        (base / name).write_text(f'{{"chat_template": "of {name}"}}')
    (base / "notes.txt").write_text("private")
    make_adapter(base, tmp_path / "adapter", target_modules=["q_proj"])
    run_well(
        tmp_path,
        base,
        dict(op="load", path=str(tmp_path / "adapter")),
        dict(op="merge", weights=[1]),
        dict(op="save_model", merged=True, path=str(tmp_path / "merged")),
        dict(op="save_model", path=str(tmp_path / "copy")),
    )
    names = sorted(path.name for path in base.iterdir())
    names.remove("notes.txt")
    assert len([name for name in names if name.endswith(".safetensors")]) > 2
    for copy in (tmp_path / "merged", tmp_path / "copy"):
        assert sorted(path.name for path in copy.iterdir()) == names
        indices = [json.loads((path / "model.safetensors.index.json").read_text()) for path in (base, copy)]
        assert indices[0]["weight_map"] == indices[1]["weight_map"]
        assert indices[0]["metadata"]["total_size"] == indices[1]["metadata"]["total_size"]
        for name in names:
            if name.endswith("json") and "index" not in name or name.endswith("jinja"):
                assert (base / name).read_bytes() == (copy / name).read_bytes(), name
    for path in base.glob("*.safetensors"):
        assert (
            safetensors.torch.load_file(path).keys()
            == safetensors.torch.load_file(tmp_path / "merged" / path.name).keys()
        )
    assert all(torch.equal(value, load_file(base)[name]) for name, value in load_file(tmp_path / "copy").items())


def test_refusals(bases, tmp_path):
    base = bases / "llama"
    make_adapter(base, tmp_path / "adapter")
    make_adapter(base, tmp_path / "biases", bias="all")
    (tmp_path / "there").mkdir()
    for name in ("precious", "vocab.json", "config.json"):
        (tmp_path / "there" / name).write_text("of another model")
    load = dict(op="load", path=str(tmp_path / "adapter"))
    results = run(
        tmp_path,
        base,
        load,
        dict(op="load", path=str(tmp_path / "biases")),
        dict(op="merge", weights=[1], type="q8_0"),
        dict(op="merge", weights=[1, 0.5]),
        dict(op="merge", weights=[float("1e30")], type="f16"),
        dict(op="save_model", path=str(tmp_path / "there")),
        dict(op="save_model", path=str(tmp_path / "there"), overwrite=True),
    )
    assert [(result["status"], result["message"]) for result in results[2:4]] == [
        ("LORA_ERROR_UNSUPPORTED", "lora_model_merge: a model is merged to f32, f16 or bf16, not to q8_0"),
        (
            "LORA_ERROR_UNSUPPORTED",
            "adapter 2 of 2 replaces whole tensors (biases or modules_to_save): it can be used with weight 1 "
            "only, not 0.5",
        ),
    ]
    assert (
        results[4]["status"] == "LORA_ERROR_NOT_FINITE"
        and "too large for f16; merge to bf16 or f32" in results[4]["message"]
    )
    assert results[5]["status"] == "LORA_ERROR_EXISTS" and str(tmp_path / "there") in results[5]["message"]
    assert results[6]["status"] == "LORA_OK" and (tmp_path / "there/config.json").exists()
    assert (tmp_path / "there/precious").exists() and not (tmp_path / "there/vocab.json").exists()
    assert not [path.name for path in tmp_path.iterdir() if "there" in path.name and path.name != "there"]
