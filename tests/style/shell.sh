#!/usr/bin/env bash
# Shell scripts pass shellcheck, and can be run.
. "$(dirname "$0")/../support/style.bash"
need shellcheck
# bats runs each case in a subshell and sets status and output; sourced files set variables for others.
exceptions=SC2034,SC2154,SC2030,SC2031
scripts() {
    files '*.sh' '*.bash' '*.bats'
    echo .ci/run
}
while read -r script; do
    output=$(shellcheck --external-sources --exclude="$exceptions" --source-path=SCRIPTDIR --source-path="$top" --format=gcc "$script" 2>&1) ||
        while IFS= read -r line; do finding "$line"; done <<< "$output"
done < <(scripts)
verdict "shellcheck finds nothing"

while read -r script; do
    # Files without such a first line are sourced.
    head -n 1 "$script" | grep -q '^#!' || continue
    [[ -x $script ]] || finding "$script cannot be executed"
done < <(scripts)
for script in .ci/run scripts/*.sh tests/style/*.sh; do
    head -n 1 "$script" | grep -q '^#!' || finding "$script does not say which shell runs it"
done
verdict "scripts can be executed"
finish
