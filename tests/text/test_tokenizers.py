"""Ids and texts of every kind of tokenizer against the reference libraries, run live: tokenizers, transformers,
sentencepiece, tiktoken; and llama.cpp's own vectors for GGUF."""

import json
import shutil
import unicodedata

import pytest
import sentencepiece
import tokenizers
import transformers

from tokenizer_tool import SHARED, SCRIPTS, all_texts, ask, decode, encode, info, random_bytes, with_tokens

TOKENIZERS = SHARED / "tokenizers"
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
needs_shared = pytest.mark.skipif(
    not TOKENIZERS.is_dir(), reason="no shared tokenizers here; trained ones are tried instead"
)


def show(text, ours, theirs):
    place = next((i for i, pair in enumerate(zip(ours, theirs)) if pair[0] != pair[1]), min(len(ours), len(theirs)))
    return f"{text[:200]!r} at {place}: ours {ours[place:place + 8]}, reference {theirs[place:place + 8]}"


def compare_encoding(path, texts, reference, special=False):
    for text, ours in zip(texts, encode(path, texts, special), strict=True):
        theirs = reference(text)
        assert ours == theirs, show(text, ours, theirs)


def compare_decoding(path, rows, reference, skip=False):
    for row, ours in zip(rows, decode(path, rows, skip), strict=True):
        assert ours == reference(row), f"{row[:40]}: ours {ours[:200]!r}, reference {reference(row)[:200]!r}"


def random_rows(size, count=200, seed=5):
    import random

    generator = random.Random(seed)
    return [[generator.randrange(size) for _ in range(generator.randint(0, 30))] for _ in range(count)]


def compare_with_tokenizers(path, reference, texts=None):
    """Everything, for a tokenizers.Tokenizer."""
    texts = all_texts() if texts is None else texts
    added = [token.content for token in reference.get_added_tokens_decoder().values()]
    texts = texts + (with_tokens(added) if added else [])

    def ids(special):
        return lambda text: reference.encode(text, add_special_tokens=special).ids

    compare_encoding(path, texts, ids(False))
    compare_encoding(path, texts[:40], ids(True), special=True)
    for raw, ours in zip(random_bytes(), encode(path, random_bytes()), strict=True):
        assert ours == ids(False)(raw.decode(errors="replace")), raw
    # tokenizers 0.23 decodes an added token as normalized; ours is spelled as it was added, as in releases before.
    respelled = {
        i for i, token in reference.get_added_tokens_decoder().items() if reference.id_to_token(i) != token.content
    }
    rows = [ids(True)(text) for text in texts] + random_rows(reference.get_vocab_size())
    rows = [row for row in rows if not respelled & set(row)]
    assert len(rows) > 200
    compare_decoding(path, rows, lambda row: reference.decode(row, skip_special_tokens=False))
    compare_decoding(path, rows, lambda row: reference.decode(row, skip_special_tokens=True), skip=True)
    assert info(path)["size"] == max(reference.get_vocab().values()) + 1


# ---- files of real models ------------------------------------------------------------------------


@needs_shared
@pytest.mark.parametrize("name", ["gpt-2", "mistral-v0.3"])
def test_tokenizer_json(name):
    path = TOKENIZERS / name
    compare_with_tokenizers(path, tokenizers.Tokenizer.from_file(str(path / "tokenizer.json")))


@needs_shared
@pytest.mark.parametrize("name", ["qwen2.5", "qwen3"])
def test_vocabulary_and_merges(name, tmp_path):
    for file in [*(TOKENIZERS / "qwen2.5").iterdir(), *(TOKENIZERS / name).iterdir()]:
        shutil.copy(file, tmp_path)
    reference = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert type(reference).__name__ == "Qwen2Tokenizer"
    compare_with_tokenizers(tmp_path, reference.backend_tokenizer)
    assert info(tmp_path)["end"] == reference.eos_token_id and info(tmp_path)["pad"] == reference.pad_token_id


