"""Adapters that PEFT wrote work here, those written here work in PEFT, and both give the same numbers."""

import json

import numpy
import peft
import pytest
import safetensors.torch
import torch

from peft_reference import (
    FAMILIES,
    IDS,
    load_adapter,
    load_base,
    make_adapter,
    make_base,
    read_log_probabilities,
    reference,
    run,
    run_well,
)

EVERY_FAMILY = {
    "default": dict(r=8, lora_alpha=16),
    "all-linear": dict(r=3, lora_alpha=5, target_modules="all-linear"),
    "bias-all": dict(r=4, bias="all", target_modules=["k_proj", "up_proj"]),
}
LLAMA = {
    "rslora": dict(r=8, lora_alpha=4, use_rslora=True),
    "bias-lora-only": dict(r=4, bias="lora_only", target_modules=["o_proj", "down_proj"]),
    "rank-pattern": dict(
        r=4,
        target_modules=["q_proj", "v_proj", "mlp.up_proj"],
        rank_pattern={"v_proj": 2, r"layers\.1\.mlp\.up_proj": 7, "_proj": 1},
    ),
    "alpha-pattern": dict(
        r=4,
        lora_alpha=3,
        target_modules=["q_proj", "v_proj"],
        use_rslora=True,
        alpha_pattern={"^model.layers.0.self_attn.q_proj": 9, "v_proj": 0.5},
    ),
    "regex": dict(r=2, target_modules=r".*layers\.[02]\..*(q|gate)_proj"),
    "full-names": dict(r=2, target_modules=["model.layers.2.self_attn.q_proj", "layers.0.mlp.gate_proj"]),
    "excluded": dict(r=2, target_modules=["q_proj", "v_proj"], exclude_modules=["layers.1.self_attn.q_proj"]),
    "excluded-regex": dict(r=2, target_modules="all-linear", exclude_modules=r".*(mlp|layers\.2).*"),
    "layers": dict(r=2, target_modules=["q_proj", "model.layers.2.self_attn.v_proj"], layers_to_transform=[0, 1]),
    "layers-pattern": dict(r=2, target_modules=["up_proj"], layers_to_transform=1, layers_pattern="layers"),
    "modules-to-save": dict(r=2, modules_to_save=["embed_tokens", "lm_head"]),
    "norms-to-save": dict(r=2, modules_to_save=["norm"]),
    "container-to-save": dict(r=2, modules_to_save=["layers.1.mlp"]),
    "head": dict(r=2, target_modules=["q_proj", "lm_head"]),
    "dropout": dict(r=2, lora_dropout=0.25),
    "gaussian": dict(r=2, init_lora_weights="gaussian"),
}
CASES = [
    (family, name, settings)
    for name, settings in EVERY_FAMILY.items()
    for family in ("llama", "mistral", "qwen2", "qwen3")
]
CASES += [("llama", name, settings) for name, settings in LLAMA.items()]
CASES += [
    ("llama-tied", "tied", dict(r=2, modules_to_save=["embed_tokens"], ensure_weight_tying=True)),
    ("llama-tied", "tied-head-adapted", dict(r=2, target_modules=["v_proj", "lm_head"])),
    ("qwen3", "norms-of-heads", dict(r=2, modules_to_save=["norm"])),
]


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    """Directories of the bases, made once."""
    directory = tmp_path_factory.mktemp("bases")
    for name in FAMILIES:
        make_base(name, directory / name)
    return directory


