"""Requests that begin as a conversation answered before go on from what was kept of it, and say the same."""
import time

SYSTEM = "You write short and polite office mails. " * 40
TURN = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": "Write a short mail about the survey."}]


def ask(client, messages, **more):
    answer = client.chat.completions.create(model="base", messages=messages, max_tokens=24, temperature=0, **more)
    return answer.choices[0].message.content, answer.usage


def next_turn(text, question):
    return TURN + [{"role": "assistant", "content": text}, {"role": "user", "content": question}]


def first_token_seconds(client, messages):
    begin = time.monotonic()
    for event in client.chat.completions.create(model="base", messages=messages, max_tokens=2, temperature=0,
                                                stream=True):
        if event.choices and event.choices[0].delta.content:
            return time.monotonic() - begin


def test_the_same_answer_with_and_without(serve):
    server = serve()
    text, usage = ask(server.client(), TURN)
    assert usage.prompt_tokens_details.cached_tokens == 0
    turns = [next_turn(text, question) for question in ("And now a shorter one.", "Make it friendly.")] + [TURN]
    found = [ask(server.client(), turn) for turn in turns]
    for turn, (answer, with_kept) in zip(turns, found):
        server.stop()
        expected, without = ask(server.start().client(), turn)
        assert answer == expected and with_kept.prompt_tokens == without.prompt_tokens
        assert without.prompt_tokens_details.cached_tokens == 0
        assert usage.prompt_tokens - 1 <= with_kept.prompt_tokens_details.cached_tokens < with_kept.prompt_tokens


def test_another_client_shares_the_system_prompt(serve):
    server = serve()
    ask(server.client(), TURN)
    other = [TURN[0], {"role": "user", "content": "Thank the team."}]
    _, usage = ask(server.client(), other)
    assert usage.prompt_tokens_details.cached_tokens > usage.prompt_tokens // 2
    _, usage = ask(server.client(), [{"role": "user", "content": "Thank the team."}])
    assert usage.prompt_tokens_details.cached_tokens < 16


def test_a_second_turn_starts_sooner(serve):
    server = serve()
    first = first_token_seconds(server.client(), TURN)
    second = first_token_seconds(server.client(), TURN[:1] + [{"role": "user", "content": "Thank the team."}])
    print(f"first token: {first * 1000:.0f} ms, then {second * 1000:.0f} ms")
    assert second < first


def test_the_one_not_used_for_longest_goes_first(serve):
    client = serve().client()

    def cached(number):
        messages = [{"role": "user", "content": f"{number} is a number; what do you know about the number {number}?"}]
        return client.chat.completions.create(model="base", messages=messages, max_tokens=1,
                                              temperature=0).usage.prompt_tokens_details.cached_tokens
    assert cached(100) == 0
    for number in range(101, 132):  # 32 are kept
        cached(number)
    assert cached(100) > 16
    assert cached(132) < 16  # in place of 101
    assert cached(100) > 16
    assert cached(101) < 16
