"""What is refused when an adapter is made or loaded, each in one line that says why."""

import json
import shutil

import pytest
import safetensors.torch
import torch

from peft_reference import FAMILIES, IDS, SHARED, make_adapter, make_base, run, run_well


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    directory = tmp_path_factory.mktemp("bases")
    for name in FAMILIES:
        make_base(name, directory / name)
    return directory


@pytest.fixture
def adapter(bases, tmp_path):
    make_adapter(bases / "llama", tmp_path / "adapter", r=4)
    return tmp_path / "adapter"


def refused(directory, base, operation, status):
    (result,) = run(directory, base, operation)
    assert result["status"] == f"LORA_ERROR_{status}", result
    assert "\n" not in result["message"]
    return result["message"]


def load(directory, base, adapter, status):
    return refused(directory, base, dict(op="load", path=str(adapter)), status)


def edit_config(adapter, **changes):
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def edit_tensors(adapter, change):
    path = adapter / "adapter_model.safetensors"
    tensors = safetensors.torch.load_file(path)
    change(tensors)
    safetensors.torch.save_file({key: value.contiguous() for key, value in tensors.items()}, path)


KEY = "base_model.model.model.layers.1.self_attn.q_proj.lora_B.weight"


@pytest.mark.parametrize(
    "changes,reason",
    [
        (dict(peft_type="IA3"), "peft_type is 'IA3'; only LORA is supported so far"),
        (dict(peft_type="ADALORA"), "peft_type is 'ADALORA'"),
        (dict(use_dora=True), "'use_dora' is set: DoRA (magnitude vectors) is not supported yet"),
        (dict(lora_bias=True), "'lora_bias' is set: a bias on lora_B is not"),
        (
            dict(target_parameters=["experts.gate_up_proj"]),
            "'target_parameters' is set: low-rank pairs on bare parameters",
        ),
        (dict(layer_replication=[[0, 2], [1, 3]]), "'layer_replication' is set"),
        (dict(trainable_token_indices=[1, 2]), "'trainable_token_indices' is set"),
        (dict(trainable_token_indices={"embed_tokens": [0]}), "'trainable_token_indices' is set"),
        (dict(use_qalora=True), "'use_qalora' is set"),
        (dict(use_bdlora={"nblocks": 2}), "'use_bdlora' is set"),
        (dict(alora_invocation_tokens=[5]), "'alora_invocation_tokens' is set"),
        (dict(arrow_config={"top_k": 3}), "'arrow_config' is set"),
        (dict(kasa_config={"beta": 1}), "'kasa_config' is set"),
        (dict(monteclora_config={"n": 4}), "'monteclora_config' is set"),
        (
            dict(init_lora_weights="pissa_niter_4"),
            "init_lora_weights is 'pissa_niter_4', which changed the base's weights too",
        ),
        (dict(init_lora_weights="olora"), "path_initial_model_for_weight_conversion"),
        (dict(bias="some"), "bias is 'some'; known are none, all and lora_only"),
    ],
)
def test_unsupported_settings(changes, reason, bases, adapter, tmp_path):
    edit_config(adapter, **changes)
    message = load(tmp_path, bases / "llama", adapter, "UNSUPPORTED")
    assert reason in message and "adapter_config.json" in message


@pytest.mark.parametrize(
    "changes,reason",
    [
        (dict(peft_type=None), "key 'peft_type' is missing"),
        (dict(r=0), "r is 0; it must be from 1 to 65536"),
        (dict(r="eight"), '"r": expected an integer, found a text'),
        (dict(lora_dropout=1.5), "lora_dropout is 1.5; it must be at least 0 and below 1"),
        (dict(rank_pattern={"q_proj": 2.5}), "rank_pattern 'q_proj' is 2.5; it must be a whole number"),
        (dict(rank_pattern=[1]), "key 'rank_pattern' is not an object of numbers"),
        (dict(alpha_pattern={"q_proj": "x"}), "key 'alpha_pattern' is not an object of numbers"),
        (
            dict(rank_pattern={"(q_proj": 2}),
            "rank_pattern: the expression '(.*\\.)?((q_proj)$' is malformed at character",
        ),
        (dict(target_modules=".*[q_proj"), "target_modules: the expression '.*[q_proj' is malformed"),
        (dict(target_modules=[1]), "key 'target_modules' is not a list of texts"),
        (dict(target_modules=r"(.*.*.*.*.*.*.*.*)*[^\w.]"), "takes too many steps"),
        (dict(layers_to_transform=[-1]), "key 'layers_to_transform' is not a list of layer numbers"),
        (dict(target_modules=".*q_proj", layers_to_transform=[1]), "with a regular expression, name the layers in it"),
    ],
)
def test_malformed_settings(changes, reason, bases, adapter, tmp_path):
    edit_config(adapter, **changes)
    assert reason in load(tmp_path, bases / "llama", adapter, "FORMAT")


