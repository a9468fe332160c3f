#!/usr/bin/env bash
# Folders are layers: each includes only from those it is built on, and each foreign library is met in its
# adapter only.
. "$(dirname "$0")/../support/style.bash"

# What CMake links a layer to, directly; the closure is what it may include.
declare -A may
read_uses() {
    local line layer earlier=' ' use
    while read -r line; do
        layer=${line%% *}
        line=${line#"$layer"}
        may[$layer]=" $layer "
        [[ $line == *USES* ]] || { earlier+="$layer "; continue; }
        line=${line#*USES } line=${line%%LIBS*}
        for use in $line; do
            [[ $earlier == *" $use "* ]] || finding "CMakeLists.txt: $layer uses $use, which does not come before it"
            may[$layer]+="${may[$use]:-} "
        done
        earlier+="$layer "
    done < <(sed -n 's/^bulla_layer(\(.*\))/\1/p' CMakeLists.txt)
}

read_uses
[[ -n ${may[cli]:-} ]] || finding "CMakeLists.txt: the layers could not be read"
[[ ${!may[*]} ]] && for layer in "${layers[@]}"; do
    [[ -n ${may[$layer]:-} ]] || finding "CMakeLists.txt: no layer '$layer'"
done
verdict "the build knows the layers in their order"

for layer in "${layers[@]}"; do
    while IFS=: read -r file line text; do
        [[ -n $file ]] || continue
        header=${text#*\"} header=${header%%\"*}
        folder=${header%%/*}
        if [[ $header != */* || $header == *..* ]]; then
            finding "$file:$line: \"$header\" is not a name from the top of the tree"
        elif [[ ${may[$layer]} != *" $folder "* ]]; then
            finding "$file:$line: $layer may not include \"$header\""
        fi
    done < <(grep -n -H -E '^[[:space:]]*#[[:space:]]*include[[:space:]]+"' -r "$layer" --include='*.[ch]')
    verdict "$layer includes only from the layers below it"
done

# HEADER (a pattern of what stands in <>) and the files that may include it.
adapters='jansson.h                  base/json.c
sqlite3.h                   base/db.c
cyaml/*                     base/config.c base/config_rules.[ch]
yaml.h                      -
seccomp.h                   base/confine_seccomp.c runner/seccomp*.c
linux/landlock.h            base/confine.c runner/*.c
linux/openat2.h             base/path.c
openssl/*                   base/bytes.c base/digest.c keys/*.c registry/devca.c
sodium.h                    keys/*.c registry/password.c
sodium/*                    -
pkcs11-helper-1.0/*         keys/*.c
p11-kit/*                   keys/*.c
archive.h                   oci/tar_library.h
archive_entry.h             oci/tar_library.h
isa-l.h                     oci/*.c
isa-l/*                     oci/*.c
zstd.h                      oci/*.c
zlib.h                      -
curl/*                      client/http*.c
microhttpd.h                registry/http*.c registry/http*.h
gnutls/*                    registry/tls*.c registry/http*.c
sys/capability.h            runner/*.c'

allowed_in() { # HEADER FILE: false where an adapter row forbids it
    local header=$1 file=$2 pattern places place
    while read -r pattern places; do
        # shellcheck disable=SC2053 # the row is a pattern
        [[ $header == $pattern ]] || continue
        for place in $places; do
            # shellcheck disable=SC2053
            [[ $file == $place ]] && return 0
        done
        return 1
    done <<< "$adapters"
    return 0
}

while IFS=: read -r file line text; do
    header=${text#*<} header=${header%%>*}
    allowed_in "$header" "$file" || finding "$file:$line: <$header> belongs in its adapter"
done < <(grep -n -H -E '^[[:space:]]*#[[:space:]]*include[[:space:]]+<' -r "${layers[@]}" --include='*.[ch]')
verdict "foreign libraries are met in their adapters only"
finish
