"""Dependencies point one way: examples, bindings -> include -> src -> lib, backend.h <- cpu, cuda."""
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
# room: (own folders it may include from, public headers it may include; None: all)
BASIC = {"abi.h", "status.h", "context.h", "types.h"}
ROOMS = {
    "include": ((), None),
    "lib": (("lib",), BASIC),
    "cpu": (("cpu", "lib"), BASIC | {"backend.h"}),
    "cuda": (("cuda",), BASIC | {"backend.h"}),
    "src": (("src", "lib", "cpu/cpu.h"), None),
    "examples": ((), None),
    "bindings": ((), None),
}
# The order inside src: a room includes those before it, and itself.
ORDER = ["core", "text", "data", "model", "adapter", "train", "infer", "eval", "compare", "report"]


def sources(folder):
    return sorted(path for path in (ROOT / folder).rglob("*")
                  if path.suffix in (".c", ".h", ".cc", ".cpp", ".hpp", ".cu"))


def includes(path):
    """(how it is written, the file in the repository that it means or None)"""
    for name in re.findall(r'^\s*#\s*include\s+"([^"]+)"', path.read_text(), flags=re.M):
        for base in (path.parent, ROOT):
            if (base / name).exists():
                yield name, (base / name).resolve().relative_to(ROOT)
                break
        else:
            yield name, None


def public_includes(path):
    return re.findall(r"^\s*#\s*include\s+<lora/([^>]+)>", path.read_text(), flags=re.M)


@pytest.mark.parametrize("room", [room for room in ROOMS if (ROOT / room).is_dir()])
def test_room_includes_only_what_it_may(room):
    folders, headers = ROOMS[room]
    wrong = []
    for path in sources(room):
        for name, target in includes(path):
            where = target.as_posix() if target else None
            if not where or not any(where == f or where.startswith(f + "/") for f in (room, *folders)):
                wrong.append(f"{path.relative_to(ROOT)}: {name}")
        for name in public_includes(path):
            if headers is not None and name not in headers:
                wrong.append(f"{path.relative_to(ROOT)}: <lora/{name}>")
    assert wrong == []


def test_rooms_of_the_domain_have_an_order():
    wrong = []
    for path in sources("src"):
        own = path.relative_to(ROOT / "src").parts[0]
        for name, target in includes(path):
            parts = target.parts if target else ()
            if (parts[:1] == ("src",) and parts[1] in ORDER and own in ORDER and
                ORDER.index(parts[1]) > ORDER.index(own)):
                wrong.append(f"{path.relative_to(ROOT)}: {name}")
    assert wrong == []
