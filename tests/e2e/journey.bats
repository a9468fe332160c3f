#!/usr/bin/env bats
# Push, sign, verify, pull, run: what a user does, twice, in the wrong order, and with the server down.
load ../support/bulla

setup_file() { bulla_setup_file; }
teardown_file() { bulla_teardown_file; }
setup() { bulla_setup; }

@test "verify says who vouches for what, and until when" {
    run bulla verify "$REF"
    expect 0 "^valid"
    grep -q "^digest     sha256:" <<< "$output"
    run bulla verify "$REF" --json
    expect 0
    [[ $(jq -r '.verdict, .role, .freshness, .policyAllows' <<< "$output" | paste -sd' ') == "valid targets online true" ]]
    [[ $(jq -r '.signers | length' <<< "$output") == 1 ]]
}

@test "pull and run: the container's output and status come through" {
    need_root
    run bulla pull "$REF"
    expect 0 "^pulled"
    run bulla run "$REF"
    expect 0 "^one$"
    run bulla run "$REF" sh -c 'exit 42'
    expect 42
    run -127 bulla run "$REF" /no/such/program
    run bulla images --digests
    expect 0 "acme/app:v1 +sha256:"
}

@test "run pulls what is missing" {
    need_root
    forget_images
    run bulla run "$REF"
    expect 0 "^one$"
    forget_images
    run bulla run --pull never "$REF"
    expect 125 "bulla pull"
}

@test "run: environment, directory, user, entry point, volume, tmpfs" {
    need_root
    mkdir "$BATS_TEST_TMPDIR/data"
    echo file > "$BATS_TEST_TMPDIR/data/f"
    VISIBLE=yes run bulla run -e A=1 -e VISIBLE -e MISSING -w /tmp "$REF" sh -c 'echo "$A $VISIBLE ${MISSING-unset} $PWD"'
    expect 0 "^1 yes unset /tmp$"
    run bulla run -u app "$REF" id -u
    expect 0 "^1000$"
    run bulla run --entrypoint /bin/echo "$REF" words
    expect 0 "^words$"
    run bulla run -v "$BATS_TEST_TMPDIR/data:/data:ro" "$REF" cat /data/f
    expect 0 "^file$"
    run bulla run -v "$BATS_TEST_TMPDIR/data:/data:ro" "$REF" touch /data/g
    expect 1 "read-only"
    run bulla run --tmpfs /data:size=64k "$REF" touch /data/g
    expect 0
    run bulla run "$REF" touch /text
    expect 1 "read-only"
}

@test "run without a policy, for the tag or at all, is refused" {
    echo '{ "version": 1 }' > "$BATS_TEST_TMPDIR/empty.json"
    run bulla --policy "$BATS_TEST_TMPDIR/empty.json" run "$REF"
    expect 125 "policy allow"
    run bulla --policy "$BATS_TEST_TMPDIR/missing.json" run "$REF"
    expect 125 "missing.json"
    run bulla --policy "$BATS_TEST_TMPDIR/empty.json" verify "$REF"
    expect 0 "would refuse"
}

@test "policy's run constraints are applied" {
    need_root
    scope=$REGISTRY_HOST/acme/app
    jq --arg s "$scope" '.scopes[$s].run = {"user":"non-root","readOnly":true,"memory":"64m","pids":20,"mounts":[]}' \
        "$BULLA_POLICY" > "$BATS_TEST_TMPDIR/strict.json"
    # Root files named relative to the policy file.
    cp -r "$BATS_FILE_TMPDIR/roots" "$BATS_TEST_TMPDIR/roots"
    export BULLA_POLICY=$BATS_TEST_TMPDIR/strict.json
    run bulla run "$REF"
    expect 125 "other than root"
    run bulla run -u 0 "$REF"
    expect 125 "other than root"
    run bulla run -u app "$REF" id -u
    expect 0 "^1000$"
    run bulla run -u app --writable "$REF"
    expect 125 "writable"
    run bulla run -u app --memory 1g "$REF"
    expect 125 "memory"
    run bulla run -u app -v /tmp:/data "$REF"
    expect 125 "volume"
}