@pytest.mark.parametrize("family,name,settings", CASES, ids=[f"{family}-{name}" for family, name, _ in CASES])
def test_from_peft_and_back(family, name, settings, bases, tmp_path):
    base = bases / family
    expected = reference(make_adapter(base, tmp_path / "theirs", **settings))
    run_well(
        tmp_path,
        base,
        dict(op="load", path=str(tmp_path / "theirs")),
        dict(op="logits", ids=IDS, weights=[1], file=str(tmp_path / "attached")),
        dict(op="save", path=str(tmp_path / "ours")),
    )
    assert numpy.abs(read_log_probabilities(tmp_path / "attached") - expected).max() < 1e-4
    assert numpy.abs(reference(load_adapter(base, tmp_path / "ours")) - expected).max() < 1e-6

    theirs = safetensors.torch.load_file(tmp_path / "theirs/adapter_model.safetensors")
    ours = safetensors.torch.load_file(tmp_path / "ours/adapter_model.safetensors")
    # PEFT repeats the base's own weight of an adapted head; here it is not.
    theirs = {key: value for key, value in theirs.items() if not key.endswith("base_layer.weight")}
    assert theirs.keys() == ours.keys()
    assert all(torch.equal(value, ours[key]) for key, value in theirs.items())
    configs = [json.loads((tmp_path / side / "adapter_config.json").read_text()) for side in ("theirs", "ours")]
    for config in configs:
        for key in ("target_modules", "exclude_modules"):
            config[key] = sorted(config[key]) if isinstance(config[key], list) else config[key]
        if isinstance(config["layers_to_transform"], int):
            config["layers_to_transform"] = [config["layers_to_transform"]]
        if isinstance(config["layers_pattern"], str):
            config["layers_pattern"] = [config["layers_pattern"]]
    assert configs[0] == configs[1]


CREATED = {
    "default": dict(),
    "rslora": dict(r=4, lora_alpha=2, use_rslora=True),
    "bias-all": dict(bias="all", target_modules=["q_proj"]),
    "bias-lora-only": dict(bias="lora_only", target_modules=["k_proj", "down_proj"]),
    "all-linear": dict(target_modules=["all-linear"], r=2),
    "regex": dict(target_regex=r"model\.layers\.\d\.mlp\.(up|down)_proj", r=2),
    "patterns": dict(
        target_modules=["q_proj", "o_proj"],
        rank_pattern={"layers.1.self_attn.q_proj": 3},
        alpha_pattern={"o_proj": 2.5},
    ),
    "layers": dict(target_modules=["v_proj"], layers_to_transform=[2]),
    "excluded": dict(target_modules=["v_proj", "q_proj"], exclude_modules=["layers.0.self_attn.v_proj"]),
    "modules-to-save": dict(modules_to_save=["lm_head", "embed_tokens", "model.norm"]),
    "head": dict(target_modules=["lm_head"]),
}


def peft_settings(settings):
    settings = dict(settings)
    if settings.get("target_modules") == ["all-linear"]:
        settings["target_modules"] = "all-linear"
    if "target_regex" in settings:
        settings["target_modules"] = settings.pop("target_regex")
    return settings


@pytest.mark.parametrize(
    "family,name",
    [("llama", name) for name in CREATED]
    + [("llama-tied", "modules-to-save")]
    + [(family, "all-linear") for family in ("mistral", "qwen2", "qwen3")],
)
def test_created_here(family, name, bases, tmp_path):
    """The same tensors as PEFT makes for the same settings, and the same numbers in both."""
    base = bases / family
    results = run_well(
        tmp_path,
        base,
        dict(op="create", seed=9, **CREATED[name]),
        dict(op="tensors"),
        dict(op="info"),
        dict(op="noise"),
        dict(op="save", path=str(tmp_path / "ours")),
        dict(op="logits", ids=IDS, weights=[1], file=str(tmp_path / "attached")),
    )
    ours = load_adapter(base, tmp_path / "ours")
    assert numpy.abs(read_log_probabilities(tmp_path / "attached") - reference(ours)).max() < 1e-4

    tying = dict(ensure_weight_tying=True) if family == "llama-tied" else {}
    theirs = peft.get_peft_model(
        load_base(base), peft.LoraConfig(task_type="CAUSAL_LM", **tying, **peft_settings(CREATED[name]))
    )
    state = peft.get_peft_model_state_dict(theirs)
    shapes = {key: list(value.shape) for key, value in state.items() if not key.endswith("base_layer.weight")}
    written = safetensors.torch.load_file(tmp_path / "ours/adapter_model.safetensors")
    assert shapes == {key: list(value.shape) for key, value in written.items()}
    trainable = sum(parameter.numel() for parameter in theirs.parameters() if parameter.requires_grad)
    assert results[2]["parameters"] == trainable
    assert results[2]["base_name"] == str(base)
    for tensor_name, _, _, decay in results[1]["tensors"]:
        assert decay == ("bias" not in tensor_name and "norm" not in tensor_name)


