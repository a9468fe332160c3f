#!/usr/bin/env bats
# The command line itself: help, usage errors, --json, exit statuses. No registry needed.
bats_require_minimum_version 1.5.0

setup() {
    export BULLA_HOME=$BATS_TEST_TMPDIR/home BULLA_POLICY=$BATS_TEST_TMPDIR/policy.json
    export BULLA_PASSPHRASE_FILE=$BATS_TEST_TMPDIR/passphrase
    echo '{ "version": 1 }' > "$BULLA_POLICY"
    echo "a passphrase" > "$BULLA_PASSPHRASE_FILE"
    chmod 600 "$BULLA_PASSPHRASE_FILE"
}

expect() {
    if ((status != $1)) || { [[ -n ${2:-} ]] && ! grep -Eiq -- "$2" <<< "$output"; }; then
        printf 'expected %s and /%s/; got %s and:\n%s\n' "$1" "${2:-}" "$status" "$output" >&2
        return 1
    fi
}

@test "groups of commands: help and what is unknown, with options in front, too" {
    run bulla trust --help
    expect 0 'trust delegate'
    run bulla --home "$BATS_TEST_TMPDIR/none" key --help
    expect 0 'key passphrase'
    run bulla trust nothing-like-it
    expect 2 "unknown command 'trust nothing-like-it'; 'bulla trust --help' lists them"
    run bulla trust
    expect 2 "needs a second word"
}

@test "help on standard output, status 0, for every command in the overview" {
    run --separate-stderr bulla --help
    expect 0 "^usage: bulla"
    [[ -z $stderr ]]
    names=$(sed -n 's/^  \([a-z]\+\( [a-z]\+\)\{0,2\}\)  .*/\1/p' <<< "$output")
    [[ $(wc -l <<< "$names") -gt 15 ]]
    while read -r name; do
        # shellcheck disable=SC2086 # a name is several words
        run --separate-stderr bulla $name --help
        expect 0 "^usage: bulla $name"
    done <<< "$names"
}

@test "unknown words name the nearest match and end with 2" {
    run bulla verfy
    expect 2 "did you mean 'verify'"
    run bulla key generat x
    expect 2 "key generate"
    run bulla verify --jsn x/y:z
    expect 2 "did you mean '--json'"
    run bulla frobnicate
    expect 2 "bulla --help"
    run bulla key
    expect 2
    run bulla
    expect 2
}

@test "repeated single options, missing values and arguments end with 2" {
    run bulla verify --home a --home b x/y:z
    expect 2 "twice"
    run bulla verify --home
    expect 2 "needs a value"
    run bulla verify
    expect 2 "usage: bulla verify"
    run bulla verify a b
    expect 2 "usage: bulla verify"
    run bulla images --digests=yes
    expect 2 "no value"
}

