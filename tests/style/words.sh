#!/usr/bin/env bash
# Words that must not stay in the tree: unfinished work, names of one machine, calls with safer brothers.
. "$(dirname "$0")/../support/style.bash"
texts() {
    files '*.c' '*.h' '*.sh' '*.bash' '*.bats' '*.md' '*.cmake' CMakeLists.txt '*.json' '*.yaml' '*.service' |
        grep -v -e '^tests/style/words\.sh$' -e '^tests/data/' -e '^fuzz/corpus/'
    echo .ci/run
}
search() { # PATTERN WHY
    while IFS= read -r line; do
        finding "$line ($2)"
    done < <(texts | xargs -r -d '\n' grep -n -H -E "$1")
}
search '\b(TODO|FIXME|XXX|HACK|TBD)\b' 'unfinished work'
search '\b([Pp]laceholder|[Nn]ot (yet )?implemented|[Ll]orem ipsum)\b' 'unfinished work'
verdict "no unfinished work is marked"
search '(^|[^A-Za-z0-9_.])/(work|Users)/' 'a path of one machine'
verdict "no path of one machine is named"

# Libraries neither print nor exit; length-less copies and shells stay out of the product.
calls() { # PATTERN WHY FOLDER…
    local pattern=$1 why=$2
    shift 2
    while IFS= read -r line; do
        finding "$line ($why)"
    done < <(grep -r -n -E "(^|[^A-Za-z0-9_>.])($pattern)\(" "$@" --include='*.[ch]')
}
calls 'strcpy|strcat|sprintf|vsprintf|gets|alloca|strtok|tmpnam|tempnam|mktemp|atoi|atol|system|popen' \
    'has a safer brother' "${layers[@]}"
verdict "no call with a safer brother is used"
while IFS= read -r line; do
    finding "$line (libraries report through struct error)"
done < <(grep -r -n -E '(^|[^A-Za-z0-9_>.])(printf|puts|putchar|exit|abort|perror)\(' base keys tuf oci client verify \
    --include='*.[ch]' | grep -v -e '/main_[a-z0-9_]*\.c:')
verdict "libraries neither print nor exit"
finish
