#!/usr/bin/env bash
# Shell scripts pass shellcheck, and can be run.
# shellcheck source=../support/style.bash
. "$(dirname "$0")/../support/style.bash"
need shellcheck
# Left out: files and variables may be called like commands; bats runs each case in a subshell and sets status
# and output; sourced files set variables for others.
exceptions=SC2034,SC2154,SC2030,SC2031,SC1010,SC2209,SC2238,SC2314,SC2315
scripts() {
    files '*.sh' '*.bash' '*.bats'
    echo .ci/run
}
check() { # OPTION…: shellcheck over all scripts with these options
    local script output line
    while read -r script; do
        output=$(shellcheck --external-sources --source-path=SCRIPTDIR --source-path="$top" --format=gcc "$@" \
            "$script" 2>&1) || while IFS= read -r line; do finding "$line"; done <<< "$output"
    done < <(scripts)
}
check --severity=warning --exclude="$exceptions"
verdict "shellcheck finds nothing"
check --include=SC2314,SC2315
verdict "no line of a bats case is a negation that cannot fail"

while read -r script; do
    # bats runs its files itself; others say that they are to be sourced.
    [[ $script == *.bats ]] && continue
    head -n 3 "$script" | grep -q -i 'sourced' && continue
    head -n 1 "$script" | grep -q '^#!' || continue
    [[ -x $script ]] || finding "$script cannot be executed"
done < <(scripts)
for script in .ci/run scripts/*.sh tests/style/*.sh; do
    head -n 1 "$script" | grep -q '^#!' || finding "$script does not say which shell runs it"
done
verdict "scripts can be executed"
finish
