"""The template language against jinja2 itself, in the environment that transformers compiles chat templates in."""
import itertools
import json
import os
import pathlib
import random
import subprocess

import pytest

transformers_chat = pytest.importorskip("transformers.utils.chat_template_utils")
compile_reference = transformers_chat._compile_jinja_template

HERE = pathlib.Path(__file__).resolve().parent
TOOL = os.environ.get("LIBLORA_RENDER_TOOL", "render_tool")
SHARED = pathlib.Path(os.environ.get("LIBLORA_SHARED", HERE.parents[2] / "shared"))
TEMPLATES = SHARED / "data" / "templates"


def render(jobs):
    """Ours, all at once: [(status, text, message)]."""
    done = subprocess.run([TOOL], input=json.dumps(jobs), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return [(r["status"], r["text"], r["message"]) for r in json.loads(done.stdout)]


def reference(job):
    """jinja2's text, or the exception."""
    try:
        return compile_reference(job["template"]).render(**job["variables"]), None
    except Exception as error:  # whatever it raises, ours must refuse too
        return None, error


def compare(jobs):
    wrong = []
    for job, (status, text, message) in zip(jobs, render(jobs), strict=True):
        expected, error = reference(job)
        if expected is None and status == 0:
            wrong.append((job["template"], f"expected {type(error).__name__}: {error}", text))
        elif expected is not None and (status != 0 or text != expected):
            wrong.append((job["template"], expected, text if status == 0 else f"error {status}: {message}"))
    assert not wrong, f"{len(wrong)} of {len(jobs)} differ\n" + "\n".join(
        f"{t!r}\n  expected {e!r}\n  got      {g!r}" for t, e, g in wrong[:20]
    )


VARIABLES = {
    "n": 7, "m": -3, "f": 2.5, "big": 1e22, "small": 1.5e-7, "t": True, "no": False, "none_value": None,
    "s": "Hello World", "z": "  spaced\tout \n", "u": "Ünï cödé 你好 😀 ß", "empty": "",
    "q": "it's \"quoted\" \\ \n",
    "html": "<b a='1'>&</b>", "lines": "one\ntwo\r\n\nfour\n", "csv": "a,b,,c", "digits": " 42 ",
    "l": [3, 1, 2], "words": ["pear", "Apple", "fig", "apple"], "mixed": [1, "a", None, True, 2.0, [1], {"k": "v"}],
    "d": {"b": 2, "a": 1, "C": 3, "items": "shadowed", "x y": [1, 2]}, "none_list": [], "none_dict": {},
    "people": [{"name": "Bo", "age": 30, "tags": ["x"]}, {"name": "al", "age": 25, "tags": []},
               {"name": "Cy", "age": 30, "tags": ["y", "z"]}],
    "nested": {"a": {"b": {"c": [10, 20, {"d": "deep"}]}}},
}

# One a line: values, operators, filters, tests, methods, and what must fail.
EXPRESSIONS = (HERE / "jinja_expressions.txt").read_text(encoding="utf-8").splitlines()

# Whole templates: statements, scopes, macros, whitespace control, and what must fail.
STATEMENTS = json.loads((HERE / "jinja_statements.json").read_text(encoding="utf-8"))



def test_expressions():
    compare([{"template": "{{ " + e + " }}", "variables": VARIABLES} for e in EXPRESSIONS])


def test_statements():
    compare([{"template": s, "variables": VARIABLES} for s in STATEMENTS])


def test_what_is_left_out_is_refused():
    refused = ["{% include 'x' %}", "{% import 'x' as y %}", "{% extends 'x' %}", "{% block b %}{% endblock %}",
               "{% for x in l recursive %}{% endfor %}", "{{ l | nosuch }}", "{{ l is nosuch }}"]
    for status, _, message in render([{"template": "\n" + t, "variables": VARIABLES} for t in refused]):
        assert status == -31 and message.startswith("template:2: "), message


def test_messages_name_the_line():
    cases = [("a\nb {{ none + 1 }}", -30, "template:2: "), ("{% if t %}\n\n{{ ( }}", -30, "template:3: "),
             ("\n\n{{ raise_exception('own words') }}", -33, "template:3: "),
             ("\n{{ d.x.y }}", -30, "'dict object' has no attribute 'x'")]
    jobs = [{"template": template, "variables": VARIABLES} for template, _, _ in cases]
    for (_, code, words), (status, _, message) in zip(cases, render(jobs)):
        assert status == code and words in message, message


def set_and_grow(start, step, turns):
    loop = f"{{% for i in range({turns}) %}}{{% set ns.x = {step} %}}{{% endfor %}}"
    return f"{{% set ns = namespace(x={start}) %}}{loop}"


HOSTILE = [
    "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "{{ 'x' * 2000000000 }}", "{{ [1] * 2000000000 }}",
    "{{ " + "[" * 400 + "]" * 400 + " }}", "{{ " + "(" * 5000 + " }}", "{{ " + "-" * 5000 + "1 }}",
    "{{ " + "not " * 5000 + "1 }}", "{% if 1 %}" * 500 + "{% endif %}" * 500,
    "{{ 1" + " + 1" * 50000 + " }}", "{{ x" + ".x" * 50000 + " }}", "{{ 1" + " and 1" * 50000 + " }}",
    set_and_grow("[]", "[ns.x]", 100000) + "{{ ns.x }}", set_and_grow("'ab'", "ns.x + ns.x", 60),
    set_and_grow("[1]", "ns.x + ns.x", 60), "{% set ns = namespace(x=0) %}{% set ns.x = ns %}{{ ns }}",
    "{{ 9223372036854775807 + 1 }}", "{{ 2 ** 64 }}", "{{ 99999999999999999999 }}", "{{ 3 ** 9223372036854775807 }}",
    "{{ '%999999999d' % 1 }}", "{{ 'a'.center(2000000000) }}", "{{ 'a' | indent(2000000000, true) }}",
    "{{ l | tojson(indent=2000000000) }}", "{{ ('x' * 100000).replace('', 'y' * 100000) }}",
    "{% filter " + "upper | " * 5000 + "upper %}x{% endfilter %}", "{% set x" + " | upper" * 5000 + " %}x{% endset %}",
    "{% set " + "(" * 5000 + "a %}", "{{ l | map('map', 'map', 'map') | list }}", "{{ 1 if 1 else " * 5000 + "1 }}",
    "{% for x in l %}" * 300 + "{% endfor %}" * 300, "{{ " + "{1:" * 400 + "1" + "}" * 400 + " }}",
]


def test_hostile_templates_end():
    jobs = [{"template": template, "variables": VARIABLES} for template in HOSTILE]
    for job, (status, _, message) in zip(jobs, render(jobs), strict=True):
        assert status != 0 and message, job["template"][:60]


PIECES = [
    "{% ", " %}", "{{ ", " }}", "{%- ", " -%}", "{#", "#}", "if t", "else", "endif", "for x in l", "endfor", "x",
    "n", "s", "d", "l", " | ", "upper", "join", "sort", "(", ")", "[", "]", "0", "1", ":", ".", "a", "'q'", "\"",
    " + ", " ~ ", " - ", " in ", " not ", " is ", "defined", "set y = ", "\n", "  ", "loop.index", ",", "== ",
    "text", "macro m(a)", "endmacro", "m(1)", "%", "{", "}", "-", "你", "\\", "raw", "endraw", "tojson", "length",
]
# Python's words for objects that have no text of their own: they hold addresses.
ADDRESSES = ("<generator object", "<built-in method", "<function", "<class", "<bound", "<Macro", "<reversed")


def test_random_templates():
    """Pieces put together at random: both refuse, or both give the same text."""
    rng = random.Random(20)
    jobs = []
    for _ in range(3000):
        words = [rng.choice(PIECES) for _ in range(rng.randint(1, 14))]
        template = rng.choice(["", "{{ ", "{% "]) + "".join(words) + rng.choice(["", " }}", " %}"])
        text, _ = reference({"template": template, "variables": VARIABLES})
        if not text or not any(word in text for word in ADDRESSES):
            jobs.append({"template": template, "variables": VARIABLES})
    assert len(jobs) > 2500
    compare(jobs)


# ---- chat templates -------------------------------------------------------------------------------------------------


def said(role):
    return lambda text, **more: {"role": role, "content": text, **more}


U, A, S, T = said("user"), said("assistant"), said("system"), said("tool")
CALLS = [{"type": "function", "id": "call12345",
          "function": {"name": "weather", "arguments": {"city": "Paris", "days": 2, "note": "a \"b\" é"}}}]
TOOLS = [{"type": "function", "function": {
    "name": "weather", "description": "The weather <now> & then 天气",
    "parameters": {"type": "object", "required": ["city"],
                   "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}}}]
CONVERSATIONS = [
    [U("Hi")], [S("Be brief."), U("Hi")], [U("Hi"), A("Hello!")], [U("")], [S(""), U("x")], [A("first")],
    [U("a"), U("b")],
    [S("  You are 小明. \n"), U(" 你好 😀 "), A(" 您好！\n"), U("再见"), A("")], [S("only")], [],
    [U("a"), A("b"), U("c"), A("d"), U("e")],
    [U("weather?"), A("", tool_calls=CALLS), T('{"t": 20}', tool_call_id="call12345", name="weather"), A("20 degrees")],
    [U("weather?"), A(None, tool_calls=CALLS)],
    [U("think"), A("<think>\nhm\n</think>\n\nyes"), U("again"), A("<think>x</think>no")],
    [U("q"), A("a", reasoning_content="because")], [U("line\nline\r\n\ttab"), A("{{ not a template }} {% raw %}")],
    [S("s"), U("<|im_end|></s>"), A("'quotes\" \\ <b>")], [U([{"type": "text", "text": "part"}])],
    [U("x"), said("other")("y")],
]
EXTRAS = [{}, {"enable_thinking": False}, {"date_string": "1 Jan 2025", "tools_in_user_message": False,
                                           "builtin_tools": ["code_interpreter", "search"]}]


@pytest.mark.parametrize("path", sorted(TEMPLATES.glob("*.jinja")), ids=lambda p: p.stem)
def test_chat_templates(path):
    source = path.read_text(encoding="utf-8")
    jobs = []
    for messages, prompt, tools, extra in itertools.product(CONVERSATIONS, (False, True), (None, TOOLS), EXTRAS):
        variables = {"messages": messages, "tools": tools, "documents": None, "add_generation_prompt": prompt,
                     "bos_token": "<s>", "eos_token": "</s>", **extra}
        jobs.append({"template": source, "variables": variables})
    assert len(jobs) == 228
    compare(jobs)


def test_there_are_templates():
    if not TEMPLATES.is_dir():
        pytest.skip(f"no {TEMPLATES}: set LIBLORA_SHARED")
    assert len(list(TEMPLATES.glob("*.jinja"))) >= 10
