#!/usr/bin/env bats
# Keys from machine to machine: public halves, encrypted copies, new passphrases. No registry.
load ../support/bulla

setup_file() {
    export BULLA_HOME=$BATS_FILE_TMPDIR/home
    echo 'the first passphrase' > "$BATS_FILE_TMPDIR/first"
    echo 'the second passphrase' > "$BATS_FILE_TMPDIR/second"
    chmod 600 "$BATS_FILE_TMPDIR/first" "$BATS_FILE_TMPDIR/second"
    export BULLA_PASSPHRASE_FILE=$BATS_FILE_TMPDIR/first
    command bulla key generate alice
    command bulla key generate pat --type ecdsa-p256
}

setup() {
    W=$BATS_TEST_TMPDIR
    SECOND=$BATS_FILE_TMPDIR/second
    cp -a "$BATS_FILE_TMPDIR/home" "$W/home"
    export BULLA_HOME=$W/home
}

bulla() { command bulla "$@"; }
other() { command bulla --home "$W/other" "$@"; }
id_of() { bulla key show "$1" --json | jq -r .keyid; }

# Whether the key opens with a passphrase file: the passphrase is changed to itself.
opens() { # FILE NAME [OPTION…]
    command bulla key passphrase "$2" --passphrase-file "$1" --new-passphrase-file "$1" "${@:3}"
}

@test "a public key goes to another machine, as TUF object and as PEM" {
    local key
    for key in alice pat; do
        bulla key export "$key" > "$W/$key.json"
        [[ $(jq -c . "$W/$key.json") == "$(bulla key show "$key" --json | jq -c .key)" ]]
        run bulla key export "$key" --pem -o "$W/$key.pem"
        expect 0 "wrote '$W/$key.pem'"
        openssl pkey -pubin -in "$W/$key.pem" -noout
        run other key import "$key" "$W/$key.json"
        expect 0 "its public half"
        run other key import "of-$key" "$W/$key.pem"
        expect 3 "here already, as '$key'"
        other key remove "$key"
        other key import "of-$key" "$W/$key.pem"
        [[ $(other key show "of-$key" --json | jq -r .keyid) == "$(id_of "$key")" ]]
    done
    [[ $(other key list --json | jq -c '[.keys[].publicOnly]') == '[true,true]' ]]
    [[ $(bulla key list --json | jq -c '[.keys[].publicOnly]') == '[false,false]' ]]
    # It can be named and handed on, and signs nothing.
    other key export of-pat | cmp - "$W/pat.json"
    run other key export of-pat --private -o "$W/none"
    expect 3 "only the public half"
    run opens "$SECOND" of-pat --home "$W/other"
    expect 3 "only the public half"
    run other key generate of-pat
    expect 3 "exists already"
    [[ ! -e $W/none ]]
}

@test "openssl's public keys are taken, RSA too" {
    openssl genpkey -algorithm ed25519 2> /dev/null | openssl pkey -pubout -out "$W/ed.pem"
    openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 2> /dev/null | openssl pkey -pubout -out "$W/rsa.pem"
    bulla key import ed "$W/ed.pem"
    bulla key import rsa "$W/rsa.pem"
    bulla key export ed --pem | cmp - "$W/ed.pem"
    bulla key export rsa --pem | cmp - "$W/rsa.pem"
    # Another curve, another program's private key: said, not taken.
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:secp384r1 2> /dev/null | openssl pkey -pubout -out "$W/p384.pem"
    run bulla key import other "$W/p384.pem"
    expect 1 "neither an ed25519"
    openssl genpkey -algorithm ed25519 -out "$W/private.pem" 2> /dev/null
    run bulla key import other "$W/private.pem"
    expect 3 "another program's private key"
    run ! bulla key show other
}

