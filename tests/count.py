"""Sums up test reports: meson's testlog.json and pytest's junit XML. Prints the names of what failed, then the line
that tests/run.sh ends with. A report that is missing is a suite that crashed: one failure.

    count.py REPORT...
"""
import json
import pathlib
import sys
import xml.etree.ElementTree as xml

GOOD, SKIPPED = ("OK", "EXPECTEDFAIL"), ("SKIP",)


def of_meson(path):
    for line in path.read_text().splitlines():
        test = json.loads(line)
        yield test["name"], "skipped" if test["result"] in SKIPPED else "passed" if test["result"] in GOOD else "failed"


def of_pytest(path):
    for case in xml.parse(path).getroot().iter("testcase"):
        kinds = {child.tag for child in case}
        outcome = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
        yield f"{case.get('classname')}::{case.get('name')}", outcome


def main():
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    for path in map(pathlib.Path, sys.argv[1:]):
        try:
            cases = list((of_meson if path.suffix == ".json" else of_pytest)(path))
        except (OSError, ValueError, xml.ParseError) as error:
            cases = [(f"no report ({error})", "failed")]
        if not cases:
            cases = [("no test was run", "failed")]
        for name, outcome in cases:
            counts[outcome] += 1
            if outcome == "failed":
                print(f"failed: {path.parent.name}/{path.name}: {name}")
    if counts["skipped"]:
        print(f"{counts['skipped']} skipped")
    print(f"{counts['passed']} passed, {counts['failed']} failed")
    return 1 if counts["failed"] or not counts["passed"] else 0


sys.exit(main())
