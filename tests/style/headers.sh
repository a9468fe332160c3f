#!/usr/bin/env bash
# Every header compiles alone, is guarded by its own name, and opens with its purpose.
. "$(dirname "$0")/../support/style.bash"
headers() { files '*.h'; }
compile() { # HEADER
    local output
    output=$("${CC:-cc}" -std=gnu11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -DBULLA_VERSION='"0"' -I. -Wall -Wextra \
        -Werror -fsyntax-only -include "$1" -x c /dev/null 2>&1) || printf '%s: %s\n' "$1" "$(head -n 2 <<< "$output" | tr '\n' ' ')"
}
while IFS= read -r line; do
    [[ -z $line ]] || finding "$line"
done < <(headers | xargs -r -d '\n' -n 1 -P 2 bash -c "$(declare -f compile); compile \"\$1\"" _)
verdict "every header compiles alone"

while read -r header; do
    guard=BULLA_$(tr 'a-z/.-' 'A-Z___' <<< "$header")
    grep -q "^#ifndef $guard\$" "$header" || finding "$header: its guard should be $guard"
    head -n 1 "$header" | grep -q '^/\*' || finding "$header: does not open with its purpose"
done < <(headers)
verdict "every header is guarded by its name and opens with its purpose"
finish