def test_damaged_files(bases, adapter, tmp_path):
    base, config = bases / "llama", adapter / "adapter_config.json"
    weights = adapter / "adapter_model.safetensors"
    text, content = config.read_text(), weights.read_bytes()
    for broken in (text[:100], "[]", "", "\xff\xfe"):
        config.write_bytes(broken.encode("latin-1"))
        assert "adapter_config.json" in load(tmp_path, base, adapter, "FORMAT")
    config.write_text(text)
    for broken in (content[:-1], content[:50], b"", content + b"x"):
        weights.write_bytes(broken)
        assert "adapter_model.safetensors" in load(tmp_path, base, adapter, "FORMAT")
    weights.unlink()
    assert "adapter_model.safetensors" in load(tmp_path, base, adapter, "NOT_FOUND")
    (adapter / "adapter_model.bin").write_bytes(b"pickle")
    assert "pickled adapters are not read" in load(tmp_path, base, adapter, "UNSUPPORTED")
    config.unlink()
    assert "adapter_config.json" in load(tmp_path, base, adapter, "NOT_FOUND")


def test_tensors_that_do_not_belong(bases, adapter, tmp_path):
    base = bases / "llama"
    original = (adapter / "adapter_model.safetensors").read_bytes()

    def change(function, status):
        (adapter / "adapter_model.safetensors").write_bytes(original)
        edit_tensors(adapter, function)
        return load(tmp_path, base, adapter, status)

    message = change(lambda tensors: tensors.pop(KEY), "MISMATCH")
    assert f"1 it should have are missing, first '{KEY}'" in message and str(base) in message
    message = change(lambda tensors: tensors.update({"base_model.model.score.weight": torch.ones(2, 3)}), "MISMATCH")
    assert "1 belong to nothing here, first 'base_model.model.score.weight'" in message
    message = change(
        lambda tensors: tensors.update({KEY.replace("base_model.model.", ""): tensors[KEY].clone()}), "FORMAT"
    )
    assert "are the same one" in message
    message = change(lambda tensors: tensors.update({KEY: torch.full((32, 4), float("nan"))}), "NOT_FINITE")
    assert f"'{KEY}' holds a NaN at element 0" in message
    message = change(lambda tensors: tensors.update({KEY: tensors[KEY].to(torch.float16) / 0}), "NOT_FINITE")
    assert "infinity" in message or "NaN" in message
    message = change(lambda tensors: tensors.update({KEY: torch.ones(32, 4, dtype=torch.int32)}), "UNSUPPORTED")
    assert "an adapter's tensors are F32, F16 or BF16" in message
    message = change(lambda tensors: tensors.update({KEY: torch.ones(33, 4)}), "MISMATCH")
    assert (
        "it expects base" in message and "q_proj [33 x 32], r 4; this model has [32 x 32]" in message and KEY in message
    )
    message = change(
        lambda tensors: tensors.update(
            {
                key: torch.ones(6, 32) if "lora_A" in key else torch.ones(value.shape[0], 6)
                for key, value in tensors.items()
            }
        ),
        "MISMATCH",
    )
    assert "says r 4 for model.layers.0.self_attn.q_proj, its tensors have r 6" in message
    message = change(
        lambda tensors: tensors.update({key: value * 0 for key, value in tensors.items() if "lora_B" in key}),
        "MISMATCH",
    )
    assert "changes nothing: every lora_B in it is zero" in message


def test_unchanged_adapter_may_be_resumed(bases, tmp_path):
    base, path = bases / "llama", str(tmp_path / "fresh")
    run_well(tmp_path, base, dict(op="create", modules_to_save=["lm_head"]), dict(op="save", path=path))
    assert "changes nothing" in load(tmp_path, base, path, "MISMATCH")
    run_well(tmp_path, base, dict(op="load", path=path, allow_unchanged=True))


