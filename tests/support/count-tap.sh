#!/usr/bin/env bash
# count-tap.sh ALLOWED-SKIPS TAP-FILE…: prints each failed and each skipped case with its reason, then one line
# `N passed, N failed, N skipped`. BULLA_MUST_WORK=1: a skip counts as a failure, unless a line of
# ALLOWED-SKIPS (`PATTERN: REASON`) names it. Status 1 where anything failed or nothing ran at all.
set -euo pipefail
allowed_file=$1
shift
passed=0 failed=0 skipped=0

is_allowed() { # CASE
    local line pattern
    while IFS= read -r line; do
        [[ -z $line || $line == '#'* ]] && continue
        pattern=${line%%: *}
        # shellcheck disable=SC2053 # a pattern
        [[ $1 == $pattern ]] && return 0
    done < "$allowed_file"
    return 1
}

count_skip() { # CASE REASON
    if [[ ${BULLA_MUST_WORK:-0} == 1 ]] && ! is_allowed "$1"; then
        failed=$((failed + 1))
        printf 'FAILED  %s: skipped (%s), and BULLA_MUST_WORK=1 allows no skip of it\n' "$1" "$2"
    else
        skipped=$((skipped + 1))
        printf 'skipped %s: %s\n' "$1" "$2"
    fi
}

# bats writes `ok 3 name # skip reason`, cmocka `not ok 3 # SKIP name` with `# reason: …` somewhere before it.
count_file() { # TAP-FILE
    local line name file reason=
    file=$(basename "$1" .tap)
    while IFS= read -r line || [[ -n $line ]]; do
        if [[ $line =~ ^#\ reason:\ (.*)$ ]]; then
            reason=${BASH_REMATCH[1]}
        elif [[ $line =~ ^(not\ )?ok\ ?[0-9]*\ *-?\ *(.*)#\ [Ss][Kk][Ii][Pp]\ *(.*)$ ]]; then
            name=${BASH_REMATCH[2]%% }
            if [[ -z $name ]]; then
                count_skip "$file ${BASH_REMATCH[3]}" "${reason:-no reason given}"
            else
                count_skip "$file $name" "${BASH_REMATCH[3]:-no reason given}"
            fi
            reason=
        elif [[ $line =~ ^not\ ok\ ?[0-9]*\ *-?\ *(.*)$ ]]; then
            failed=$((failed + 1))
            printf 'FAILED  %s %s\n' "$file" "${BASH_REMATCH[1]}"
        elif [[ $line =~ ^ok($|\ ) ]]; then
            passed=$((passed + 1))
        fi
    done < "$1"
}

for tap in "$@"; do
    count_file "$tap"
done
printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
((failed == 0 && passed > 0))
