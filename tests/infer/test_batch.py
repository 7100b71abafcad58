"""Sessions run together say what each says alone, whatever adapters, lengths and settings stand beside it."""
import pathlib

import numpy
import pytest

import liblora

BASE = pathlib.Path(__file__).resolve().parents[2] / "examples" / "base"
TEXTS = ["The meeting", "Dear David,", "Write a short mail about the survey. " * 12, "请写一封邮件", "Hello",
         "Please translate the product video " * 20]
SETTINGS = [{"temperature": 0}, {"temperature": 1.2, "seed": 7}, {"temperature": 0, "repetition_penalty": 1.3},
            {"temperature": 0.9, "seed": 3, "top_k": 5}]


@pytest.fixture(scope="module")
def model():
    """In f32: the prompts of other types may be rounded, alone and beside an answer differently."""
    return liblora.Model(liblora.Context(threads=2), BASE, type=liblora._c.TYPE_F32)


@pytest.fixture(scope="module")
def adapters(model):
    """Different ranks and layers, with weights that matter."""
    made = []
    for seed, settings in enumerate([{"r": 2}, {"r": 8, "target_modules": ["all-linear"]},
                                     {"r": 4, "target_modules": ["up_proj", "o_proj"]}]):
        adapter = liblora.Adapter.create(model, seed=seed, lora_alpha=16, **settings)
        random = numpy.random.default_rng(seed)
        for name, values in adapter.tensors.items():
            adapter.tensors[name] = random.normal(0, 0.05, values.shape)
        made.append(adapter)
    return made


def uses(adapters, i):
    return [(), (adapters[0],), (adapters[1],), ((adapters[2], 0.5),),
            (adapters[0], (adapters[1], 0.7)), (adapters[1],)][i % 6]


def ids_of(model, i):
    return model.tokenizer.encode(TEXTS[i % len(TEXTS)])


def alone(model, adapters, i, count):
    session = liblora.Session(model, uses(adapters, i), context_length=400)
    session.prompt(ids_of(model, i), max_new_tokens=count, ignore_end=1, **SETTINGS[i % 4])
    found = []
    while True:
        values = session.log_probabilities()
        piece = session.next()
        found.append((piece.id, piece.text, values))
        if piece.finish:
            return found


def together(model, adapters, wanted, count, prompt_tokens, late=()):
    """The sessions of `wanted`; those in `late` come when the others have written a little."""
    batch = liblora.Batch(model, max_sessions=len(wanted), prompt_tokens=prompt_tokens)
    sessions, found, running = {}, {i: [] for i in wanted}, []
    for step in range(10000):
        for i in wanted:
            if i not in sessions and (i not in late or step >= 6):
                sessions[i] = liblora.Session(model, uses(adapters, i), context_length=400)
                sessions[i].prompt(ids_of(model, i), later=True, max_new_tokens=count, ignore_end=1, **SETTINGS[i % 4])
                running.append(i)
        if not running:
            return found
        for i, (status, left) in zip(list(running), batch.run([sessions[i] for i in running])):
            assert status == 0
            if left:
                continue
            values = sessions[i].log_probabilities()
            piece = sessions[i].next()
            found[i].append((piece.id, piece.text, values))
            if piece.finish:
                running.remove(i)


@pytest.mark.parametrize("prompt_tokens, late", [(128, ()), (7, ()), (16, (1, 4, 9))])
def test_each_says_what_it_says_alone(model, adapters, prompt_tokens, late):
    wanted = list(range(12))
    found = together(model, adapters, wanted, 12, prompt_tokens, late)
    for i in wanted:
        expected = alone(model, adapters, i, 12)
        assert [(t, text) for t, text, _ in found[i]] == [(t, text) for t, text, _ in expected], i
        assert numpy.abs(numpy.array([v for _, _, v in found[i]]) -
                         numpy.array([v for _, _, v in expected])).max() < 1e-4, i


def test_adapters_are_not_mixed_up(model, adapters):
    """Every session's first log-probabilities against a plain evaluation with its adapters: another way through the
    library."""
    found = together(model, adapters, list(range(6)), 1, 200)
    seen = []
    for i in range(6):
        ids = ids_of(model, i)
        expected = liblora.log_probabilities(model, ids, adapters=uses(adapters, i))[-1]
        assert numpy.abs(found[i][0][2] - expected).max() < 1e-3
        seen.append(expected)
    assert numpy.abs(seen[1] -
                     liblora.log_probabilities(model, ids_of(model, 1))[-1]).max() > 0.05  # the adapters do matter