@test "sign again changes nothing; a moved tag is replaced and said" {
    run bulla sign "$REF" --key targets
    expect 0 "already"
    make_image app:next two > /dev/null
    bulla push store:app:next "$REGISTRY_HOST/acme/app:moving"
    bulla sign "$REGISTRY_HOST/acme/app:moving" --key targets
    make_image app:next three > /dev/null
    bulla push store:app:next "$REGISTRY_HOST/acme/app:moving"
    run bulla sign "$REGISTRY_HOST/acme/app:moving" --key targets
    expect 0 "^before sha256:"
}

@test "sign without --key takes the one local key that the role lists" {
    make_image app:auto auto > /dev/null
    run bulla push store:app:auto "$REGISTRY_HOST/acme/app:auto" --sign
    expect 0 "with   key 'targets'"
    run bulla sign "$REGISTRY_HOST/acme/app:auto" --key root
    expect 0 "already"
    make_image app:auto2 auto2 > /dev/null
    bulla push store:app:auto2 "$REGISTRY_HOST/acme/app:auto2"
    run bulla sign "$REGISTRY_HOST/acme/app:auto2" --key root
    expect 2 "not a key of role"
}

@test "sign vouches for what was pushed here or named, not for the registry's tag" {
    rm -f "$BULLA_HOME/images/pushed.json"
    make_image app:other other > /dev/null
    digest=$(bulla push store:app:other "$REGISTRY_HOST/acme/app:other" --json | jq -r .digest)
    rm -f "$BULLA_HOME/images/pushed.json"
    run bulla sign "$REGISTRY_HOST/acme/app:other" --key targets
    expect 2 "has not pushed"
    run bulla sign "$REGISTRY_HOST/acme/app:other@$digest" --key targets
    expect 0 "^signed"
    run bulla verify "$REGISTRY_HOST/acme/app:other@$digest"
    expect 0
    run bulla verify "$REF@$digest"
    expect 1 "not $digest"
    # A bare digest needs a signed target of its own.
    run bulla verify "$REGISTRY_HOST/acme/app@$digest"
    expect 1 "not signed"
    run bulla sign "$REGISTRY_HOST/acme/app@$digest" --key targets
    expect 0
    run bulla verify "$REGISTRY_HOST/acme/app@$digest"
    expect 0
}

@test "two people sign at once: both tags are there" {
    make_image app:a a > /dev/null
    make_image app:b b > /dev/null
    bulla push store:app:a "$REGISTRY_HOST/acme/app:a"
    bulla push store:app:b "$REGISTRY_HOST/acme/app:b"
    cp -a "$BULLA_HOME" "$BATS_TEST_TMPDIR/home2"
    bulla sign "$REGISTRY_HOST/acme/app:a" --key targets &
    first=$!
    bulla --home "$BATS_TEST_TMPDIR/home2" sign "$REGISTRY_HOST/acme/app:b" --key targets
    wait "$first"
    run bulla verify "$REGISTRY_HOST/acme/app:a"
    expect 0
    run bulla verify "$REGISTRY_HOST/acme/app:b"
    expect 0
}

@test "trust init a second time is refused before a passphrase is asked" {
    BULLA_PASSPHRASE_FILE=/nonexistent run bulla trust init "$REGISTRY_HOST/acme/app" --root-key root
    expect 3 "trust metadata already"
}

@test "trust show lists keys, versions, days left and tags" {
    run bulla trust show "$REF"
    expect 0 "root +version 1"
    grep -Eq '  v1 +sha256:' <<< "$output"
    run bulla trust show "$REF" --json
    [[ $(jq -r '.tags.v1' <<< "$output") == sha256:* ]]
}