@test "a private key goes to another machine under its passphrase" {
    run bulla key export alice --private
    expect 2 "name the file .* --output"
    run bulla key export alice --private --pem -o "$W/copy"
    expect 2 "stays as it is encrypted"
    run bulla key export alice --private -o "$W/copy"
    expect 0 "wrote"
    [[ $(stat -c %a "$W/copy") == 600 ]]
    run bulla key export pat --private -o "$W/copy"
    expect 3 "exists already"
    run other key import alice "$W/copy" --passphrase-file "$SECOND"
    expect 3 "wrong passphrase"
    [[ -z $(ls -A "$W/other/keys") ]]
    run other key import alice "$W/copy"
    expect 0 "key id $(id_of alice)"
    opens "$BULLA_PASSPHRASE_FILE" alice --home "$W/other"
    run other key import alice "$W/copy"
    expect 3 "exists already"
    run other key import alisa "$W/copy"
    expect 3 "here already, as 'alice'"
    run bulla key export nobody --private -o "$W/nobody"
    expect 3 "no key 'nobody'"
}

@test "another passphrase: the old one no longer opens the key, nothing lies about" {
    cp "$BULLA_HOME/keys/alice.key" "$W/before"
    run bulla key passphrase alice --passphrase-file "$SECOND" --new-passphrase-file "$SECOND"
    expect 3 "wrong passphrase"
    : > "$W/empty"
    chmod 600 "$W/empty"
    run bulla key passphrase alice --new-passphrase-file "$W/empty"
    expect 3 "is empty"
    chmod 644 "$W/empty"
    run bulla key passphrase alice --new-passphrase-file "$W/empty"
    expect 3 "open to others"
    cmp "$BULLA_HOME/keys/alice.key" "$W/before"
    id=$(id_of alice)
    run bulla key passphrase alice --new-passphrase-file "$SECOND"
    expect 0 "another passphrase now"
    [[ $(id_of alice) == "$id" ]]
    run opens "$BULLA_PASSPHRASE_FILE" alice
    expect 3 "wrong passphrase"
    opens "$SECOND" alice
    [[ $(find "$BULLA_HOME" -type f | wc -l) == 2 ]]
    [[ $(stat -c %a "$BULLA_HOME/keys/alice.key") == 600 ]]
    run ! grep -rqE 'first|second' "$BULLA_HOME"
    run bulla key passphrase nobody
    expect 3 "no key 'nobody'"
}

# It is read, a person types for minutes, then it is replaced.
@test "another passphrase, twice at once, and for a key that was removed meanwhile" {
    printf 'a third one for all of it' > "$W/third"
    chmod 600 "$W/third"
    bulla key passphrase alice --new-passphrase-file "$SECOND" > "$W/a" 2>&1 & local a=$!
    bulla key passphrase alice --new-passphrase-file "$W/third" > "$W/b" 2>&1 & local b=$! done=0
    wait "$a" && done=$((done + 1)) && opens "$SECOND" alice
    wait "$b" && done=$((done + 1)) && opens "$W/third" alice
    # One after the other is fine, too: then the second did not know the passphrase.
    ((done == 1)) || { cat "$W/a" "$W/b"; return 1; }
    cat "$W/a" "$W/b" | grep -qE 'was changed meanwhile|wrong passphrase'
    [[ $(find "$BULLA_HOME" -type f | wc -l) == 2 ]]
}

@test "what is no key is not taken" {
    local len
    bulla key export alice --private -o "$W/copy"
    len=$(stat -c %s "$W/copy")
    refused() {
        run other key import x "$W/bad"
        ((status == 1 || status == 3)) || expect 1
        [[ -z $(ls -A "$W/other/keys") ]]
    }
    head -c $((len - 1)) "$W/copy" > "$W/bad" && refused
    cp "$W/copy" "$W/bad" && flip_byte "$W/bad" 70 && refused
    { cat "$W/copy"; echo; } > "$W/bad" && refused
    echo '{"keytype":"ed25519","scheme":"ed25519","keyval":{"public":"00"}}' > "$W/bad" && refused
    { bulla key export alice --pem; echo more; } > "$W/bad" && refused
    { bulla key export alice --pem; printf '\0'; } > "$W/bad" && refused
    : > "$W/bad" && refused
    head -c 20000 /dev/zero > "$W/bad" && refused
    run other key import ../x "$W/copy"
    expect 2 "is no key name"
    run other key import x "$W"
    expect 1 "regular file"
    run other key import x
    expect 2 "usage"
}
