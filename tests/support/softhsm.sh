#!/usr/bin/env bash
# Makes PKCS#11 tokens in software, for tests and the quickstart. To be sourced:
#
#   softhsm_make_token DIR LABEL PIN ID
#       A SoftHSM token LABEL in the folder DIR (made if missing, several tokens may share it) with an
#       ECDSA P-256 key pair under the two hex digits ID (repeated calls add keys to a present token)
#       and a certificate for it, which pkcs11-helper needs to see the key. SO PIN: 87654321.
#       Writes DIR/softhsm2.conf and exports SOFTHSM2_CONF and BULLA_PKCS11_MODULE.
#       SOFTHSM_KEY_TYPE (default EC:prime256v1) chooses another kind of key;
#       SOFTHSM_ALWAYS_AUTHENTICATE=1 one that wants the PIN for every signature.
#   softhsm_module
#       Prints the path of SoftHSM's module; status 1 where it is not installed.

softhsm_module() {
    local path
    for path in /usr/lib/softhsm/libsofthsm2.so /usr/lib/*/softhsm/libsofthsm2.so \
        /usr/lib64/softhsm/libsofthsm2.so /usr/lib64/pkcs11/libsofthsm2.so; do
        if [[ -e $path ]]; then
            printf '%s\n' "$path"
            return 0
        fi
    done
    return 1
}

# A certificate signed by a key that is thrown away: only the public key in it matters.
softhsm_certificate() { # MODULE DIR LABEL ID
    local module=$1 dir=$2 label=$3 id=$4 scratch status=1
    scratch=$(mktemp -d "$dir/certificate.XXXXXX") || return 1
    if pkcs11-tool --module "$module" --token-label "$label" --read-object --type pubkey --id "$id" \
        --output-file "$scratch/public.der" &&
        openssl pkey -pubin -inform DER -in "$scratch/public.der" -out "$scratch/public.pem" &&
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 \
            -subj '/CN=thrown away' -keyout "$scratch/ca.key" -out "$scratch/ca.pem" &&
        openssl x509 -new -force_pubkey "$scratch/public.pem" -subj "/CN=$label $id" -days 3650 \
            -CA "$scratch/ca.pem" -CAkey "$scratch/ca.key" -CAcreateserial \
            -outform DER -out "$scratch/certificate.der"; then
        cp "$scratch/certificate.der" "$dir/certificate.der" && status=0
    fi
    rm -rf "$scratch"
    return "$status"
}

softhsm_make_token() { # DIR LABEL PIN ID
    local dir=$1 label=$2 pin=$3 id=$4 module
    module=$(softhsm_module) || {
        echo "softhsm_make_token: SoftHSM is not installed" >&2
        return 1
    }
    mkdir -p "$dir/tokens" || return 1
    dir=$(cd "$dir" && pwd) || return 1
    printf 'directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n' \
        "$dir/tokens" > "$dir/softhsm2.conf"
    export SOFTHSM2_CONF=$dir/softhsm2.conf BULLA_PKCS11_MODULE=$module
    if ! { softhsm2-util --show-slots | sed -n 's/^ *Label: *//p' | sed 's/ *$//' |
        grep -Fqx -- "$label" ||
        softhsm2-util --init-token --free --label "$label" --pin "$pin" --so-pin 87654321; } \
        > "$dir/log" 2>&1 ||
        ! pkcs11-tool --module "$module" --token-label "$label" --login --pin "$pin" --keypairgen \
            --key-type "${SOFTHSM_KEY_TYPE:-EC:prime256v1}" --id "$id" --label "key $id" \
            ${SOFTHSM_ALWAYS_AUTHENTICATE:+--always-auth} >> "$dir/log" 2>&1 ||
        ! softhsm_certificate "$module" "$dir" "$label" "$id" >> "$dir/log" 2>&1 ||
        ! pkcs11-tool --module "$module" --token-label "$label" --login --pin "$pin" --type cert \
            --write-object "$dir/certificate.der" --id "$id" --label "key $id" \
            >> "$dir/log" 2>&1; then
        cat "$dir/log" >&2
        return 1
    fi
    rm -f "$dir/certificate.der"
}
