"""How heavy each page of `lora serve` is and how soon it can be used, in headless Chromium: bytes of everything but
data, and milliseconds from the request until the page answers to clicks (its "interactive" mark), the median of several
cold loads.
    python tests/bench/page.py [--loads 5]"""
import argparse
import pathlib
import statistics
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import conftest  # noqa: F401, E402: finds the build
from page.conftest import PAGES, Reader, start_server  # noqa: E402

ENTRIES = ("return performance.getEntries().filter(e => 'decodedBodySize' in e && !e.name.includes('/api/'))"
           ".map(e => [e.decodedBodySize, e.transferSize])")


def measure(server, address, loads):
    times = []
    for _ in range(loads):
        me = Reader(server.url, 1280, "en", "light")
        me.open(address)
        times.append(me.script("return performance.getEntriesByName('interactive')[0].startTime"))
        sizes = me.script(ENTRIES)
        me.driver.quit()
    return sum(s for s, _ in sizes), sum(t for _, t in sizes), statistics.median(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loads", type=int, default=5)
    loads = parser.parse_args().loads
    with tempfile.TemporaryDirectory() as folder:
        server = start_server(pathlib.Path(folder))
        print(f"{'page':12} {'kB':>8} {'kB sent':>8} {'ms':>8}")
        for address in PAGES:
            whole, sent, ready = measure(server, address, loads)
            print(f"{address or 'start':12} {whole / 1000:8.0f} {sent / 1000:8.0f} {ready:8.0f}")
        server.stop()


if __name__ == "__main__":
    main()