@test "first trust: none, pinned, on first use" {
    rm -rf "$BULLA_HOME/trust"
    echo '{ "version": 1 }' > "$BATS_TEST_TMPDIR/empty.json"
    export BULLA_POLICY=$BATS_TEST_TMPDIR/empty.json
    run bulla verify "$REF"
    expect 3 "trust pin"
    run bulla trust pin "$REF"
    expect 0 "^pinned"
    run bulla verify "$REF"
    expect 0 "anchor: pin"
    run bulla trust pin "$REF"
    expect 0 "pinned already"
    rm -rf "$BULLA_HOME/trust"
    run bulla verify "$REF" --tofu
    expect 0 "first use"
    run bulla verify "$REF"
    expect 0 "anchor: pin"
    # A pin alone never lets an image run.
    run bulla run "$REF"
    expect 125 "policy allow"
}

@test "an anchor of root key ids" {
    id=$(bulla key show root --json | jq -r .keyid)
    other=$(bulla key show targets --json | jq -r .keyid)
    rm -rf "$BULLA_HOME/trust"
    export BULLA_POLICY=$BATS_TEST_TMPDIR/keys.json
    run command bulla policy allow "$REGISTRY_HOST/acme" --root-key "$id"
    expect 0
    run bulla verify "$REF"
    expect 0 "anchor: policy"
    rm -rf "$BULLA_HOME/trust" "$BULLA_POLICY"
    command bulla policy allow "$REGISTRY_HOST/acme" --root-key "$other"
    run bulla verify "$REF"
    expect 1 "not signed by the keys that policy names"
}

@test "registry down: cached and said so; with nothing stored: could not determine" {
    need_root
    bulla pull "$REF"
    bulla_registry_stop
    run bulla verify "$REF"
    expect 0 "cached"
    run bulla run "$REF"
    expect 0 "^one$"
    rm -rf "$BULLA_HOME/trust/state"
    run bulla verify "$REF"
    expect 3 "cannot be reached"
    run bulla run "$REF"
    expect 125 "cannot be reached"
    run bulla push store:app:v1 "$REF"
    expect 3 "cannot be reached"
    bulla_registry_start
    run bulla verify "$REF"
    expect 0 "asked the registry"
}

@test "a wrong CA is a TLS error, not a missing signature" {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=other \
        -keyout "$BATS_TEST_TMPDIR/k" -out "$BATS_TEST_TMPDIR/ca.crt" 2> /dev/null
    rm -rf "$BULLA_HOME/trust/state"
    run command bulla --cacert "$BATS_TEST_TMPDIR/ca.crt" verify "$REF"
    expect 3 "certificate"
}

@test "no credentials, wrong password, no right" {
    rm -rf "$BULLA_HOME/trust/state"
    REGISTRY_AUTH_FILE=$BATS_TEST_TMPDIR/none.json run bulla verify "$REF"
    expect 1 "bulla login"
    run bulla login "$REGISTRY_HOST" --username admin --password-stdin <<< "wrong"
    expect 1
    bulla-registry user add reader --password-stdin --config "$REGISTRY_DIR/registry.yaml" <<< "readpass"
    bulla-registry grant add reader 'acme/*' pull --config "$REGISTRY_DIR/registry.yaml"
    export REGISTRY_AUTH_FILE=$BATS_TEST_TMPDIR/reader.json
    run bulla login "$REGISTRY_HOST" --username reader --password-stdin <<< "readpass"
    expect 0
    run bulla verify "$REF"
    expect 0
    run bulla push store:app:v1 "$REGISTRY_HOST/acme/app:reader"
    expect 1
    make_image app:r r > /dev/null
    run bulla sign "$REGISTRY_HOST/acme/app:v9@$(bulla verify "$REF" --json | jq -r .digest)" --key targets
    expect 1
}

@test "a wrong passphrase is not a refusal" {
    echo wrong > "$BATS_TEST_TMPDIR/wrong"
    chmod 600 "$BATS_TEST_TMPDIR/wrong"
    run bulla sign "$REGISTRY_HOST/acme/app:new@$(bulla verify "$REF" --json | jq -r .digest)" --key targets \
        --passphrase-file "$BATS_TEST_TMPDIR/wrong"
    expect 3 "wrong passphrase"
}

