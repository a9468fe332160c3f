#!/usr/bin/env bash
# What the built programs are linked to, and how: the servers carry no HTTP client and no archive parser, only
# the helper loads token modules, and everything is position independent and bound at start.
. "$(dirname "$0")/../support/style.bash"
need readelf
bin=${BULLA_BUILD:-$top/build/debug}/bin

needs() { readelf --dynamic --wide "$1" 2> /dev/null | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'; }

without() { # PROGRAM LIBRARY-PATTERN…
    local program=$1 library pattern
    shift
    if [[ ! -x $bin/$program ]]; then
        skip_check "$program is linked to what it may be" "$program is not built"
        return
    fi
    while read -r library; do
        for pattern in "$@"; do
            # shellcheck disable=SC2053 # a pattern
            [[ $library == $pattern ]] && finding "$program is linked to $library"
        done
    done < <(needs "$bin/$program")
    verdict "$program is linked to what it may be"
}
without bulla-registry 'libcurl*' 'libarchive*' 'libpkcs11*'
without bulla-signer 'libcurl*' 'libarchive*' 'libmicrohttpd*'
without bulla 'libmicrohttpd*' 'libpkcs11*'
without bulla-pkcs11 'libcurl*' 'libarchive*' 'libmicrohttpd*'
without bulla-init '*'

for program in bulla bulla-registry bulla-signer bulla-pkcs11; do
    if [[ ! -x $bin/$program ]]; then
        skip_check "$program is hardened" "$program is not built"
        continue
    fi
    readelf --file-header "$bin/$program" | grep -q 'Type:.*DYN' || finding "$program is not position independent"
    dynamic=$(readelf --dynamic --wide "$bin/$program")
    grep -q -E 'BIND_NOW|Flags:.*NOW' <<< "$dynamic" || finding "$program does not bind all symbols at start"
    grep -q -E 'RPATH|RUNPATH' <<< "$dynamic" && finding "$program has a library path of its own"
    segments=$(readelf --program-headers --wide "$bin/$program")
    grep -q 'GNU_RELRO' <<< "$segments" || finding "$program has writable relocations"
    grep -q 'GNU_STACK.*RWE' <<< "$segments" && finding "$program has an executable stack"
    verdict "$program is hardened"
done
finish
