"""The binary interface: headers that stand alone, exported symbols, the stored ABI description, what the library links
and weighs. After a change that is meant:

    LIBLORA_UPDATE_ABI=1 python3 -m pytest tests/abi     writes exports.txt and liblora.abi anew
"""
import os
import pathlib
import platform
import re
import shutil
import subprocess

import pytest

HERE = pathlib.Path(__file__).resolve().parent
INCLUDE = HERE.parents[1] / "include"
LIBRARY = pathlib.Path(os.environ["LIBLORA_LIBRARY"]).resolve()
HEADERS = sorted(path.name for path in (INCLUDE / "lora").glob("*.h"))
UPDATE = os.environ.get("LIBLORA_UPDATE_ABI") == "1"
STRICT = ["-pedantic-errors", "-Wall", "-Wextra", "-Werror", "-Wconversion", "-fsyntax-only"]


def run(*command, text=None):
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, input=text)


@pytest.mark.parametrize("compiler, language, standard",
                         [("gcc", "c", "c11"), ("clang", "c", "c11"), ("g++", "c++", "c++17"),
                                                          ("clang++", "c++", "c++17")])
@pytest.mark.parametrize("header", HEADERS)
def test_header_stands_alone(header, compiler, language, standard):
    strict = STRICT + (["-Wstrict-prototypes"] if language == "c" else ["-Wold-style-cast"])
    done = run(compiler, "-x", language, f"-std={standard}", *strict, "-I", INCLUDE, "-",
               text=f"#include <lora/{header}>\n")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("header", HEADERS)
def test_header_keeps_to_the_rules(header):
    """Fixed-width integers, size_t, float, pointers and structs alone: no long, enum, bit-field, bool or FILE."""
    text = re.sub(r"/\*.*?\*/", "", (INCLUDE / "lora" / header).read_text(), flags=re.S)
    assert not re.findall(r"\b(long|short|unsigned|enum|bool|FILE|va_list|int)\b", text)
    assert not re.findall(r"\w\s*:\s*\d+\s*;", text)


def exported():
    lines = run("nm", "-D", "--defined-only", LIBRARY).stdout.splitlines()
    return sorted(line.split()[-1].split("@")[0] for line in lines if line.split()[-2] not in "AN")


def test_exports():
    stored = HERE / "exports.txt"
    if UPDATE:
        stored.write_text("".join(name + "\n" for name in exported()))
    assert exported() == stored.read_text().split()


def test_every_declared_function_is_exported_and_no_other():
    text = "".join((INCLUDE / "lora" / name).read_text() for name in HEADERS)
    declared = set(re.findall(r"^LORA_API [^;(]*?\b(lora_\w+)\(", text, flags=re.M))
    assert declared - set(exported()) <= {"lora_backend_entry"}  # a plug-in's, not ours
    assert set(exported()) - declared == set()


def test_soname():
    number = re.search(r"#define LORA_ABI_VERSION (\d+)", (INCLUDE / "lora" / "abi.h").read_text()).group(1)
    dynamic = run("readelf", "-d", LIBRARY).stdout
    assert f"[liblora.so.{number}]" in dynamic


def interface_library(folder):
    """Every public function and type as a library of stubs with debug information: what the headers promise, in which
    handles are opaque. That the real library has the same functions is tested above."""
    source = [f"#include <lora/{name}>" for name in HEADERS]
    for name in HEADERS:
        text = re.sub(r"/\*.*?\*/", "", (INCLUDE / "lora" / name).read_text(), flags=re.S)
        for declaration in re.findall(r"^LORA_API ([^;]*);", text, flags=re.M):
            source.append(re.sub(r"\b(lora_\w+)\(", r"(\1)(", declaration, count=1) + " { __builtin_trap(); }")
    source.append("LORA_API const lora_backend *lora_backend_of_the_interface;")
    (folder / "interface.c").write_text("\n".join(source))
    done = run("gcc", "-g", "-O0", "-w", "-shared", "-fPIC", "-fvisibility=hidden", "-I", INCLUDE, "-o",
               folder / "liblora.so", folder / "interface.c")
    assert done.returncode == 0, done.stderr
    return folder / "liblora.so"


@pytest.mark.skipif(not shutil.which("abidiff"), reason="abidiff (package abigail-tools) is not installed")
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the stored description is of x86-64")
def test_abi_is_the_stored_one(tmp_path):
    """A change here breaks programs built before, or adds to the interface: see abi.h on which is which."""
    stored, library = HERE / "liblora.abi", interface_library(tmp_path)
    if UPDATE:
        done = run("abidw", "--no-corpus-path", "--no-comp-dir-path", "--no-show-locs", "--no-elf-needed", "--out-file",
                   stored, library)
        assert done.returncode == 0, done.stderr
        stored.write_text(stored.read_text().replace(str(tmp_path) + "/", ""))
    done = run("abidiff", stored, library)
    assert done.returncode == 0, done.stdout + done.stderr


ALLOWED = {"libc", "libm", "libz", "libjansson", "libutf8proc", "libpcre2-8", "libdl", "libpthread", "ld-linux-x86-64",
           "ld-linux-aarch64", "linux-vdso"}


def test_links_only_what_it_needs():
    if "libasan" in run("ldd", LIBRARY).stdout:
        pytest.skip("a sanitizer build")
    names = {re.split(r"\.so", pathlib.Path(line.split()[0]).name)[0]
             for line in run("ldd", LIBRARY).stdout.splitlines()}
    assert names and names <= ALLOWED
    undefined = run("nm", "-D", "--undefined-only", LIBRARY).stdout.split()
    for name in ("exit", "abort", "printf", "puts", "signal", "sigaction", "raise", "system", "popen"):
        assert name not in [symbol.split("@")[0] for symbol in undefined], f"the library calls {name}"


def test_weighs_less_than_two_megabytes(tmp_path):
    stripped = tmp_path / "liblora.so"
    assert run("strip", "--strip-unneeded", "-o", stripped, LIBRARY).returncode == 0
    assert stripped.stat().st_size < 2_000_000
