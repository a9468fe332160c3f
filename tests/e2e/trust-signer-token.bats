#!/usr/bin/env bats
# The signing service's keys on a PKCS#11 token: taken from those that lie on it, lost and found, replaced.
load ../support/bulla
. "$BATS_TEST_DIRNAME/../support/softhsm.sh"

PIN=123456

setup_file() {
    softhsm_module > /dev/null || return 0
    umask 022
    softhsm_make_token "$BATS_FILE_TMPDIR/token" service "$PIN" 01
    local id
    for id in 02 03 04; do softhsm_make_token "$BATS_FILE_TMPDIR/token" service "$PIN" "$id"; done
    softhsm_make_token "$BATS_FILE_TMPDIR/token" other "$PIN" 01
    unset BULLA_PKCS11_MODULE # of the commands; the service has its own
    registry_init "$BATS_FILE_TMPDIR/registry"
    echo "$PIN" > "$BATS_FILE_TMPDIR/registry/signer/pin"
    chmod 600 "$BATS_FILE_TMPDIR/registry/signer/pin"
    sed -i "s|^signer:|signer:\n  token: service\n  tokenModule: $(softhsm_module)\n  tokenPinFile: signer/pin\n  tokenCollections: 'tok/*'|" \
        "$BATS_FILE_TMPDIR/registry/registry.yaml"
    bulla_setup_file
    init tok/one
    bulla sign "$REGISTRY_HOST/tok/one:v1" --key targets > /dev/null
    bulla policy allow "$REGISTRY_HOST/tok/one" > /dev/null
}
teardown_file() { [[ ! -e $BATS_FILE_TMPDIR/registry.pid ]] || bulla_teardown_file; }

setup() {
    softhsm_module > /dev/null || skip "SoftHSM is not installed"
    bulla_setup
}

key() { registry_curl "/v2/$1/_trust/tuf/$2.key"; } # COLLECTION ROLE
init() { # COLLECTION
    bulla push store:app:v1 "$REGISTRY_HOST/$1:v1" > /dev/null
    bulla trust init "$REGISTRY_HOST/$1" --root-key root --targets-key targets > /dev/null
}
renew() { bulla trust renew "$REGISTRY_HOST/$1" targets --key targets; } # COLLECTION: a publication
log_says() { grep -q "$1" "$REGISTRY_DIR/log"; }
signer_says() { # WORD: in /readyz, which looks every two seconds
    local i
    for ((i = 0; i < 60; i++)); do
        [[ $(registry_curl /readyz | jq -r .signer) == "$1" ]] && return 0
        sleep 0.1
    done
    return 1
}
valid() { # COLLECTION
    run bulla verify "$REGISTRY_HOST/$1:v1"
    expect 0 '^valid'
}

@test "collections take keys of the token, each its own; others have theirs in files" {
    [[ $(key acme/app snapshot | jq -r .keytype) == ed25519 ]]
    [[ $(key tok/one snapshot | jq -r .keytype) == ecdsa ]]
    [[ $(key tok/one timestamp | jq -r .keytype) == ecdsa ]]
    [[ $(key tok/one snapshot) != "$(key tok/one timestamp)" ]]
    valid tok/one
}

@test "rotation takes another key of the token, and no key serves twice" {
    local before
    before=$(key tok/one snapshot)
    run bulla trust rotate "$REGISTRY_HOST/tok/one" snapshot timestamp --key root
    expect 0
    [[ $(key tok/one snapshot) != "$before" ]]
    # Four keys are used up; those of the other token are not this service's.
    run bulla trust rotate "$REGISTRY_HOST/tok/one" snapshot --key root
    expect 3 "cannot use its token"
    log_says "token 'service' has no key left for this: 4 keys, all used"
    registry_curl -o /dev/null -w '%{http_code}' /v2/tok/two/_trust/tuf/snapshot.key | grep -q 503
    softhsm_make_token "$BATS_FILE_TMPDIR/token" service "$PIN" 05
    unset BULLA_PKCS11_MODULE
    run bulla trust rotate "$REGISTRY_HOST/tok/one" snapshot --key root
    expect 0
    renew tok/one
}

