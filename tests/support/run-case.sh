#!/usr/bin/env bash
# run-case.sh BUILD-DIR NAME COMMAND…: runs one test program, keeps its TAP lines in BUILD-DIR/tap/NAME.tap
# for the count in scripts/test.sh, and passes its exit status on. Programs find the built commands in PATH.
# A program that dies early, or runs fewer cases than it announced, counts as one failure more.
set -u
build=$1 name=$2
shift 2
tap=$build/tap/$name.tap
mkdir -p "$build/tap"
export BULLA_BUILD=$build CMOCKA_MESSAGE_OUTPUT=TAP PATH=$build/bin:$PATH
# Sanitizer reports must not look like a refusal (1).
export ASAN_OPTIONS=${ASAN_OPTIONS:-exitcode=99:detect_leaks=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1:halt_on_error=1}
"$@" > "$tap" 2>&1 < /dev/null
status=$?
planned=$(sed -n 's/^1\.\.\([0-9][0-9]*\).*/\1/p' "$tap" | awk '{ n += $1 } END { print n + 0 }')
results=$(grep -c -E '^(not )?ok\b' "$tap")
# cmocka writes a skipped case as "not ok N # SKIP name".
failures=$(grep -E '^not ok\b' "$tap" | grep -c -v '# SKIP')
if ((status == 0 && results == 0)) && ! grep -q '^1\.\.' "$tap"; then
    echo "ok - $name" >> "$tap" # a program that does not speak TAP is one case
elif ((status && failures == 0)); then
    echo "not ok - $name ended with status $status" >> "$tap"
elif ((results < planned && failures == 0)); then
    echo "not ok - $name announced $planned cases and ran $results" >> "$tap"
    status=1
elif ((failures && status == 0)); then
    status=1
fi
cat "$tap"
exit "$status"
