#!/usr/bin/env bash
# Lengths: no function over 80 lines, no file over 800; over the tree a median of at most 18 lines and 95 %
# within 60. Prints the figures.
. "$(dirname "$0")/../support/style.bash"
need ctags

lengths() { # FILE…: "lines file:line name parameters" for each function
    ctags --languages=C --langmap=C:.c --kinds-C=f --fields=+neS --sort=no -o - "$@" |
        awk -F '\t' '!/^!/ {
            start = end = 0; signature = ""
            for (i = 4; i <= NF; i++) {
                if ($i ~ /^line:/) start = substr($i, 6)
                if ($i ~ /^end:/) end = substr($i, 5)
                if ($i ~ /^signature:/) signature = substr($i, 11)
            }
            if (end) print end - start + 1, $2 ":" start, $1, gsub(/,/, ",", signature) + 1
        }'
}

all=$(files '*.c' | xargs -r -d '\n' bash -c "$(declare -f lengths); lengths \"\$@\"" _)
while read -r n place name _; do
    ((n > 80)) && finding "$place: $name has $n lines"
done <<< "$all"
verdict "no function has more than 80 lines"

# The product's own functions; tests are lists of cases and may be longer on average.
own=$(grep -E "^[0-9]+ ($(IFS='|' && echo "${layers[*]}"))/" <<< "$all" | sort -n)
read -r count median most < <(awk '{ n[NR] = $1 } END {
    print NR, n[int((NR + 1) / 2)], n[int(NR * 0.95 + 0.999)] }' <<< "$own")
wide=$(awk '$4 > 6' <<< "$own" | wc -l)
printf '# %s functions: median %s lines, 95 %% within %s; %s with more than 6 parameters\n' \
    "$count" "$median" "$most" "$wide"
((median <= 18)) || finding "the median is $median lines"
((most <= 60)) || finding "95 % lie within $most lines only"
verdict "functions are short: median at most 18 lines, 95 % within 60"

while read -r file; do
    n=$(wc -l < "$file")
    ((n > 800)) && finding "$file has $n lines"
done < <(files '*.c' '*.h' '*.sh' '*.bash' '*.bats')
verdict "no file has more than 800 lines"
for layer in "${layers[@]}"; do
    printf '# %-9s %6d lines\n' "$layer" "$(find "$layer" -name '*.[ch]' -exec cat {} + 2> /dev/null | wc -l)"
done
finish