@test "a token that is gone: nothing is signed with it, all else goes on; it works again when it is back" {
    mv "$BATS_FILE_TMPDIR/token/tokens" "$BATS_FILE_TMPDIR/token/gone"
    mkdir "$BATS_FILE_TMPDIR/token/tokens"
    run renew tok/one
    expect 3 "cannot use its token"
    log_says "token 'service': .*cannot be signed until"
    signer_says token
    key tok/one snapshot | jq -e .keytype
    run renew acme/app
    expect 0
    rmdir "$BATS_FILE_TMPDIR/token/tokens"
    mv "$BATS_FILE_TMPDIR/token/gone" "$BATS_FILE_TMPDIR/token/tokens"
    run renew tok/one
    expect 0
    log_says "token 'service' works again"
    signer_says ok
}

@test "a helper that ended is started again" {
    local signer helper
    signer=$(fuser "$REGISTRY_DIR/run/signer.sock" 2> /dev/null | tr -d ' ')
    helper=$(cat "/proc/$(cat "/proc/$signer/task/$signer/children" | tr -d ' ')/task/"*/children)
    [[ -n $helper ]]
    # shellcheck disable=SC2086 # several
    kill -KILL $helper
    run renew tok/one
    expect 0
    valid tok/one
}

@test "a wrong PIN is sent once, and said" {
    echo 654321 > "$REGISTRY_DIR/signer/pin"
    bulla_registry_restart
    run renew tok/one
    expect 3 "cannot use its token"
    log_says "wrong PIN for token 'service'"
    run renew tok/one
    expect 3 "cannot use its token"
    log_says "refused the PIN; it is not sent again"
    signer_says token
    run renew acme/app
    expect 0
    echo "$PIN" > "$REGISTRY_DIR/signer/pin"
    bulla_registry_restart
    run renew tok/one
    expect 0
    valid tok/one
}

@test "after a restore, keys that may have served are not handed out again" {
    local id late config=$REGISTRY_DIR/registry.yaml
    for id in 06 07 08; do softhsm_make_token "$BATS_FILE_TMPDIR/token" service "$PIN" "$id"; done
    unset BULLA_PKCS11_MODULE
    bulla-signer backup "$BATS_TEST_TMPDIR/copy" --config "$config"
    late=$(key tok/late snapshot)
    bulla_registry_stop
    rm "$REGISTRY_DIR/signer/signer.db"*
    bulla-signer restore "$BATS_TEST_TMPDIR/copy" --config "$config"
    bulla_registry_start
    signer_says restored
    bulla-signer resume --all --config "$config"
    # The copy knows nothing of tok/late, whose first publication must not become a new one.
    # That no key is to be seen at first changes nothing.
    mv "$BATS_FILE_TMPDIR/token/tokens" "$BATS_FILE_TMPDIR/token/gone"
    mkdir "$BATS_FILE_TMPDIR/token/tokens"
    registry_curl -o /dev/null -w '%{http_code}' /v2/tok/late/_trust/tuf/snapshot.key | grep -q 503
    rmdir "$BATS_FILE_TMPDIR/token/tokens"
    mv "$BATS_FILE_TMPDIR/token/gone" "$BATS_FILE_TMPDIR/token/tokens"
    registry_curl -o /dev/null -w '%{http_code}' /v2/tok/late/_trust/tuf/snapshot.key | grep -q 503
    log_says "token 'service' has no key left for this: [0-9]* keys, all used"
    for id in 09 0a; do softhsm_make_token "$BATS_FILE_TMPDIR/token" service "$PIN" "$id"; done
    [[ $(key tok/late snapshot | jq -r .keytype) == ecdsa && $(key tok/late snapshot) != "$late" ]]
    renew tok/one
    valid tok/one
}

@test "a token lost for good: its collections get keys in files, and verifiers follow" {
    valid tok/one
    sed -i '/^  token/d' "$REGISTRY_DIR/registry.yaml"
    rm -rf "$BATS_FILE_TMPDIR/token"
    bulla_registry_restart
    run renew tok/one
    expect 3 "cannot use its token"
    log_says "the key is on a token .*but signer.token names none"
    run bulla trust rotate "$REGISTRY_HOST/tok/one" snapshot timestamp --key root
    expect 0
    [[ $(key tok/one snapshot | jq -r .keytype) == ed25519 ]]
    run renew tok/one
    expect 0
    valid tok/one
}