def test_base_with_other_weights(bases, tmp_path):
    """All shapes fit, the weights do not: told by samples in the metadata, but a rounded base is the same base."""
    base, path = bases / "mistral", str(tmp_path / "adapter")
    run_well(tmp_path, base, dict(op="create"), dict(op="noise"), dict(op="save", path=path))
    torch.manual_seed(1)
    make_base("mistral", tmp_path / "rounded", torch.bfloat16)
    run_well(tmp_path, tmp_path / "rounded", dict(op="load", path=path))
    other = make_base("mistral", tmp_path / "other")
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.copy_(torch.randn_like(parameter) * parameter.std().nan_to_num(1))
    other.save_pretrained(tmp_path / "other")
    message = load(tmp_path, tmp_path / "other", path, "MISMATCH")
    assert f"its base is '{base}', this is '{tmp_path / 'other'}'" in message


@pytest.mark.parametrize(
    "settings,status,reason",
    [
        (
            dict(target_modules=["c_attn"]),
            "MISMATCH",
            "target_modules 'c_attn' matches no linear layer of this model (llama); it has: "
            "q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj, lm_head",
        ),
        (dict(target_modules=["q_proj", "proj"]), "MISMATCH", "target_modules 'proj' matches no linear layer"),
        (dict(target_regex=".*attn_out.*"), "MISMATCH", "target_modules '.*attn_out.*' matches no linear layer"),
        (
            dict(target_modules=["embed_tokens"]),
            "UNSUPPORTED",
            "'model.embed_tokens', which is no linear layer; train it whole",
        ),
        (dict(target_regex=".*norm.*"), "UNSUPPORTED", "which is no linear layer"),
        (dict(target_modules=["q_proj"], exclude_modules=["q_proj"]), "MISMATCH", "no module is left to adapt"),
        (
            dict(modules_to_save=["score"]),
            "MISMATCH",
            "modules_to_save 'score' matches no module of this model (llama)",
        ),
        (dict(exclude_modules=["q_porj"]), "MISMATCH", "exclude_modules 'q_porj' matches no module of this model"),
        (dict(rank_pattern={"q_porj": 4}), "MISMATCH", "rank_pattern 'q_porj' matches no module that is adapted"),
        (dict(alpha_pattern={"k_proj": 4}), "MISMATCH", "alpha_pattern 'k_proj' matches no module that is adapted"),
        (dict(modules_to_save=["proj"]), "UNSUPPORTED", "exclude it from one"),
        (dict(r=0), "ARGUMENT", "adapter options: r is 0"),
        (dict(lora_dropout=1), "ARGUMENT", "lora_dropout is 1"),
        (
            dict(init_lora_weights="pissa"),
            "UNSUPPORTED",
            "init_lora_weights is 'pissa'; known so far are 'true' and 'gaussian'",
        ),
        (
            dict(target_modules=["q_proj"], target_regex="x"),
            "ARGUMENT",
            "target_regex and target_modules were both given",
        ),
        (dict(target_modules=[""]), "ARGUMENT", "target_modules: entry 0 is empty"),
        (dict(rank_pattern={"q_proj": 0}), "ARGUMENT", "rank_pattern 'q_proj' is 0"),
        (dict(rank_pattern={"*": 4}), "FORMAT", "rank_pattern: the expression"),
    ],
)
def test_options(settings, status, reason, bases, tmp_path):
    assert reason in refused(tmp_path, bases / "llama", dict(op="create", **settings), status)


def test_tied_base(bases, tmp_path):
    """PEFT without ensure_weight_tying replaces one of the two; a tied model holds one tensor for both."""
    base = bases / "llama-tied"
    make_adapter(base, tmp_path / "adapter", modules_to_save=["embed_tokens"])
    assert "train the adapter with ensure_weight_tying" in load(tmp_path, base, tmp_path / "adapter", "UNSUPPORTED")
    make_adapter(base, tmp_path / "both", modules_to_save=["embed_tokens"], ensure_weight_tying=True)
    edit_tensors(tmp_path / "both", lambda tensors: tensors["base_model.model.lm_head.weight"].add_(1))
    assert "differs from the embedding that it is tied to" in load(tmp_path, base, tmp_path / "both", "MISMATCH")
    make_adapter(bases / "llama", tmp_path / "head", target_modules=["lm_head"])
    edit_tensors(tmp_path / "head", lambda tensors: tensors["base_model.model.lm_head.base_layer.weight"].add_(1))
    assert "resized embedding" in load(tmp_path, bases / "llama", tmp_path / "head", "MISMATCH")


