#!/bin/sh
# Sets up and runs all tests; on a bare Debian or Ubuntu too. The last line is "N passed, N failed".
#   sh tests/run.sh [--quick]     --quick: without the sanitizer builds, live training parity and the long runs
# LIBLORA_PYTHON: a Python that has tests/requirements.txt, instead of one made in .venv.
cd "$(dirname "$0")/.." || exit 1
quick=
case ${1-} in
    '') ;;
    --quick) quick=1 ;;
    *) echo "usage: sh tests/run.sh [--quick]" >&2; exit 2 ;;
esac
stop() {
    echo "$1" >&2
    echo "0 passed, 1 failed"
    exit 1
}
reports=
report() { # forgets an older one, so that a suite that crashes is seen
    rm -f "$1"
    reports="$reports $1"
}
jobs=$(nproc 2>/dev/null || echo 2)

# ---- what is needed -----------------------------------------------------------------------------------------------

. examples/packages.sh
need_packages $build_packages g++ clang binutils libcmocka-dev abigail-tools curl python3 python3-venv ||
    stop "the packages above are missing"
python=${LIBLORA_PYTHON-}
if [ -z "$python" ]; then
    python=$PWD/.venv/bin/python
    if ! cmp -s tests/requirements.txt .venv/installed; then
        echo "Installing tests/requirements.txt into .venv ..." >&2
        { [ -x "$python" ] || python3 -m venv .venv; } && "$python" -m pip install -q -r tests/requirements.txt &&
            cp tests/requirements.txt .venv/installed || stop "the Python packages could not be installed"
    fi
fi

# build FOLDER SETTINGS...
build() {
    folder=$1
    shift
    [ -f "$folder/build.ninja" ] || meson setup "$folder" "$@" >"$folder.log" 2>&1 || {
        cat "$folder.log" >&2
        return 1
    }
    meson configure "$folder" "$@" >/dev/null && ninja -C "$folder" -j "$jobs"
}

# ---- the tests ----------------------------------------------------------------------------------------------------

build build || stop "the build failed"
report build/meson-logs/testlog.json
meson test -C build --no-rebuild --print-errorlogs -t 3 ${quick:+--no-suite long}

without=
need_packages chromium chromium-driver || {
    echo "tests/page: not run on this machine, it has no Chromium" >&2
    without=page
}
export LIBLORA_BUILD="$PWD/build"
suites=
for suite in page train examples serve eval quantize tests/*/; do # the long ones first
    suite=$(basename "$suite")
    ls "tests/$suite"/test_*.py >/dev/null 2>&1 || continue
    [ -n "$quick" ] && [ "$suite" = parity ] && continue
    case " $without $suites " in *" $suite "*) continue ;; esac
    suites="$suites $suite"
    report "build/pytest-$suite.xml"
done
# As many at once as there are cores.
printf '%s\n' $suites | xargs -P "$jobs" -I NAME sh -c '
    "$0" -m pytest -q -p no:cacheprovider --junitxml build/pytest-NAME.xml tests/NAME >build/pytest-NAME.log 2>&1
    cat build/pytest-NAME.log' "$python"

if [ -z "$quick" ]; then
    # The C tests again under the address, leak and undefined-behaviour sanitizers (products, linear and attention take
    # many minutes: by hand, when they changed); what threads share under the thread's.
    report build-asan/meson-logs/testlog.json
    build build-asan -Db_sanitize=address,undefined -Db_lundef=false -Doptimization=1 &&
        meson test -C build-asan --no-rebuild --print-errorlogs -t 10 --no-suite long --no-suite slow \
            --no-suite products
    report build-tsan/meson-logs/testlog.json
    build build-tsan -Db_sanitize=thread -Db_lundef=false -Doptimization=1 &&
        meson test -C build-tsan --no-rebuild --print-errorlogs -t 10 --suite threads
    # The kernels on an emulated arm64, where its packages can be had (Debian's archive has them, Ubuntu's main one has
    # not).
    if [ "$(uname -m)" = x86_64 ] && { [ "$(id -u)" != 0 ] || dpkg --add-architecture arm64; } &&
        need_packages gcc-aarch64-linux-gnu qemu-user \
            $(for p in $library_packages libcmocka-dev; do echo "$p:arm64"; done); then
        report build-arm64/meson-logs/testlog.json
        { [ -f build-arm64/build.ninja ] || meson setup build-arm64 --cross-file tests/arm64.ini; } >build-arm64.log 2>&1 &&
            ninja -C build-arm64 -j "$jobs" &&
            meson test -C build-arm64 --no-rebuild --print-errorlogs -t 20 --suite kernels --no-suite slow
    else
        echo "arm64: not tested on this machine" >&2
    fi
fi

"$python" tests/count.py $reports
