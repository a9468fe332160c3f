#!/usr/bin/env bash
# C files look as .clang-format says.
. "$(dirname "$0")/../support/style.bash"
need clang-format
while read -r file; do
    clang-format --dry-run --Werror "$file" > /dev/null 2>&1 || finding "$file: run clang-format -i on it"
done < <(files '*.c' '*.h')
verdict "C files are formatted"

while IFS= read -r line; do
    finding "$line: blanks at the end, a carriage return or a merge marker"
done < <(files '*.c' '*.h' '*.sh' '*.bash' '*.bats' '*.cmake' CMakeLists.txt '*.md' |
    xargs -r -d '\n' grep -n -H -E '[[:blank:]]+$|'$'\r''$|^(<<<<<<<|>>>>>>>) ' | cut -d: -f1,2)
verdict "no line ends in blanks"
finish