def test_order_of_tensors(bases, tmp_path):
    """In the order of modules; A, then B, then what is replaced."""
    names = [
        name
        for name, *_ in run_well(
            tmp_path,
            bases / "llama",
            dict(op="create", bias="lora_only", modules_to_save=["lm_head"]),
            dict(op="tensors"),
        )[1]["tensors"]
    ]
    expected = []
    for layer in range(3):
        for projection in ("q_proj", "v_proj"):
            module = f"base_model.model.model.layers.{layer}.self_attn.{projection}"
            expected += [module + ".lora_A.weight", module + ".lora_B.weight", module + ".base_layer.bias"]
    assert names == expected + ["base_model.model.lm_head.weight"]


def test_config_has_every_key_at_its_default(bases, tmp_path):
    run_well(tmp_path, bases / "qwen2", dict(op="create"), dict(op="save", path=str(tmp_path / "ours")))
    text = (tmp_path / "ours/adapter_config.json").read_text()
    make_adapter(bases / "qwen2", tmp_path / "theirs")
    theirs = json.loads((tmp_path / "theirs/adapter_config.json").read_text())
    theirs["target_modules"] = sorted(theirs["target_modules"])
    assert text == json.dumps(theirs, indent=2, sort_keys=True)
    assert sorted(path.name for path in (tmp_path / "ours").iterdir()) == sorted(
        path.name for path in (tmp_path / "theirs").iterdir()
    )


def test_starting_values(bases, tmp_path):
    """A ~ U(-1/sqrt(in), 1/sqrt(in)) or N(0, 1/r^2), B = 0; another draw for another seed, the same for the same."""
    settings = dict(op="create", r=32, target_modules=["down_proj"])
    paths = [tmp_path / name for name in ("a", "b", "c", "g")]
    operations = []
    for index, (path, extra) in enumerate(
        zip(paths, (dict(seed=1), dict(seed=1), dict(seed=2), dict(seed=1, init_lora_weights="gaussian")))
    ):
        operations += [dict(settings, **extra), dict(op="save", path=str(path), adapter=index)]
    run_well(tmp_path, bases / "llama", *operations)
    uniform, same, other, normal = [safetensors.torch.load_file(path / "adapter_model.safetensors") for path in paths]
    first = torch.cat([value.flatten() for key, value in uniform.items() if "lora_A" in key])
    bound = 48**-0.5
    assert first.abs().max() <= bound and first.abs().max() > 0.99 * bound
    assert abs(first.mean()) < 0.02 * bound and abs(first.std() / bound - 3**-0.5) < 0.02
    gaussian = torch.cat([value.flatten() for key, value in normal.items() if "lora_A" in key])
    assert abs(gaussian.mean()) < 0.03 / 32 and abs(gaussian.std() * 32 - 1) < 0.05
    assert (gaussian.abs() * 32 > 1.96).float().mean() == pytest.approx(0.05, abs=0.015)
    assert all(not value.any() for key, value in uniform.items() if "lora_B" in key)
    assert all(torch.equal(value, same[key]) for key, value in uniform.items())
    assert not any(torch.equal(value, other[key]) for key, value in uniform.items() if "lora_A" in key)


def test_several_adapters_with_weights(bases, tmp_path):
    base = bases / "qwen3"
    for index, settings in enumerate((dict(r=3), dict(r=5, target_modules=["q_proj", "up_proj"]))):
        make_adapter(base, tmp_path / str(index), seed=index, **settings)
    loads = [dict(op="load", path=str(tmp_path / str(index))) for index in range(2)]
    run_well(
        tmp_path,
        base,
        *loads,
        dict(op="logits", ids=IDS, weights=[0.5, -1.25], file=str(tmp_path / "both")),
        dict(op="logits", ids=IDS, weights=[], file=str(tmp_path / "none")),
    )
    model = peft.PeftModel.from_pretrained(load_base(base), tmp_path / "0", adapter_name="0")
    model.load_adapter(str(tmp_path / "1"), "1")
    model.base_model.set_adapter(["0", "1"])
    for module in model.modules():
        if isinstance(module, peft.tuners.lora.LoraLayer):
            for name, weight in (("0", 0.5), ("1", -1.25)):
                if name in module.scaling:
                    module.scaling[name] *= weight
    assert numpy.abs(read_log_probabilities(tmp_path / "both") - reference(model.eval())).max() < 1e-4
    assert numpy.abs(read_log_probabilities(tmp_path / "none") - reference(load_base(base))).max() < 1e-4


