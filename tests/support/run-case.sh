#!/usr/bin/env bash
# run-case.sh BUILD-DIR NAME COMMAND…: runs one test program, keeps its TAP lines in BUILD-DIR/tap/NAME.tap
# for the count in scripts/test.sh, and passes its exit status on. Programs find the built commands in PATH.
set -u
build=$1 name=$2
shift 2
mkdir -p "$build/tap"
export BULLA_BUILD=$build CMOCKA_MESSAGE_OUTPUT=TAP PATH=$build/bin:$PATH
# Sanitizer reports must not look like a refusal (1).
export ASAN_OPTIONS=${ASAN_OPTIONS:-exitcode=99:detect_leaks=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1:halt_on_error=1}
"$@" > "$build/tap/$name.tap" 2>&1
status=$?
cat "$build/tap/$name.tap"
# A program that died before or after its last case still counts as one failure.
if ((status)) && ! grep -q '^not ok' "$build/tap/$name.tap"; then
    echo "not ok - $name ended with status $status" >> "$build/tap/$name.tap"
fi
exit "$status"