@needs_shared
@pytest.mark.parametrize("name", ["llama-2", "baichuan", "chatglm2"])
def test_sentencepiece_model(name):
    path = TOKENIZERS / name / "tokenizer.model"
    reference = sentencepiece.SentencePieceProcessor(model_file=str(path))
    controls = [
        reference.id_to_piece(i)
        for i in range(reference.vocab_size())
        if reference.is_control(i) or reference.is_unknown(i)
    ]
    texts = [text for text in all_texts() if not any(piece in text for piece in controls)]
    compare_encoding(path, texts, reference.encode)
    rows = [reference.encode(text) for text in texts]
    # What is special is spelled out as in transformers (test_llama_special_tokens); SentencePiece has its own way.
    rows = [
        [i for i in row if not reference.is_control(i) and not reference.is_unknown(i)]
        for row in rows + random_rows(reference.vocab_size())
    ]
    compare_decoding(path, rows, reference.decode)
    for raw, ours in zip(random_bytes(), encode(path, random_bytes()), strict=True):
        assert ours == reference.encode(raw.decode(errors="replace")), raw


@needs_shared
def test_llama_special_tokens(tmp_path):
    shutil.copy(TOKENIZERS / "llama-2" / "tokenizer.model", tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "LlamaTokenizer", "add_bos_token": True})
    )
    reference = transformers.LlamaTokenizer.from_pretrained(tmp_path)
    # A text that begins with a space is left out: LlamaTokenizer takes it for the dummy prefix, SentencePiece does not.
    texts = [
        text for text in with_tokens(["<s>", "</s>", "<unk>"]) + list(SCRIPTS.values()) if not text.startswith(" ")
    ]
    compare_encoding(tmp_path, texts, lambda text: reference.encode(text), special=True)
    rows = [reference.encode(text) for text in texts]
    compare_decoding(tmp_path, rows, lambda row: reference.decode(row, clean_up_tokenization_spaces=False))
    compare_decoding(tmp_path, rows, lambda row: reference.decode(row, skip_special_tokens=True), skip=True)


@needs_shared
def test_tiktoken_ranks():
    import tiktoken
    import tiktoken.load

    path = TOKENIZERS / "llama-3" / "tokenizer.model"
    pattern = LLAMA3
    reference = tiktoken.Encoding(
        "llama3",
        pat_str=pattern,
        mergeable_ranks=tiktoken.load.load_tiktoken_bpe(str(path)),
        special_tokens={
            "<|begin_of_text|>": 128000,
            "<|end_of_text|>": 128001,
            "<|start_header_id|>": 128006,
            "<|end_header_id|>": 128007,
            "<|eot_id|>": 128009,
        },
    )
    texts = all_texts() + with_tokens(list(reference.special_tokens_set))
    compare_encoding(path, texts, lambda text: reference.encode(text, allowed_special="all"))
    compare_decoding(path, [reference.encode(text, allowed_special="all") for text in texts], reference.decode)


@needs_shared
@pytest.mark.parametrize("name", ["deepseek-llm", "gpt-2", "llama-spm", "phi-3"])
def test_gguf_vectors(name):
    path = TOKENIZERS / "llama.cpp-vocab" / f"ggml-vocab-{name}.gguf"
    texts = path.with_suffix(".gguf.inp").read_bytes().split(b"\n__ggml_vocab_test__\n")
    expected = [
        [int(word) for word in line.split()] for line in path.with_suffix(".gguf.out").read_text().split("\n")
    ]
    assert len(texts) == len(expected[: len(texts)]) > 30
    for text, ours, theirs in zip(texts, encode(path, texts), expected):
        assert ours == theirs, show(text, ours, theirs)


