"""The OpenAI interface, through OpenAI's own client; texts against the program's `generate`."""
import json
import os
import subprocess

import openai
import pytest

from .conftest import BASE

QUESTION = "Write a short mail about the survey."
MESSAGES = [{"role": "user", "content": QUESTION}]


@pytest.fixture(scope="module")
def client(server):
    return server.client()


def ask(client, **more):
    return client.chat.completions.create(**{"model": "base", "messages": MESSAGES, "max_tokens": 24, "temperature": 0,
                                             **more})


@pytest.fixture(scope="module")
def greedy():
    """What `lora generate` writes."""
    done = subprocess.run([os.environ["LORA_PROGRAM"], "generate", str(BASE), "--prompt", QUESTION, "--greedy",
                           "--max-new-tokens", "24", "--json", "--quiet"],
                          capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_an_answer_is_what_the_program_writes(client, greedy):
    answer = ask(client)
    assert answer.choices[0].message.content == greedy["text"]
    assert answer.choices[0].message.role == "assistant"
    assert ((answer.usage.prompt_tokens, answer.usage.completion_tokens) ==
            (greedy["prompt_tokens"], greedy["generated_tokens"]))
    assert answer.usage.total_tokens == greedy["prompt_tokens"] + greedy["generated_tokens"]


def test_a_stream_says_the_same(client, greedy):
    events = list(ask(client, stream=True, stream_options={"include_usage": True}))
    assert events[0].choices[0].delta.role == "assistant"
    assert "".join(e.choices[0].delta.content or "" for e in events if e.choices) == greedy["text"]
    assert [e.choices[0].finish_reason for e in events if e.choices][-1] in ("stop", "length")
    assert events[-1].choices == [] and events[-1].usage.completion_tokens == greedy["generated_tokens"]
    assert len({e.id for e in events}) == 1


def test_without_usage_the_stream_has_none(client):
    assert all(e.choices and e.usage is None for e in ask(client, stream=True))


def test_length_and_end(client):
    assert ask(client, max_tokens=3).choices[0].finish_reason == "length"
    assert ask(client, max_tokens=3).usage.completion_tokens == 3
    assert ask(client, max_completion_tokens=200, max_tokens=openai.NOT_GIVEN).choices[0].finish_reason == "stop"


def test_stop_texts_end_the_answer_and_are_not_in_it(client, greedy):
    word = greedy["text"].split()[3]
    answer = ask(client, stop=[word, "never to be seen"])
    assert answer.choices[0].message.content == greedy["text"][:greedy["text"].index(word)]
    assert answer.choices[0].finish_reason == "stop"
    assert ("".join(e.choices[0].delta.content or "" for e in ask(client, stop=word, stream=True)) ==
            answer.choices[0].message.content)


def test_a_seed_makes_the_same_answer(client):
    texts = [ask(client, temperature=1.2, seed=seed).choices[0].message.content for seed in (5, 5, 6)]
    assert texts[0] == texts[1] != texts[2]


def test_several_answers(client):
    answer = ask(client, temperature=1.2, seed=5, n=3)
    assert [c.index for c in answer.choices] == [0, 1, 2]
    assert len({c.message.content for c in answer.choices}) > 1
    assert answer.choices[0].message.content == ask(client, temperature=1.2, seed=5).choices[0].message.content
    streamed = {0: "", 1: "", 2: ""}
    for event in ask(client, temperature=1.2, seed=5, n=3, stream=True):
        streamed[event.choices[0].index] += event.choices[0].delta.content or ""
    assert streamed == {c.index: c.message.content for c in answer.choices}


def test_log_probabilities(client):
    answer = ask(client, logprobs=True, top_logprobs=3, max_tokens=6)
    entries = answer.choices[0].logprobs.content
    assert len(entries) == answer.usage.completion_tokens
    for entry in entries:
        values = [t.logprob for t in entry.top_logprobs]
        assert len(values) == 3 and values == sorted(values, reverse=True) and all(v <= 0 for v in values)
        assert (entry.token, entry.logprob) == (entry.top_logprobs[0].token, entry.top_logprobs[0].logprob)  # greedy
        assert bytes(entry.bytes).decode() == entry.token
    streamed = [e for event in ask(client, logprobs=True, top_logprobs=3, max_tokens=6, stream=True)
                for c in event.choices if c.logprobs for e in c.logprobs.content]
    assert [(e.token, e.logprob) for e in streamed] == [(e.token, e.logprob) for e in entries]


def test_log_probabilities_are_those_of_transformers(client):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(BASE)
    model = transformers.AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32)
    ids = tokenizer("The meeting", return_tensors="pt").input_ids
    with torch.no_grad():
        wanted = model(ids).logits[0, -1].log_softmax(-1).topk(5)
    got = client.completions.create(model="base", prompt="The meeting", max_tokens=1, temperature=0,
                                    logprobs=5).choices[0].logprobs.top_logprobs[0]
    assert list(got) == [tokenizer.decode([i]) for i in wanted.indices.tolist()]
    assert list(got.values()) == pytest.approx(wanted.values.tolist(), abs=1e-4)