@test "a key on a token signs" {
    . "$BATS_TEST_DIRNAME/../support/softhsm.sh"
    softhsm_module > /dev/null || skip "SoftHSM is not installed"
    softhsm_make_token "$BATS_TEST_TMPDIR/token" bulla-test 123456 01
    echo 123456 > "$BATS_TEST_TMPDIR/pin"
    chmod 600 "$BATS_TEST_TMPDIR/pin"
    export BULLA_PIN_FILE=$BATS_TEST_TMPDIR/pin
    run bulla key token list
    expect 0 "^pkcs11:"
    uri=$(bulla key token list --json | jq -r '.keys[0].uri')
    make_image app:t token > /dev/null
    bulla push store:app:t "$REGISTRY_HOST/acme/token:v1"
    run bulla trust init "$REGISTRY_HOST/acme/token" --root-key "$uri" --targets-key targets
    expect 0 "token 'bulla-test'"
    run bulla trust init "$REGISTRY_HOST/acme/token2" --root-key root --targets-key "$uri"
    expect 0 "token 'bulla-test'.* signs; touch it"
    run bulla trust init "$REGISTRY_HOST/acme/token4" --root-key "$uri" --targets-key "$uri"
    expect 0 "token 'bulla-test'.* signs 2 files; touch it for each"
    echo 999999 > "$BATS_TEST_TMPDIR/pin"
    run bulla trust init "$REGISTRY_HOST/acme/token3" --root-key "$uri"
    expect 3 "PIN"
}

@test "thresholds: two root keys must both sign, two targets keys too" {
    bulla key generate root2 > /dev/null
    bulla key generate targets2 --type ecdsa-p256 > /dev/null
    run bulla trust init "$REGISTRY_HOST/acme/multi" --root-key root --root-key root2 --root-threshold 2 \
        --targets-key targets --targets-key targets2 --targets-threshold 2
    expect 0
    make_image app:m m > /dev/null
    bulla push store:app:m "$REGISTRY_HOST/acme/multi:v1"
    run bulla sign "$REGISTRY_HOST/acme/multi:v1" --key targets
    expect 1 "needs signatures of 2 keys"
    run bulla sign "$REGISTRY_HOST/acme/multi:v1" --key targets --key targets2
    expect 0
    run --separate-stderr bulla verify "$REGISTRY_HOST/acme/multi:v1" --json
    [[ $(jq '.signers | length' <<< "$output") == 2 ]]
    run bulla trust init "$REGISTRY_HOST/acme/multi2" --root-key root --root-threshold 2
    expect 2 "threshold"
    run bulla trust init "$REGISTRY_HOST/acme/multi2" --root-key root --root-key root
    expect 2 "named twice"
}

@test "pull puts a damaged store right; run only refuses" {
    need_root
    bulla pull "$REF"
    image=$(bulla verify "$REF" --json 2> /dev/null | jq -r .digest)
    layer=$(jq -r '.layers[0].digest' "$BULLA_HOME/images/blobs/sha256/${image#sha256:}")
    for damaged in "$(find "$BULLA_HOME/images/layers" -path '*/root/text')" \
        "$BULLA_HOME/images/blobs/sha256/${image#sha256:}" "$BULLA_HOME/images/blobs/sha256/${layer#sha256:}"; do
        chmod u+w "$damaged"
        flip_byte "$damaged"
        if [[ $damaged != *"${layer#sha256:}" ]]; then
            run bulla run "$REF"
            expect 125 "puts it right|does not have|changed|damaged"
        fi
        run bulla pull "$REF"
        expect 0 "replaced 1 damaged"
        run bulla run "$REF"
        expect 0 "^one$"
    done
    run bulla pull "$REF"
    expect 0 "everything was there"
}
