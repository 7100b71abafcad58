"""Writes the page's files and the tutorials as C.      embed.py OUTPUT.c FILE...      (.md: NUMBER-NAME.LANGUAGE.md)"""
import gzip
import hashlib
import html
import pathlib
import re
import sys

TYPES = {".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8",
         ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}


def inline(text):
    """`code`, **strong**, *emphasis* and [links](address) of a line."""
    parts = re.split(r"(`[^`]+`)", text)
    for i, part in enumerate(parts):
        if part.startswith("`") and len(part) > 1:
            parts[i] = f"<code>{html.escape(part[1:-1])}</code>"
            continue
        part = html.escape(part, quote=False)
        part = re.sub(r"\[([^\]]+)\]\(([^)]+)\)", lambda m: f'<a href="{html.escape(m[2])}">{m[1]}</a>', part)
        part = re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", part)
        parts[i] = re.sub(r"\*([^*]+)\*", r"<em>\1</em>", part)
    return "".join(parts)


def table(lines):
    cells = [[inline(cell.strip()) for cell in line.strip().strip("|").split("|")] for line in lines]
    head = "".join(f"<th>{cell}</th>" for cell in cells[0])
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in cells[2:])
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def listing(lines):
    tag = "ol" if re.match(r"\d+\.", lines[0]) else "ul"
    items = []
    for line in lines:
        found = re.match(r"(?:[-*]|\d+\.)\s+(.*)", line)
        if found:
            items.append(found[1])
        else:
            items[-1] += joint(items[-1], line.strip()) + line.strip()
    return f"<{tag}>" + "".join(f"<li>{inline(item)}</li>" for item in items) + f"</{tag}>"


def joint(before, after):
    """Lines of Chinese join without a space."""
    return "" if before and after and (ord(before[-1]) > 0x2e80 or ord(after[0]) > 0x2e80) else " "


def paragraph(lines):
    text = lines[0].strip()
    for line in lines[1:]:
        text += joint(text, line.strip()) + line.strip()
    return f"<p>{inline(text)}</p>"


def block(lines):
    first = lines[0]
    if first.startswith("#"):
        level = len(first) - len(first.lstrip("#"))
        return f"<h{level}>{inline(first.lstrip('# '))}</h{level}>" + (block(lines[1:]) if lines[1:] else "")
    if first.startswith("    "):
        return "<pre><code>" + html.escape("\n".join(line[4:] for line in lines), quote=False) + "</code></pre>"
    if first.startswith("|"):
        return table(lines)
    if re.match(r"[-*] |\d+\. ", first):
        return listing(lines)
    return paragraph(lines)


def markdown(text):
    out, lines, code = [], [], None
    for line in text.splitlines() + [""]:
        if code is not None:
            if line.startswith("```"):
                out.append("<pre><code>" + html.escape("\n".join(code), quote=False) + "</code></pre>")
                code = None
            else:
                code.append(line)
        elif line.startswith("```") or not line.strip():
            if lines:
                out.append(block(lines))
            lines = []
            code = [] if line.startswith("```") else None
        else:
            lines.append(line)
    return "\n".join(out)


def quoted(text):
    """A C string, an escape for everything that is not plain."""
    escaped = "".join(chr(b) if 32 <= b < 127 and chr(b) not in '"\\?' else f"\\{b:03o}" for b in text.encode())
    pieces = re.findall(r"(?:\\\d{3}|[^\\]){1,120}", escaped) or [""]
    return "\n        ".join(f'"{piece}"' for piece in pieces)


def main(output, *names):
    files = sorted(map(pathlib.Path, names))
    out, table_lines = ['#include "assets.h"'], []
    for i, path in enumerate(p for p in files if p.suffix != ".md"):
        raw = path.read_bytes()
        packed = gzip.compress(raw, 9, mtime=0)
        out.append(f"static const unsigned char bytes_{i}[] = {{{','.join(map(str, packed))}}};")
        tag = hashlib.sha256(raw).hexdigest()[:24]
        table_lines.append(f'    {{"{path.name}", "{TYPES[path.suffix]}", "\\"{tag}\\"", bytes_{i}, '
                           f'{len(packed)}, {len(raw)}}},')
    out += ["const asset assets[] = {", *table_lines, "    {0},", "};", "const tutorial tutorials[] = {"]
    texts = {}
    for path in (p for p in files if p.suffix == ".md"):
        name, language, _ = path.name.rsplit(".", 2)
        texts.setdefault(name, {})[language] = path.read_text(encoding="utf-8")
    for name, both in sorted(texts.items()):
        titles = [re.search(r"^# (.*)$", both[language], re.M)[1] for language in ("en", "zh")]
        values = [name, *titles, markdown(both["en"]), markdown(both["zh"])]
        out.append("    {" + ",\n    ".join(map(quoted, values)) + "},")
    out += ["    {0},", "};", ""]
    pathlib.Path(output).write_text("\n".join(out))


main(*sys.argv[1:])
