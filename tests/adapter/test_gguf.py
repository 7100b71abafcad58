"""GGUF files written here, read by the gguf package, by transformers and by ourselves, and the way back to a Hugging
Face directory."""

import json

import gguf
import numpy
import pytest
import sentencepiece
import tokenizers
import torch
import transformers

from peft_reference import (
    FAMILIES,
    IDS,
    SHARED,
    SMALL,
    load_base,
    make_adapter,
    make_base,
    read_log_probabilities,
    reference,
    run,
    run_well,
)

LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
LINEAR = {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}
KINDS = FAMILIES | {
    "llama": ("LlamaConfig", {}),
    "mistral": ("MistralConfig", dict(sliding_window=None)),
    "qwen3": ("Qwen3Config", dict(head_dim=128)),  # transformers reads no other from GGUF
    "llama-3": ("LlamaConfig", dict(rope_parameters=LLAMA3, head_dim=32, tie_word_embeddings=True)),
    "llama-linear": ("LlamaConfig", dict(rope_parameters=LINEAR)),
}


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    directory = tmp_path_factory.mktemp("bases")
    with pytest.MonkeyPatch.context() as patch:
        for name, kind in KINDS.items():
            patch.setitem(FAMILIES, name, kind)
            make_base(name, directory / name)
        make_base("llama", directory / "llama-bf16", torch.bfloat16)
    return directory


def read_gguf(path):
    reader = gguf.GGUFReader(path)
    fields = {key: field.contents() for key, field in reader.fields.items() if not key.startswith("GGUF.")}
    return fields, {tensor.name: tensor for tensor in reader.tensors}


def interleaved(weight, heads):
    """llama.cpp's order of q and k: of each head the two halves alternate."""
    return (
        weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)
    )


@pytest.mark.parametrize("name", KINDS)
def test_written_file(name, bases, tmp_path):
    base = bases / name
    expected = reference(load_base(base))
    run_well(tmp_path, base, dict(op="save_model", path=str(tmp_path / "model.gguf")))
    fields, tensors = read_gguf(tmp_path / "model.gguf")
    model = load_base(base)
    config = model.config
    architecture = fields["general.architecture"]
    assert architecture == {"mistral": "llama"}.get(config.model_type, config.model_type)
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    assert {
        key.removeprefix(architecture + "."): fields[key] for key in fields if key.startswith(architecture)
    } == pytest.approx(
        {
            "vocab_size": 97,
            "context_length": 64,
            "embedding_length": 32,
            "block_count": 3,
            "feed_forward_length": 48,
            "attention.head_count": 4,
            "attention.head_count_kv": 2,
            "attention.key_length": head_dim,
            "attention.value_length": head_dim,
            "attention.layer_norm_rms_epsilon": config.rms_norm_eps,
            "rope.dimension_count": head_dim,
            "rope.freq_base": config.rope_parameters["rope_theta"],
        }
        | ({"rope.scaling.type": "linear", "rope.scaling.factor": 4.0} if name == "llama-linear" else {})
    )

    names = gguf.TensorNameMap(getattr(gguf.MODEL_ARCH, architecture.upper()), config.num_hidden_layers)
    state = {key: value.numpy() for key, value in model.state_dict().items()}
    if config.tie_word_embeddings:
        del state["lm_head.weight"]
    found = dict(tensors)
    for key, value in state.items():
        tensor = found.pop(names.get_name(key, try_suffixes=(".weight", ".bias")))
        if architecture == "llama" and ("q_proj" in key or "k_proj" in key):
            value = interleaved(value, 4 if "q_proj" in key else 2)
        assert tensor.tensor_type == gguf.GGMLQuantizationType.F32
        assert numpy.array_equal(tensor.data.reshape(value.shape), value), key
    assert set(found) == ({"rope_freqs.weight"} if name == "llama-3" else set())

    run_well(
        tmp_path,
        tmp_path / "model.gguf",
        dict(op="logits", ids=IDS, file=str(tmp_path / "ours")),
        dict(op="save_model", path=str(tmp_path / "back")),
    )
    assert numpy.abs(read_log_probabilities(tmp_path / "ours") - expected).max() < 1e-4
    # And on to a Hugging Face directory, whose config.json is made from the file's keys.
    back = json.loads((tmp_path / "back/config.json").read_text())
    if config.model_type != "mistral":
        assert back["model_type"] == config.model_type and back["architectures"] == config.architectures
    assert numpy.abs(reference(load_base(tmp_path / "back")) - expected).max() < 1e-4


@pytest.mark.parametrize("name", ["llama", "qwen2", "qwen3"])
def test_transformers_reads_it(name, bases, tmp_path):
    run_well(tmp_path, bases / name, dict(op="save_model", path=str(tmp_path / "model.gguf")))
    model = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path, gguf_file="model.gguf", dtype=torch.float32, attn_implementation="eager"
    )
    assert numpy.abs(reference(model.eval()) - reference(load_base(bases / name))).max() < 1e-4


