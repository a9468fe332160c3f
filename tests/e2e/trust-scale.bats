#!/usr/bin/env bats
# Large collections: when a split is advised, how many bins there are, and that a verifier fetches and an owner sends
# little afterwards.
load ../support/bulla

setup_file() {
    bulla_setup_file
}

teardown_file() {
    bulla_teardown_file
}

setup() {
    bulla_setup
    C=$REGISTRY_HOST/acme/app
    DIGEST=$(bulla verify "$REF" --json 2> /dev/null | jq -r .digest)
    SIZE=$(registry_curl -H 'Accept: */*' "/v2/acme/app/manifests/$DIGEST" | wc -c)
}

fill() { # FIRST COUNT
    trust-load fill "$C" "$REGISTRY_CA" targets "$DIGEST" "$SIZE" "$1" "$2"
}

counter() { # NAME
    registry_curl /metrics | sed -n "s/^bulla_$1_bytes_total //p"
}


@test "a split is advised when a role has become large, and plans for what was said" {
    fill 0 998
    run bulla sign "$C:last@$DIGEST" --key targets
    expect 0 "role 'targets' holds 1000 tags in one file"
    [[ $(grep -c 'trust split' <<< "$output") == 1 ]]
    # Nothing was signed: no advice.
    run bulla sign "$C:last@$DIGEST" --key targets
    expect 0 'signed already'
    run ! grep -q 'trust split' <<< "$output"
    run --separate-stderr bulla sign "$C:json@$DIGEST" --key targets --json
    [[ $(jq -r .splitAdvised <<< "$output") == true && -z $stderr ]]
    run bulla trust split "$C" --bin-key targets --expect-tags 2000 --bins 4
    expect 2 'both say how many bins'
    run bulla trust split "$C" --bin-key targets --expect-tags 0
    expect 2 'not a number'
    run bulla trust split "$C" --bin-key targets --expect-tags 2000 --key targets
    expect 0 "64 bins named 'targets-bin-"
    run --separate-stderr bulla sign "$C:json2@$DIGEST" --key targets --json
    [[ $(jq -r .splitAdvised <<< "$output") == false ]]
}

# From 2,000 tags in 64 bins; depends on the test before.
@test "with bins a new verifier fetches little, and one more tag sends and signs one bin" {
    local before sent received versions
    fill 1000 1000
    rm -rf "$BULLA_HOME/trust/state"
    before=$(counter sent)
    run bulla verify "$C:v0001500"
    expect 0 'valid'
    # Connections, headers and the scrape itself included; the metadata alone is less than 24 KB.
    sent=$(($(counter sent) - before))
    ((sent < 60000))
    ((sent > 15000))
    [[ $(find "$BULLA_HOME/trust/state" -name 'targets-bin-*.json' | wc -l) == 1 ]]

    versions=$(bin_versions)
    before=$(counter received)
    bulla sign "$C:one-more@$DIGEST" --key targets
    received=$(($(counter received) - before))
    ((received < 20000))
    [[ $(diff <(echo "$versions") <(bin_versions) | grep -c '^>') == 1 ]]
    run bulla verify "$C:one-more"
    expect 0 'valid'
}

bin_versions() {
    local snapshot
    snapshot=$(registry_curl /v2/acme/app/_trust/tuf/timestamp.json | jq -r '.signed.meta["snapshot.json"].version')
    registry_curl "/v2/acme/app/_trust/tuf/$snapshot.snapshot.json" |
        jq -r '.signed.meta | to_entries[] | select(.key | startswith("targets-bin-")) | "\(.key) \(.value.version)"'
}