@needs_shared
def test_gguf_agrees_with_the_originals():
    vocab = TOKENIZERS / "llama.cpp-vocab"
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(TOKENIZERS / "llama-2" / "tokenizer.model"))
    texts = [text for text in all_texts() if "<s>" not in text]
    compare_encoding(vocab / "ggml-vocab-llama-spm.gguf", texts, pieces.encode)
    compare_encoding(TOKENIZERS / "llama-2" / "tokenizer.bin", texts, pieces.encode)
    compare_decoding(vocab / "ggml-vocab-llama-spm.gguf", [pieces.encode(text) for text in texts], pieces.decode)
    bpe = tokenizers.Tokenizer.from_file(str(TOKENIZERS / "gpt-2" / "tokenizer.json"))
    compare_encoding(vocab / "ggml-vocab-gpt-2.gguf", texts, lambda text: bpe.encode(text).ids)


@needs_shared
def test_llama2c_vocabulary_equals_its_gguf():
    folder = SHARED / "models" / "stories260K"
    texts = [text for text in all_texts() if "<s>" not in text and text]
    assert encode(folder / "tok512.bin", texts) == encode(folder / "stories260K.gguf", texts)


# ---- trained here --------------------------------------------------------------------------------


TEXTS = list(SCRIPTS.values()) * 3
ADDED = [
    tokenizers.AddedToken("<|end|>", special=True, normalized=False),
    tokenizers.AddedToken("<mask>", lstrip=True, special=True),
    tokenizers.AddedToken("[R]", rstrip=True, normalized=False),
    tokenizers.AddedToken("cat", single_word=True),
    tokenizers.AddedToken("Ünder", normalized=True),
    tokenizers.AddedToken("<|end|>!", special=False, normalized=False),
]


def train(
    path, normalizer=None, pre_tokenizer=None, decoder=None, post_processor=None, model=None, alphabet=(), edit=None
):
    """A small BPE trained with these steps, saved as tokenizer.json."""
    reference = tokenizers.Tokenizer(tokenizers.models.BPE(**(model or {})))
    for name, step in dict(normalizer=normalizer, pre_tokenizer=pre_tokenizer, decoder=decoder).items():
        if step is not None:
            setattr(reference, name, step)
    names = ("unk_token", "continuing_subword_prefix", "end_of_word_suffix")
    affixes = {key: value for key, value in (model or {}).items() if key in names[1:]}
    special = [model["unk_token"]] if model and model.get("unk_token") else []
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=900, special_tokens=special, initial_alphabet=list(alphabet), show_progress=False, **affixes
    )
    reference.train_from_iterator(TEXTS, trainer)
    reference.add_tokens(ADDED)
    if post_processor is not None:
        reference.post_processor = post_processor(reference)
    file = path / "tokenizer.json"
    reference.save(str(file))
    if edit is not None:
        root = json.loads(file.read_text())
        edit(root)
        file.write_text(json.dumps(root))
        reference = tokenizers.Tokenizer.from_file(str(file))
    return reference


def template(reference):
    return tokenizers.processors.TemplateProcessing(
        single="<|end|> $A cat <|end|>", special_tokens=[(t, reference.token_to_id(t)) for t in ("<|end|>", "cat")]
    )


N, P, D, PP = tokenizers.normalizers, tokenizers.pre_tokenizers, tokenizers.decoders, tokenizers.processors
BYTES = P.ByteLevel.alphabet()
BYTE_TOKENS = [f"<0x{i:02X}>" for i in range(256)]


def split(pattern, behavior, invert=False, regex=True):
    return P.Split(tokenizers.Regex(pattern) if regex else pattern, behavior, invert)


def byte_fallback(root):
    """Byte tokens cannot be trained: they go behind the vocabulary afterwards, and the added tokens behind them."""
    vocabulary = root["model"]["vocab"]
    for token in root["added_tokens"]:
        token["id"] += 256 * (token["content"] not in vocabulary)
    vocabulary.update({token: len(vocabulary) + i for i, token in enumerate(BYTE_TOKENS)})
    root["model"]["byte_fallback"] = True


