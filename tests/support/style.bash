# shellcheck shell=bash
# Shared by tests/style/*.sh: TAP lines, the list of files, and the layers. Sourced, not run.
# Every check calls `verdict NAME` after printing its findings with `finding`; `finish` ends the script.
set -u
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$top" || exit 3
# shellcheck disable=SC2034 # used by the scripts that source this
layers=(base keys tuf oci client verify signer registry runner cli)
n_checks=0 n_failed=0 n_findings=0

# finding TEXT…: one thing that is wrong; makes the next verdict a failure.
finding() {
    printf '# %s\n' "$*"
    n_findings=$((n_findings + 1))
}

# verdict NAME: closes one check.
verdict() {
    n_checks=$((n_checks + 1))
    if ((n_findings)); then
        printf 'not ok %d - %s\n' "$n_checks" "$1"
        n_failed=$((n_failed + 1))
    else
        printf 'ok %d - %s\n' "$n_checks" "$1"
    fi
    n_findings=0
}

# skip_check NAME REASON: what cannot be judged here.
skip_check() {
    n_checks=$((n_checks + 1))
    printf 'ok %d - %s # SKIP %s\n' "$n_checks" "$1" "$2"
}

finish() {
    printf '1..%d\n' "$n_checks"
    exit $((n_failed > 0))
}

# files PATTERN…: names of the project's own files, one a line, relative to the top.
files() {
    local patterns=() pattern
    for pattern in "$@"; do
        patterns+=(-o -name "$pattern")
    done
    find . \( -path ./build -o -path ./.git -o -name node_modules \) -prune -o \
        -type f \( "${patterns[@]:1}" \) -print | sed 's|^\./||' | LC_ALL=C sort
}

# need COMMAND: ends the script where a tool of the check itself is missing.
need() {
    command -v "$1" > /dev/null && return
    skip_check "$(basename "$0" .sh)" "$1 is not installed"
    finish
}
