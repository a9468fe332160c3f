#!/usr/bin/env bash
# Installs what the tests need, builds, runs all tests, and closes with one line
# `N passed, N failed, N skipped`; each skip is printed with its reason. Needs root for namespaces and mounts
# and becomes it through sudo. Usage: test.sh [PRESET [CTEST-ARGUMENT…]]   default: debug
#   BULLA_MUST_WORK=1   a skip is a failure, except where tests/allowed-skips gives the reason
# Examples: test.sh debug -L unit      test.sh asan -R unit_base
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
if ((EUID != 0)); then
    command -v sudo > /dev/null || {
        echo "test: needs root for namespaces and mounts; run it as root" >&2
        exit 3
    }
    exec sudo --preserve-env=BULLA_MUST_WORK,CI "$0" "$@"
fi
cd "$top"
preset=${1:-debug}
shift || true
build=build/$preset

fail_early() { # MESSAGE
    echo "test: $1" >&2
    echo "0 passed, 1 failed, 0 skipped"
    exit 1
}

scripts/install-deps.sh test || fail_early "the packages could not be installed"
mkdir -p "$build"
log=$build/configure.log
cmake --preset "$preset" > "$log" 2>&1 || {
    tail -n 20 "$log" >&2
    fail_early "cmake could not configure preset '$preset'"
}
cmake --build --preset "$preset" -- -j "$(nproc)" || fail_early "preset '$preset' does not build"

# Results of an earlier run must not be counted again.
rm -rf "$build/tap" "$build/Testing"
mkdir -p "$build/tap"
status=0
ctest --test-dir "$build" -j "$(($(nproc) + 1))" --output-on-failure "$@" < /dev/null || status=$?

# A test that ran into its time-out wrote no failure of its own.
if [[ -f $build/Testing/Temporary/LastTestsFailed.log ]]; then
    while IFS=: read -r _ name; do
        tap=$build/tap/$name.tap
        [[ -f $tap ]] && grep -E '^not ok\b' "$tap" | grep -q -v '# SKIP' && continue
        echo "not ok - $name was ended by ctest (time-out?)" >> "$tap"
    done < "$build/Testing/Temporary/LastTestsFailed.log"
fi
shopt -s nullglob
taps=("$build"/tap/*.tap)
((${#taps[@]})) || fail_early "no test ran"
echo
tests/support/count-tap.sh tests/allowed-skips "${taps[@]}" || status=1
exit $((status != 0))