def test_files_that_are_there(bases, tmp_path):
    base, path = bases / "llama", tmp_path / "adapter"
    results = run(
        tmp_path,
        base,
        dict(op="create"),
        dict(op="noise"),
        dict(op="save", path=str(path)),
        dict(op="save", path=str(path)),
        dict(op="save", path=str(path), overwrite=True),
        dict(op="save", path=str(tmp_path / "new/parents/adapter")),
    )
    assert [result["status"] for result in results[2:]] == ["LORA_OK", "LORA_ERROR_EXISTS", "LORA_OK", "LORA_OK"]
    assert str(path) in results[3]["message"]
    run_well(tmp_path, base, dict(op="load", path=str(tmp_path / "new/parents/adapter")))


MISFIT = ", r 8; this model has [{rows} x {cols}]"
REAL = {
    "distilgpt2-c_attn": "was made for another base ('distilgpt2'): target_modules 'c_attn' matches no linear layer",
    "gpt2-tigrinya-lora": "was made for another base ('gpt2')",
    "peft-gpt2": "was made for another base ('gpt2')",
    "gemma3-270m-qv": "google/gemma-3-270m-it' with q_proj [1024 x 640]" + MISFIT,
    "llama-3.2-1b-qv": "it expects base 'meta-llama/Llama-3.2-1B' with q_proj [2048 x 2048]" + MISFIT,
    "qwen2.5-0.5b-instruct-qv": "it expects base 'Qwen/Qwen2.5-0.5B-Instruct' with q_proj [896 x 896]" + MISFIT,
    "opt-125m-unsupported": "it was made for base 'facebook/opt-125m'",
}


@pytest.mark.skipif(not (SHARED / "data/adapters").exists(), reason="the shared data is not beside this repository")
@pytest.mark.parametrize("base", ["tiny_llama3", "tiny_qwen3"])
def test_real_adapters_on_the_wrong_base(base, tmp_path):
    path = SHARED / "data/models" / base
    config = json.loads((path / "config.json").read_text())
    sizes = dict(
        rows=config["num_attention_heads"] * config["head_dim"] if "head_dim" in config else config["hidden_size"],
        cols=config["hidden_size"],
    )
    names = sorted(directory.name for directory in (SHARED / "data/adapters").iterdir())
    assert names == sorted(REAL)
    results = run(tmp_path, path, *[dict(op="load", path=str(SHARED / "data/adapters" / name)) for name in names])
    for name, result in zip(names, results):
        assert result["status"] == "LORA_ERROR_MISMATCH" and REAL[name].format(**sizes) in result["message"], result


@pytest.mark.skipif(not (SHARED / "data/adapters").exists(), reason="the shared data is not beside this repository")
def test_a_real_adapter_on_its_base_shape(tmp_path):
    """Qwen2.5-0.5B's shape with two of its layers, random weights: the adapter's first two layers load and are used."""
    source = SHARED / "data/adapters/qwen2.5-0.5b-instruct-qv"
    config = dict(
        model_type="qwen2",
        architectures=["Qwen2ForCausalLM"],
        vocab_size=128,
        hidden_size=896,
        num_hidden_layers=2,
        num_attention_heads=14,
        num_key_value_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        tie_word_embeddings=True,
        rope_theta=1e6,
        rms_norm_eps=1e-6,
    )
    (tmp_path / "base").mkdir()
    (tmp_path / "base/config.json").write_text(json.dumps(config))
    (tmp_path / "adapter").mkdir()
    shutil.copy(source / "adapter_config.json", tmp_path / "adapter")
    tensors = safetensors.torch.load_file(source / "adapter_model.safetensors")
    kept = {key: value for key, value in tensors.items() if ".layers.0." in key or ".layers.1." in key}
    safetensors.torch.save_file(kept, tmp_path / "adapter/adapter_model.safetensors")
    results = run_well(
        tmp_path,
        tmp_path / "base",
        dict(op="load", path=str(tmp_path / "adapter")),
        dict(op="info"),
        dict(op="logits", ids=IDS, weights=[1], file=str(tmp_path / "with")),
        dict(op="logits", ids=IDS, weights=[], file=str(tmp_path / "without")),
        initialize=True,
    )
    assert results[1]["modules"] == 4 and results[1]["parameters"] == sum(value.numel() for value in kept.values())
    assert (tmp_path / "with").read_bytes() != (tmp_path / "without").read_bytes()
    message = run(tmp_path, tmp_path / "base", dict(op="load", path=str(source)), initialize=True)[0]["message"]
    assert "88 belong to nothing here" in message and "layers." in message