def test_merged_bf16_file(bases, tmp_path):
    base = bases / "llama-bf16"
    make_adapter(base, tmp_path / "adapter", target_modules="all-linear")
    results = run_well(
        tmp_path,
        base,
        dict(op="load", path=str(tmp_path / "adapter")),
        dict(op="merge", weights=[1]),
        dict(op="logits", ids=IDS, merged=True, file=str(tmp_path / "merged")),
        dict(op="save_model", merged=True, path=str(tmp_path / "model.gguf")),
    )
    fields, tensors = read_gguf(tmp_path / "model.gguf")
    assert fields["general.file_type"] == gguf.LlamaFileType.MOSTLY_BF16
    kinds = {name: tensor.tensor_type.name for name, tensor in tensors.items()}
    assert all(kind == ("F32" if "norm" in name else "BF16") for name, kind in kinds.items())
    run_well(tmp_path, tmp_path / "model.gguf", dict(op="logits", ids=IDS, file=str(tmp_path / "again")))
    assert (
        numpy.abs(read_log_probabilities(tmp_path / "merged") - read_log_probabilities(tmp_path / "again")).max() < 1e-4
    )


def test_adapter_fits_the_gguf_of_its_base(bases, tmp_path):
    """q and k rows are put back in order at loading, so adapters made for the Hugging Face base fit."""
    base = bases / "llama"
    expected = reference(make_adapter(base, tmp_path / "adapter", target_modules="all-linear"))
    run_well(tmp_path, base, dict(op="save_model", path=str(tmp_path / "model.gguf")))
    run_well(
        tmp_path,
        tmp_path / "model.gguf",
        dict(op="load", path=str(tmp_path / "adapter")),
        dict(op="merge", weights=[1]),
        dict(op="logits", ids=IDS, weights=[1], file=str(tmp_path / "attached")),
        dict(op="logits", ids=IDS, merged=True, file=str(tmp_path / "merged")),
        dict(op="save_model", merged=True, path=str(tmp_path / "merged.gguf")),
    )
    run_well(tmp_path, tmp_path / "merged.gguf", dict(op="logits", ids=IDS, file=str(tmp_path / "again")))
    for name in ("attached", "merged", "again"):
        assert numpy.abs(read_log_probabilities(tmp_path / name) - expected).max() < 1e-4, name


# ---- tokenizers ----------------------------------------------------------------------------------------------------

TEXTS = [
    "Hello, world! It's 12345 o'clock.",
    "  two spaces\n\nand lines\t\tthere",
    "周报：本周完成了三项工作，进展顺利！",
    "naïve café — Ünïcödé Ελληνικά 😀👍🏽",
    "x = [i**2 for i in range(10)]  # SQUARES I'LL DON'T",
    "<|end|>middle<|end|>",
]
CORPUS = TEXTS[:3] * 20 + ["the weekly report was good and the team is happy about the release"] * 50
WORDS, SPACES = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|", r"\s*[\r\n]+|\s+(?!\S)|\s+"
SPLITS = {
    "gpt-2": tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False),
    "qwen2": WORDS + r"\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + SPACES,
    "llama-bpe": WORDS + r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + SPACES,
    "smollm": tokenizers.pre_tokenizers.Sequence(
        [
            tokenizers.pre_tokenizers.Digits(individual_digits=True),
            tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    ),
}


def base_with_vocabulary(directory, size):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SMALL, "vocab_size", size)
        make_base("qwen3", directory)
    return directory