def test_one_that_fails_does_not_touch_the_others(model, adapters):
    batch = liblora.Batch(model, max_sessions=3)
    sessions = [liblora.Session(model, uses(adapters, i), context_length=64) for i in range(3)]
    for i in (0, 2):
        sessions[i].prompt(ids_of(model, i % 2), later=True, max_new_tokens=5)
    sessions[2].cancel()
    cancelled, state = liblora._c.ERROR_CANCELLED, liblora._c.ERROR_STATE
    assert [s for s, _ in batch.run(sessions)] == [0, state, cancelled]  # session 1 was asked nothing
    assert sessions[0].next().id >= 0


def test_a_long_prompt_is_read_in_parts(model, adapters):
    batch = liblora.Batch(model, max_sessions=2, prompt_tokens=10)
    long, short = liblora.Session(model, context_length=400), liblora.Session(model, context_length=400)
    ids = ids_of(model, 5)
    short.prompt([5], later=True, max_new_tokens=100, ignore_end=1)
    long.prompt(ids, later=True, max_new_tokens=2)
    left = []
    while not left or left[-1]:
        (_, ready), (_, rest) = batch.run([short, long])
        assert ready == 0
        short.next()
        left.append(rest)
    assert left == [max(0, len(ids) - 10 * (k + 1)) for k in range(len(left))]


def test_arguments(model):
    batch = liblora.Batch(model, max_sessions=1)
    sessions = [liblora.Session(model, context_length=16) for _ in range(2)]
    with pytest.raises(liblora.LoraError):
        batch.run(sessions)
    other = liblora.Model(liblora.Context(threads=1), BASE)
    with pytest.raises(liblora.LoraError, match="another model"):
        batch.run([liblora.Session(other, context_length=16)])
    assert batch.run([]) == []
    with pytest.raises(liblora.LoraError):
        liblora.Batch(model, max_sessions=0)


def test_rounded_prompts_are_as_near_as_in_torch(model):
    """A bf16 base: the first log-probabilities after a prompt stray from those in f32 no farther than torch's in bf16
    do."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    stored = liblora.Model(liblora.Context(threads=2), BASE)
    reference = transformers.AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.bfloat16).eval()
    strayed, allowed = [], []
    for i in (1, 2, 5):
        ids = [*ids_of(stored, i), *ids_of(stored, 2)]
        exact = liblora.log_probabilities(model, ids)[-1]
        session = liblora.Session(stored, context_length=400)
        session.prompt(ids, max_new_tokens=1)
        with torch.no_grad():
            theirs = reference(torch.tensor([ids])).logits[0, -1].float().log_softmax(-1).numpy()
        strayed.append(numpy.abs(session.log_probabilities() - exact).mean())
        allowed.append(numpy.abs(theirs - exact).mean())
    assert sum(strayed) <= sum(allowed), (strayed, allowed)


def test_greedy_is_transformers_greedy(model):
    """Alone, with lookahead, and together: the ids that transformers' generate takes."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    reference = transformers.AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32).eval()
    prompts = [ids_of(model, i) for i in range(5)]
    settings = dict(temperature=0, max_new_tokens=20, ignore_end=1)
    batch, sessions = (liblora.Batch(model, max_sessions=5, prompt_tokens=9),
                       [liblora.Session(model, context_length=400) for _ in prompts])
    for session, ids in zip(sessions, prompts):
        session.prompt(ids, later=True, **settings)
    found = [[] for _ in prompts]
    while any(len(ids) < 20 for ids in found):
        running = [i for i in range(5) if len(found[i]) < 20]
        for i, (status, left) in zip(running, batch.run([sessions[i] for i in running])):
            if status == 0 and left == 0:
                found[i].append(sessions[i].next().id)
    for ids, together in zip(prompts, found):
        with torch.no_grad():
            expected = reference.generate(torch.tensor([[int(i) for i in ids]]), do_sample=False, max_new_tokens=20,
                                          min_new_tokens=20, eos_token_id=None, pad_token_id=0)[0, len(ids):].tolist()
        assert together == expected
        for lookahead in (0, 6):
            assert liblora.Session(model, context_length=400).generate(ids, lookahead=lookahead,
                                                                       **settings)[0] == expected