@test "malformed references end with 2 and one line" {
    for ref in '' app app:v1 '/x/y' 'host/' 'host/UPPER:v1' 'host/a:' 'host/a@sha256:12' 'host/../a:v1' \
        'host/a:v1@' 'host/a:v1@md5:d41d8cd98f00b204e9800998ecf8427e' 'http://host/a:v1' $'host/a:v1\n' 'host/a b:v1' \
        "host/$(printf 'a%.0s' {1..300}):v1" "host/a:$(printf 'v%.0s' {1..200})"; do
        run bulla verify "$ref"
        if ((status != 2)) || ((${#lines[@]} != 1)); then
            printf 'for "%s": status %s: %s\n' "$ref" "$status" "$output" >&2
            return 1
        fi
    done
}

@test "keys: make, list, show, remove; nothing is overwritten" {
    run bulla key generate alice
    expect 0 "key id [0-9a-f]{64}"
    [[ $(stat -c %a "$BULLA_HOME"/keys/alice*) == 600 ]]
    run bulla key generate alice
    expect 3 "exists"
    run bulla key generate bob --type ecdsa-p256
    expect 0 "ecdsa-p256"
    run bulla key generate eve --type rsa
    expect 2 "unknown key type"
    run bulla key generate ../eve
    expect 2
    run bulla key list --json
    expect 0
    [[ $(jq -r '.keys[].name' <<< "$output" | paste -sd' ') == "alice bob" ]]
    run bulla key show bob --json
    [[ $(jq -r .key.keytype <<< "$output") == ecdsa ]]
    run bulla key remove alice
    expect 0
    run bulla key remove alice
    expect 3
    run bulla key show alice
    expect 3
}

@test "a passphrase file that others may read is refused" {
    chmod 644 "$BULLA_PASSPHRASE_FILE"
    run bulla key generate alice
    expect 3 "open to others"
    [[ ! -e $BULLA_HOME/keys/alice.key ]]
}

@test "--json prints exactly one object, also on failure" {
    run --separate-stderr bulla verify --json 127.0.0.1:1/a:v1
    expect 3
    [[ $(jq -r .verdict <<< "$output") == undetermined ]]
    run --separate-stderr bulla key show nobody --json
    expect 3
    [[ $(jq -r .error <<< "$output") == not-found ]]
}

@test "policy: check, test, show, allow" {
    run bulla policy check "$BULLA_POLICY"
    expect 0 "0 scopes"
    echo '{ "version": 1, "scopes": { "r.io": { "rot": 1 } } }' > "$BATS_TEST_TMPDIR/bad.json"
    run bulla policy check "$BATS_TEST_TMPDIR/bad.json"
    expect 1 "rot"
    echo '{ "version": 1,' > "$BATS_TEST_TMPDIR/bad.json"
    run bulla policy check "$BATS_TEST_TMPDIR/bad.json"
    expect 1 "line"
    id=$(printf '0%.0s' {1..64})
    run bulla policy allow r.io/acme --root-key "$id"
    expect 0
    run bulla policy test r.io/acme/app:v1
    expect 0 "allowed"
    run bulla policy test r.io/acme-evil/app:v1
    expect 1 "refused"
    run bulla policy allow r.io/acme --root-key nonsense
    expect 2 "key id"
    run bulla policy allow "r.io/../x" --root-key "$id"
    expect 2 "scope"
    run bulla policy show
    expect 0 "r.io/acme"
}

@test "import: names, words, missing input; the same input gives the same digest" {
    mkdir -p "$BATS_TEST_TMPDIR/root/bin"
    cp "$(command -v busybox)" "$BATS_TEST_TMPDIR/root/bin/sh"
    run bulla import "$BATS_TEST_TMPDIR/root" app:v1 --cmd '["sh"]' --json
    expect 0
    first=$(jq -r .digest <<< "$output")
    run bulla import "$BATS_TEST_TMPDIR/root" other/app:v2 --cmd '["sh"]' --json
    [[ $(jq -r .digest <<< "$output") == "$first" ]]
    run bulla import "$BATS_TEST_TMPDIR/root" app:v1 --cmd 'sh'
    expect 2 "JSON array"
    run bulla import "$BATS_TEST_TMPDIR/root" App:v1
    expect 2 "NAME:TAG"
    run bulla import "$BATS_TEST_TMPDIR/root" app
    expect 2 "NAME:TAG"
    run bulla import "$BATS_TEST_TMPDIR/none" app:v1
    expect 3 "none"
    run bulla import /etc/passwd app:v1
    expect 1
    run bulla import "$BATS_TEST_TMPDIR/root" app:v1 --env novalue
    expect 2 "NAME=VALUE"
    run bulla images
    expect 0 "^app:v1 "
}

@test "a full disk ends with 3 and leaves no image behind" {
    ((EUID == 0)) || skip "needs root to mount a small file system"
    mkdir -p "$BATS_TEST_TMPDIR/small" "$BATS_TEST_TMPDIR/root"
    head -c 4M /dev/urandom > "$BATS_TEST_TMPDIR/root/big"
    run unshare -m sh -c "mount -t tmpfs -o size=1m none '$BATS_TEST_TMPDIR/small' &&
        bulla --home '$BATS_TEST_TMPDIR/small/home' import '$BATS_TEST_TMPDIR/root' app:v1; echo status \$?;
        bulla --home '$BATS_TEST_TMPDIR/small/home' images; find '$BATS_TEST_TMPDIR/small' -type f -size +64k"
    expect 0 "No space left"
    grep -q '^status 3$' <<< "$output"
    grep -q 'no images' <<< "$output"
    run ! grep 'small/home/.*tmp' <<< "$output"
}