def test_half_precision_files_and_other_spellings(bases, tmp_path):
    """f16 and bf16 tensors, names without the prefix, names with the adapter's name in them."""
    base = bases / "llama"
    expected = reference(make_adapter(base, tmp_path / "theirs", r=4))
    path = tmp_path / "theirs/adapter_model.safetensors"
    tensors = safetensors.torch.load_file(path)
    spellings = {
        "plain": lambda key: key.removeprefix("base_model.model."),
        "named": lambda key: key.replace(".weight", ".default.weight"),
        "both": lambda key: key.removeprefix("base_model.model.").replace(".weight", ".my_adapter.weight"),
    }
    for spell in spellings.values():
        safetensors.torch.save_file({spell(key): value for key, value in tensors.items()}, path)
        run_well(
            tmp_path,
            base,
            dict(op="load", path=str(tmp_path / "theirs")),
            dict(op="logits", ids=IDS, weights=[1], file=str(tmp_path / "attached")),
        )
        assert numpy.abs(read_log_probabilities(tmp_path / "attached") - expected).max() < 1e-4
    for dtype in (torch.float16, torch.bfloat16):
        rounded = {key: value.to(dtype) for key, value in tensors.items()}
        safetensors.torch.save_file(rounded, path)
        run_well(
            tmp_path,
            base,
            dict(op="load", path=str(tmp_path / "theirs")),
            dict(op="save", path=str(tmp_path / "ours"), overwrite=True),
        )
        ours = safetensors.torch.load_file(tmp_path / "ours/adapter_model.safetensors")
        assert all(torch.equal(value.float(), ours[key]) for key, value in rounded.items())


def test_unknown_keys_are_kept(bases, tmp_path):
    base = bases / "llama"
    make_adapter(base, tmp_path / "theirs", r=4)
    path = tmp_path / "theirs/adapter_config.json"
    config = json.loads(path.read_text()) | {
        "revision": "main",
        "from_the_future": {"a": [1, None, "x"]},
        "peft_version": "0.99",
    }
    path.write_text(json.dumps(config))
    run_well(
        tmp_path, base, dict(op="load", path=str(tmp_path / "theirs")), dict(op="save", path=str(tmp_path / "ours"))
    )
    written = json.loads((tmp_path / "ours/adapter_config.json").read_text())
    for settings in (config, written):
        settings["target_modules"] = sorted(settings["target_modules"])
    assert written == config


def test_full_fine_tuning(bases, tmp_path):
    """Every tensor of the base once; checkpoints hold it, and no PEFT directory does."""
    for family in ("qwen2", "llama-tied"):
        base = bases / family
        directory = tmp_path / family
        directory.mkdir()
        results = run(
            tmp_path,
            base,
            dict(op="create", full=True),
            dict(op="info"),
            dict(op="noise", scale=0.05),
            dict(op="write", path=str(directory)),
            dict(op="logits", ids=IDS, weights=[1], file=str(tmp_path / "a")),
            dict(op="create", full=True),
            dict(op="read", path=str(directory)),
            dict(op="logits", ids=IDS, weights=[0, 1], file=str(tmp_path / "b")),
            dict(op="save", path=str(tmp_path / "adapter")),
        )
        assert [result["status"] for result in results[:7]] == ["LORA_OK"] * 7
        model = load_base(base)
        assert results[1]["parameters"] == sum(parameter.numel() for parameter in model.parameters())
        model.load_state_dict(safetensors.torch.load_file(directory / "adapter_model.safetensors"), strict=False)
        assert numpy.abs(read_log_probabilities(tmp_path / "a") - reference(model)).max() < 1e-4
        assert results[7]["status"] == "LORA_ERROR_UNSUPPORTED" and "weight 1 only, not 0" in results[7]["message"]
        assert results[8]["status"] == "LORA_ERROR_UNSUPPORTED" and "merge it" in results[8]["message"]
        results = run_well(
            tmp_path,
            base,
            dict(op="load", path=str(directory)),
            dict(op="logits", ids=IDS, weights=[1], file=str(tmp_path / "b")),
        )
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
