#!/usr/bin/env bash
# docs/attacks.md tells the truth: every function and test it names exists, every attack has both, and the marks C1 to
# C37 in the code stand in the functions that its table names, and nowhere else.
. "$(dirname "$0")/../support/style.bash"
page=docs/attacks.md
# The lists before the table, and the table.
lists() { sed '/^# The client/,$d' "$page"; }
table() { sed -n 's/^| \(C[0-9]*\) |.*/&/p' "$page"; }

defined() { # FILE FUNCTION
    grep -Eq "^[a-z_].*\\b$2\\(" "$1" 2> /dev/null
}
while read -r file function; do
    defined "$file" "$function" || finding "$page: $file has no function $function"
done < <(grep -o '`[a-z0-9_/]*\.c: [a-z0-9_]*`' "$page" | tr -d '`:' | sort -u)
verdict "every function that docs/attacks.md names exists"

while IFS= read -r line; do
    file=${line%%: *} name=${line#*: }
    grep -qF "@test \"$name\" {" "tests/attacks/$file" 2> /dev/null || finding "$page: tests/attacks/$file has no test '$name'"
done < <(lists | sed -n 's/^\* \([a-z]*\.bats: .*\)/\1/p')
while read -r name; do
    grep -rqE "^static void $name\(void \*\*" tests/unit || finding "$page: no unit test $name"
done < <(grep '^|' "$page" | sed 's/ |$//; s/.*| //' | grep -o '`[a-z_0-9]*`' | tr -d '\140' | sort -u)
verdict "every test that docs/attacks.md names exists"

while IFS= read -r line; do
    finding "$page: $line"
done < <(lists | awk '
    /^## / { if (head != "" && (!tests || !functions)) print head " lacks a function or a test"; head = $0; rows++
             tests = functions = 0 }
    /^\* `/ { functions++ }
    /^\* [a-z]*\.bats: / { tests++ }
    END { if (!tests || !functions) print head " lacks a function or a test"
          if (rows != 22) print rows " attacks, 22 are known" }')
verdict "every attack names the check that stops it and a test"

# Marks in comments, with the function they stand in, or the next one below: "C17 FILE FUNCTION".
marks() {
    files '*.c' | grep -E "^($(IFS='|'; echo "${layers[*]}"))/" | xargs -r -d '\n' awk '
        FNR == 1 { name = ""; n = 0 }
        /^[a-z].*\(/ && !/;$/ { name = $0; sub(/\(.*/, "", name); sub(/.*[ *]/, "", name)
            for (i = 0; i < n; i++) print held[i], FILENAME, name
            n = 0 }
        /^}/ { name = "" }
        /\/\*|^ *\*/ { text = $0
            while (match(text, /(^|[^A-Za-z0-9_])C[0-9]+([^A-Za-z0-9_]|$)/)) {
                mark = substr(text, RSTART, RLENGTH); gsub(/[^C0-9]/, "", mark)
                if (name == "") held[n++] = mark; else print mark, FILENAME, name
                text = substr(text, RSTART + RLENGTH - 1) } }' | sort -u
}
named() {
    table | awk -F '|' '{ mark = $2; gsub(/ /, "", mark); n = split($5, places, /`/)
        for (i = 2; i <= n; i += 2) { sub(/:/, "", places[i]); print mark, places[i] } }' | sort -u
}
while IFS= read -r line; do
    finding "${line/#</only in $page:}"
done < <(diff <(named) <(marks) | grep '^[<>]' | sed 's/^>/only in the code:/')
[[ $(table | awk '{ print $2 }' | paste -sd ' ') == "$(printf 'C%d ' {1..37} | sed 's/ $//')" ]] ||
    finding "$page: its table is not C1 to C37, each once"
verdict "the marks C1 to C37 stand where docs/attacks.md says"
finish
