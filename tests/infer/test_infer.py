"""The sampler against transformers' own processors; greedy text of a small trained model against a recorded one."""
import json
import os
import pathlib
import subprocess

import numpy
import pytest

SHARED = pathlib.Path(os.environ["LIBLORA_SHARED"]) / "data"
STORIES = SHARED / "models" / "stories260K"
DRAWS = 20000


def draw(logits, history, temperature=1, top_k=0, top_p=1, min_p=0, penalty=1, draws=DRAWS):
    words = [temperature, top_k, top_p, min_p, penalty, draws, len(logits), len(history),
             *map(repr, map(float, logits)), *history]
    found = subprocess.run([os.environ["LIBLORA_SAMPLER_TOOL"]], input=" ".join(map(str, words)), capture_output=True,
                           text=True, check=True)
    return numpy.array(found.stdout.split(), int)


def reference(logits, history, temperature=1, top_k=0, top_p=1, min_p=0, penalty=1):
    """Probabilities as transformers' sampling makes them, in the order of its generate()."""
    torch = pytest.importorskip("torch")
    from transformers.generation import logits_process as p
    processors = []
    if penalty != 1:
        processors.append(p.RepetitionPenaltyLogitsProcessor(float(penalty)))
    if temperature != 1:
        processors.append(p.TemperatureLogitsWarper(float(temperature)))
    if top_k:
        processors.append(p.TopKLogitsWarper(top_k))
    if top_p < 1:
        processors.append(p.TopPLogitsWarper(top_p))
    if min_p > 0:
        processors.append(p.MinPLogitsWarper(min_p))
    scores, ids = torch.tensor(logits, dtype=torch.float32)[None], torch.tensor([history], dtype=torch.long)
    for processor in processors:
        scores = processor(ids, scores)
    return torch.softmax(scores[0].double(), -1).numpy()


SETTINGS = [
    {}, {"temperature": 0.5}, {"temperature": 1.7}, {"top_k": 1}, {"top_k": 5}, {"top_k": 1000}, {"top_p": 0.5},
    {"top_p": 0.01},
    {"top_p": 0.97}, {"min_p": 0.1}, {"min_p": 0.9}, {"penalty": 1.5}, {"penalty": 0.7},
    {"temperature": 0.8, "top_k": 20, "top_p": 0.9}, {"temperature": 1.4, "top_k": 30, "top_p": 0.95, "min_p": 0.05,
                                                      "penalty": 1.2},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_sampling_is_transformers(settings):
    generator = numpy.random.default_rng(9)
    logits = generator.normal(0, 2.5, 60).astype(numpy.float32)
    history = generator.integers(0, 60, 25).tolist()
    expected = reference(logits, history, **settings)
    counts = numpy.bincount(draw(logits, history, **settings), minlength=60)
    assert counts.sum() == DRAWS
    assert set(numpy.flatnonzero(counts)) <= set(numpy.flatnonzero(expected))
    deviation = numpy.sqrt(DRAWS * expected * (1 - expected))
    assert (numpy.abs(counts - DRAWS * expected) <= 5 * deviation + 1e-9).all()


def test_ties_with_the_kth_stay_in():
    logits = [1.0, 2.0, 2.0, 2.0, 0.0]
    assert set(draw(logits, [], top_k=2)) == set(numpy.flatnonzero(reference(logits, [], top_k=2)))


def test_greedy_is_the_best_after_the_penalty():
    logits = [3.0, 2.9, -1.0, 2.0]
    assert set(draw(logits, [0], temperature=0, draws=3)) == {0}
    assert set(draw(logits, [0, 0], temperature=0, penalty=1.1, draws=3)) == {1}  # 3.0 / 1.1 < 2.9


# ---- stories260K -----------------------------------------------------------------------------------------------------

needs_stories = pytest.mark.skipif(not STORIES.exists(), reason="needs LIBLORA_SHARED")


def expected_text():
    return (STORIES / "expected_greedy_200.txt").read_text().rstrip("\n")


@needs_stories
@pytest.mark.parametrize("name", ["stories260K.bin", "stories260K.gguf"])
def test_greedy_story(name):
    import liblora
    context = liblora.Context(threads=1)
    model = liblora.Model(context, STORIES / name)
    tokenizer = model.tokenizer or liblora.Tokenizer.load(context, STORIES / "tok512.bin")
    ids, _ = liblora.Session(model).generate([1], max_new_tokens=200, temperature=0)
    assert tokenizer.decode(ids).strip() == expected_text().strip()


@needs_stories
def test_greedy_story_by_the_program():
    found = subprocess.run([os.environ["LORA_PROGRAM"], "generate", STORIES / "stories260K.gguf", "--prompt-ids", "1",
                            "--greedy", "--max-new-tokens", "200", "--json", "--quiet"], capture_output=True, text=True,
                           check=True)
    assert json.loads(found.stdout)["text"].strip() == expected_text().strip()


@needs_stories
def test_a_cache_of_16_bits_tells_the_same_story():
    arguments = [os.environ["LORA_PROGRAM"], "generate", STORIES / "stories260K.gguf", "--prompt-ids", "1", "--greedy",
                 "--max-new-tokens", "200", "--json", "--quiet", "--cache-type"]
    found = subprocess.run([*arguments, "f16"], capture_output=True, text=True, check=True)
    assert json.loads(found.stdout)["text"].strip() == expected_text().strip()
    refused = subprocess.run([*arguments, "int8"], capture_output=True, text=True)
    assert refused.returncode == 2 and "--cache-type int8: choose f32, f16 or bf16" in refused.stderr


@needs_stories
@pytest.mark.parametrize("length", [1, 64, 100, 130])
def test_a_fork_goes_on_with_the_story(length):
    import liblora
    model = liblora.Model(liblora.Context(threads=1), STORIES / "stories260K.gguf")
    session = liblora.Session(model)
    ids, _ = session.generate([1], max_new_tokens=200, temperature=0)
    forked = session.fork(length)
    session.close()
    rest, _ = forked.generate([], max_new_tokens=201 - length, temperature=0)
    assert model.tokenizer.decode(ids[:length - 1] + rest).strip() == expected_text().strip()