def merges_as_text(root):
    root["model"]["merges"] = [" ".join(merge) for merge in root["model"]["merges"]]


def with_ignore_merges(root):
    root["model"]["ignore_merges"] = True


CASES = {
    "byte-level": dict(
        pre_tokenizer=P.ByteLevel(add_prefix_space=False),
        decoder=D.ByteLevel(),
        alphabet=BYTES,
        post_processor=lambda r: PP.ByteLevel(),
    ),
    "byte-level-prefix": dict(
        pre_tokenizer=P.ByteLevel(add_prefix_space=True),
        decoder=D.ByteLevel(),
        alphabet=BYTES,
        post_processor=template,
    ),
    "byte-level-whole": dict(
        pre_tokenizer=P.ByteLevel(add_prefix_space=False, use_regex=False),
        decoder=D.ByteLevel(),
        alphabet=BYTES,
        edit=merges_as_text,
    ),
    "llama-3": dict(
        pre_tokenizer=P.Sequence([split(LLAMA3, "isolated"), P.ByteLevel(False, use_regex=False)]),
        decoder=D.ByteLevel(),
        alphabet=BYTES,
        edit=with_ignore_merges,
        post_processor=lambda r: PP.Sequence([PP.ByteLevel(), template(r)]),
    ),
    "byte-level-missing": dict(pre_tokenizer=P.ByteLevel(add_prefix_space=False), decoder=D.ByteLevel()),
    "digits": dict(
        normalizer=N.NFKC(),
        pre_tokenizer=P.Sequence([P.Digits(True), P.ByteLevel(False)]),
        decoder=D.ByteLevel(),
        alphabet=BYTES,
    ),
    "digit-runs": dict(
        normalizer=N.Sequence([N.NFD(), N.StripAccents(), N.Lowercase()]),
        model=dict(unk_token="<unk>"),
        pre_tokenizer=P.Sequence([P.Digits(False), P.Whitespace()]),
        decoder=D.WordPiece(prefix="##"),
    ),
    "nfkd": dict(
        normalizer=N.Sequence([N.NFKD(), N.Strip()]),
        model=dict(unk_token="<unk>"),
        pre_tokenizer=P.Sequence([P.WhitespaceSplit(), P.Punctuation()]),
    ),
    "nfc-unknown": dict(
        normalizer=N.NFC(), model=dict(unk_token="<unk>", fuse_unk=True), pre_tokenizer=P.BertPreTokenizer()
    ),
    "unknown-each": dict(model=dict(unk_token="<unk>"), pre_tokenizer=P.Punctuation("merged_with_previous")),
    "metaspace-first": dict(
        model=dict(unk_token="<unk>", fuse_unk=True),
        decoder=D.Metaspace(prepend_scheme="first"),
        pre_tokenizer=P.Metaspace(prepend_scheme="first", split=False),
    ),
    "metaspace-always": dict(
        model=dict(unk_token="<unk>"),
        decoder=D.Metaspace(prepend_scheme="always"),
        pre_tokenizer=P.Metaspace(prepend_scheme="always", split=True),
    ),
    "metaspace-never": dict(
        model=dict(unk_token="<unk>"),
        decoder=D.Metaspace(prepend_scheme="never"),
        pre_tokenizer=P.Metaspace(replacement="_", prepend_scheme="never", split=True),
    ),
    "sentencepiece-style": dict(
        normalizer=N.Sequence([N.Prepend("▁"), N.Replace(" ", "▁")]),
        model=dict(unk_token="<unk>", fuse_unk=True),
        decoder=D.Sequence([D.Replace("▁", " "), D.ByteFallback(), D.Fuse(), D.Strip(" ", 1, 0)]),
        edit=byte_fallback,
    ),
    "replace-regex": dict(
        normalizer=N.Sequence([N.Replace(tokenizers.Regex(r"\s+"), " "), N.Replace("'", "’")]),
        pre_tokenizer=split(" ", "merged_with_next", regex=False),
        model=dict(unk_token="<unk>"),
        decoder=D.Sequence([D.Replace(tokenizers.Regex("[’a]+"), "*"), D.Fuse()]),
    ),
    "split-removed": dict(pre_tokenizer=split(r"\w+", "removed", invert=True), model=dict(unk_token="<unk>")),
    "split-previous": dict(pre_tokenizer=split(r"[\s\p{P}]", "merged_with_previous"), model=dict(unk_token="<unk>")),
    "split-next": dict(pre_tokenizer=split(r"\W", "merged_with_next"), model=dict(unk_token="<unk>")),
    "split-contiguous": dict(pre_tokenizer=split(r"[\w\d]", "contiguous"), model=dict(unk_token="<unk>")),
    "delimiter": dict(pre_tokenizer=P.CharDelimiterSplit("e"), model=dict(unk_token="<unk>"), decoder=D.BPEDecoder()),
    "suffix": dict(
        pre_tokenizer=P.Whitespace(),
        model=dict(unk_token="<unk>", end_of_word_suffix="</w>"),
        decoder=D.BPEDecoder(suffix="</w>"),
    ),
    "prefix": dict(
        pre_tokenizer=P.Whitespace(),
        model=dict(unk_token="<unk>", continuing_subword_prefix="##"),
        decoder=D.WordPiece(prefix="##", cleanup=False),
        post_processor=lambda r: PP.BertProcessing(
            ("<mask>", r.token_to_id("<mask>")), ("cat", r.token_to_id("cat"))
        ),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_trained(name, tmp_path):
    # The classes and normal forms of tokenizers' own steps (not of its expressions) are those of Unicode 9.
    texts = all_texts(unicodedata.ucd_3_2_0) + [
        "a cat, concat cat_ cat",
        "x <mask>  <mask> y",
        "[R]  z [R]",
        "ünder Ünder Under",
        "<|end|>!<|end|>",
    ]
    compare_with_tokenizers(tmp_path, train(tmp_path, **CASES[name]), texts)


SPM = {
    "identity": dict(
        normalization_rule_name="identity", byte_fallback=True, add_dummy_prefix=True, remove_extra_whitespaces=False
    ),
    "nmt-nfkc": dict(normalization_rule_name="nmt_nfkc", byte_fallback=False),
    "nfkc-case-fold": dict(normalization_rule_name="nmt_nfkc_cf", byte_fallback=True, add_dummy_prefix=False),
    "user-defined": dict(
        normalization_rule_name="identity",
        byte_fallback=True,
        user_defined_symbols=["<sep>", "▁▁", "<se"],
        control_symbols=["<ctrl>"],
        remove_extra_whitespaces=False,
        split_digits=True,
    ),
}


@pytest.mark.parametrize("name", SPM)
def test_trained_sentencepiece(name, tmp_path):
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n".join(TEXTS))
    sentencepiece.SentencePieceTrainer.train(
        input=str(corpus),
        model_prefix=str(tmp_path / "tokenizer"),
        model_type="bpe",
        vocab_size=1000,
        character_coverage=0.98,
        minloglevel=2,
        **SPM[name],
    )
    path = tmp_path / "tokenizer.model"
    reference = sentencepiece.SentencePieceProcessor(model_file=str(path))
    texts = [text for text in all_texts() if "<s>" not in text] + [
        "a<sep>b <sep> <se c",
        "  <sep>",
        "<sep>x",
        "a▁▁▁b",
    ]
    compare_encoding(path, texts, reference.encode)
    rows = [reference.encode(text) for text in texts]
    # What is special is spelled out as in transformers (test_llama_special_tokens); SentencePiece has its own way.
    rows = [
        [i for i in row if not reference.is_control(i) and not reference.is_unknown(i)]
        for row in rows + random_rows(reference.vocab_size())
    ]
    compare_decoding(path, rows, reference.decode)