def test_plain_completions(client):
    answer = client.completions.create(model="base", prompt=["The meeting", "Dear David,"], max_tokens=8, temperature=0,
                                       n=2)
    assert [c.index for c in answer.choices] == [0, 1, 2, 3]
    assert answer.choices[0].text == answer.choices[1].text and answer.choices[2].text == answer.choices[3].text
    one = client.completions.create(model="base", prompt="Dear David,", max_tokens=8, temperature=0)
    assert one.choices[0].text == answer.choices[2].text
    assert "".join(e.choices[0].text for e in client.completions.create(
        model="base", prompt="Dear David,", max_tokens=8, temperature=0, stream=True)) == one.choices[0].text


def test_prompts_of_ids(client):
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(BASE)
    text = client.completions.create(model="base", prompt="Dear David,", max_tokens=8, temperature=0).choices[0].text
    assert client.completions.create(model="base", prompt=tokenizer("Dear David,").input_ids, max_tokens=8,
                                     temperature=0).choices[0].text == text


def test_content_in_parts(client, greedy):
    parts = [{"type": "text", "text": QUESTION[:10]}, {"type": "text", "text": QUESTION[10:]}]
    assert ask(client, messages=[{"role": "user", "content": parts}]).choices[0].message.content == greedy["text"]


def test_models(client):
    assert [m.id for m in client.models.list()] == ["base"]
    assert client.models.retrieve("base").owned_by == "lora"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("other")


@pytest.mark.parametrize("more, error, param", [
    ({"model": "other"}, openai.NotFoundError, "model"),
    ({"messages": []}, openai.BadRequestError, "messages"),
    ({"messages": [{"role": "user", "content": 5}]}, openai.BadRequestError, "messages"),
    ({"temperature": -1}, openai.BadRequestError, "temperature"),
    ({"top_p": 2}, openai.BadRequestError, "top_p"),
    ({"max_tokens": 0}, openai.BadRequestError, "max_tokens"),
    ({"max_tokens": 1.5}, openai.BadRequestError, "max_tokens"),
    ({"n": 9}, openai.BadRequestError, "n"),
    ({"presence_penalty": 1}, openai.BadRequestError, "presence_penalty"),
    ({"top_logprobs": 2}, openai.BadRequestError, "top_logprobs"),
    ({"logprobs": True, "top_logprobs": 21}, openai.BadRequestError, "top_logprobs"),
    ({"stop": ""}, openai.BadRequestError, "stop"),
    ({"response_format": {"type": "json_object"}}, openai.BadRequestError, "response_format"),
    ({"messages": [{"role": "user", "content": "word " * 600}]}, openai.BadRequestError, "messages"),
    ({"extra_body": {"adapters": [{"name": "nobody", "weight": 1}]}}, openai.NotFoundError, "adapters"),
])
def test_errors_are_openais(client, more, error, param):
    with pytest.raises(error) as caught:
        ask(client, **more)
    assert caught.value.param == param and caught.value.body["message"] and caught.value.type == "invalid_request_error"


def test_a_long_answer_stays_inside_the_context(client):
    answer = ask(client, max_tokens=100000, extra_body={"min_p": 0})
    assert answer.usage.total_tokens <= 512


def test_a_cache_of_16_bits_takes_what_one_of_32_does_not(serve, greedy):
    few = ("--cache-memory", "3500KB")
    server = serve(*few)
    with pytest.raises(openai.BadRequestError, match="--cache-memory"):
        ask(server.client(), max_tokens=440)
    server.stop()
    answer = ask(serve(*few, "--cache-type", "f16").client(), max_tokens=440)
    assert answer.choices[0].message.content.startswith(greedy["text"][:40])