@pytest.mark.parametrize("kind", SPLITS)
def test_byte_level_tokenizer(kind, tmp_path):
    split = SPLITS[kind]
    if isinstance(split, str):
        split = tokenizers.pre_tokenizers.Sequence(
            [
                tokenizers.pre_tokenizers.Split(tokenizers.Regex(split), "isolated"),
                tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = split
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    tokenizer.train_from_iterator(
        CORPUS,
        tokenizers.trainers.BpeTrainer(
            vocab_size=400, special_tokens=["<|end|>"], initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet()
        ),
    )
    base = base_with_vocabulary(tmp_path / "base", tokenizer.get_vocab_size() + 3)
    tokenizer.save(str(base / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|end|>", "chat_template": "{{ messages }}"}
    (base / "tokenizer_config.json").write_text(json.dumps(settings))
    run_well(tmp_path, base, dict(op="save_model", path=str(tmp_path / "model.gguf")))
    fields, _ = read_gguf(tmp_path / "model.gguf")
    assert fields["tokenizer.ggml.model"] == "gpt2" and fields["tokenizer.ggml.pre"] == kind
    vocabulary = {token: index for index, token in enumerate(fields["tokenizer.ggml.tokens"])}
    padding = {f"[PAD{tokenizer.get_vocab_size() + i}]": tokenizer.get_vocab_size() + i for i in range(3)}
    assert vocabulary == tokenizer.get_vocab() | padding
    kinds = fields["tokenizer.ggml.token_type"]
    assert (
        kinds[0] == gguf.TokenType.CONTROL and kinds[-1] == gguf.TokenType.UNUSED and kinds[9] == gguf.TokenType.NORMAL
    )
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    assert fields["tokenizer.ggml.merges"] == [" ".join(pair) for pair in merges]
    assert fields["tokenizer.ggml.eos_token_id"] == 0 and fields["tokenizer.ggml.add_bos_token"] is False
    assert fields["tokenizer.chat_template"] == "{{ messages }}"
    results = run_well(tmp_path, tmp_path / "model.gguf", *[dict(op="encode", text=text) for text in TEXTS])
    for text, result in zip(TEXTS, results):
        assert result["ids"] == tokenizer.encode(text).ids, text
    # Copied as they are when the file is the source.
    run_well(
        tmp_path,
        tmp_path / "model.gguf",
        dict(op="merge", weights=[]),
        dict(op="save_model", merged=True, path=str(tmp_path / "copy.gguf")),
    )
    copied, _ = read_gguf(tmp_path / "copy.gguf")
    assert copied | {"general.name": ""} == fields | {"general.name": ""}


def test_unknown_pre_tokenizer_is_refused(tmp_path):
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(
        [
            tokenizers.pre_tokenizers.Split(tokenizers.Regex(r"\p{L}"), "isolated"),
            tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.train_from_iterator(
        CORPUS,
        tokenizers.trainers.BpeTrainer(vocab_size=300, initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet()),
    )
    base = base_with_vocabulary(tmp_path / "base", tokenizer.get_vocab_size())
    tokenizer.save(str(base / "tokenizer.json"))
    (result,) = run(tmp_path, base, dict(op="save_model", path=str(tmp_path / "model.gguf")))
    assert result["status"] == "LORA_ERROR_UNSUPPORTED" and "in a way that GGUF has no name for" in result["message"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base", "request.json"]


@pytest.mark.parametrize("prefix", [True, False])
def test_sentencepiece_tokenizer(prefix, tmp_path):
    (tmp_path / "corpus.txt").write_text("\n".join(CORPUS))
    sentencepiece.SentencePieceTrainer.train(
        input=str(tmp_path / "corpus.txt"),
        model_prefix=str(tmp_path / "tokenizer"),
        vocab_size=400,
        model_type="bpe",
        byte_fallback=True,
        character_coverage=0.99,
        normalization_rule_name="identity",
        add_dummy_prefix=prefix,
        remove_extra_whitespaces=False,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    processor = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "tokenizer.model"))
    base = base_with_vocabulary(tmp_path / "base", processor.vocab_size())
    (tmp_path / "tokenizer.model").rename(base / "tokenizer.model")
    run_well(tmp_path, base, dict(op="save_model", path=str(tmp_path / "model.gguf")))
    fields, _ = read_gguf(tmp_path / "model.gguf")
    assert fields["tokenizer.ggml.model"] == "llama" and fields["tokenizer.ggml.add_space_prefix"] is prefix
    assert fields["tokenizer.ggml.tokens"] == [processor.id_to_piece(i) for i in range(processor.vocab_size())]
    kinds = [
        (
            gguf.TokenType.UNKNOWN
            if processor.is_unknown(i)
            else (
                gguf.TokenType.CONTROL
                if processor.is_control(i)
                else gguf.TokenType.BYTE if processor.is_byte(i) else gguf.TokenType.NORMAL
            )
        )
        for i in range(processor.vocab_size())
    ]
    assert fields["tokenizer.ggml.token_type"] == kinds
    pieces = [i for i in range(processor.vocab_size()) if kinds[i] == gguf.TokenType.NORMAL]
    ours = sorted(pieces, key=lambda i: -fields["tokenizer.ggml.scores"][i])
    assert ours == sorted(pieces, key=lambda i: -processor.get_score(i))
    results = run_well(tmp_path, tmp_path / "model.gguf", *[dict(op="encode", text=text) for text in TEXTS])
    for text, result in zip(TEXTS, results):
        assert result["ids"] == [processor.bos_id()] + processor.encode(text), text


def test_trained_model(tmp_path):
    """stories260K, from its GGUF file to a Hugging Face directory: the same logits."""
    source = SHARED / "data/models/stories260K"
    files = sorted(source.glob("*.gguf"))
    if not files:
        pytest.skip("the shared data is not beside this repository")
    run_well(
        tmp_path,
        files[0],
        dict(op="logits", ids=IDS, file=str(tmp_path / "ours")),
        dict(op="save_model", path=str(tmp_path / "back")),
    )
    model = load_base(tmp_path / "back")
    assert numpy.abs(reference(model) - read_log_probabilities(tmp_path / "ours")).max() < 1e-4
