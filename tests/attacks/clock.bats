#!/usr/bin/env bats
# Time as a weapon: clocks set back or ahead, frozen metadata, a network taken away.
load ../support/bulla
load ../support/forge

setup_file() { forge_setup_file; }
teardown_file() { forge_teardown_file; }
setup() { forge_setup; }
teardown() { forge_teardown; }

# at OFFSET ARGS…: the command with another clock.
at() {
    faketime -f "$1" bulla --cacert "$REGISTRY_CA" "${@:2}"
}

away() { echo 503 > "$TUF/timestamp.json.status"; }
back() { rm -f "$TUF/timestamp.json.status"; }

@test "clock set back: behind the last refresh, or behind the timestamp" {
    # A new machine: only x-bulla-issued can tell.
    ACCEPTED='root.json 1.json'
    refused 3 'the local clock is behind' at -10m verify "$REF"
    refused 125 'the local clock is behind' at -20d run "$REF"
    ACCEPTED=
    run bulla verify "$REF"
    expect 0 '^valid'
    refused 3 'seconds behind the last refresh' at -10m verify "$REF"
    refused 125 'seconds behind the last refresh' at -20d run "$REF"
    # A set-back clock and no network: nothing is unexpired by that.
    away
    refused 3 'seconds behind the last refresh' at -10m verify "$REF"
    back
    # Small differences between clocks are none.
    run at -2m verify "$REF"
    expect 0 '^valid'
    good_again 2
}

@test "clock set back: the record of the last refresh taken away does not help" {
    bulla verify "$REF"
    find "$BULLA_HOME/trust" -name last-success -delete
    away
    run at -10m verify "$REF"
    expect 3 'behind|status 503'
    back
    refused 3 'the local clock is behind' at -10m verify "$REF"
    good_again 2
}

@test "expired timestamp of equal version" {
    bulla verify "$REF"
    refused 1 'timestamp.*expired at' at +2d verify "$REF"
    refused 125 'timestamp.*expired at' at +2d run "$REF"
    refused 1 'timestamp.*expired at' at +2d pull "$REF"
    # The same version signed anew with a later date is no way out: versions say what is new.
    sign_timestamp 1 ".expires = \"$(date_in 864000)\""
    refused 1 'timestamp.*expired at' at +2d verify "$REF"
    sign_timestamp 2 ".expires = \"$(date_in 864000)\""
    run at +2d verify "$REF"
    expect 0 '^valid'
}

@test "forced offline: what is stored holds until it expires, and is said to be cached" {
    bulla pull "$REF"
    away
    run at +2h verify "$REF"
    expect 0 'cached'
    refused 3 'status 503.*expired at' at +2d verify "$REF"
    refused 125 'status 503.*expired at' at +2d run "$REF"
    # A server that answers, but with what has expired, is no network failure: refused.
    back
    refused 1 'timestamp.*expired at' at +2d verify "$REF"
    good_again 2
}

@test "forced offline: another digest than the stored one may be signed by now" {
    bulla verify "$REF"
    refused 1 'signed digest' bulla verify "$REF@sha256:$(printf other | sha256sum | cut -d' ' -f1)"
    away
    refused 3 'cannot be asked' bulla verify "$REF@sha256:$(printf other | sha256sum | cut -d' ' -f1)"
}

@test "forced offline: maxAge narrows, offlineGrace widens, for the timestamp only" {
    bulla pull "$REF"
    away
    forge_policy 'maxAge: "1h"'
    run at +30m verify "$REF"
    expect 0 'cached'
    refused 3 'policy allows 3600' at +2h verify "$REF"
    refused 125 'policy allows 3600' at +2h run "$REF"
    forge_policy 'offlineGrace: "4d"'
    run at +3d verify "$REF"
    expect 0 'cached'
    refused 3 'expired at' at +6d verify "$REF"
    # Grace covers no other role.
    back
    sign_snapshot 2 ".expires = \"$(date_in 90000)\""
    sign_timestamp 2
    bulla verify "$REF"
    away
    refused 3 'snapshot.*expired at' at +2d verify "$REF"
    # Nor an answer of the registry's own.
    back
    refused 1 'timestamp.*expired at' at +3d verify "$REF"
    good_again 3
}

@test "forced offline: a run uses a recent refresh again, and not for longer than policy says" {
    bulla pull "$REF"
    need_root
    forge_policy 'refresh: "60s"'
    before=$(wc -l < "$WWW/requests")
    run bulla run "$REF"
    expect 0 '^one$'
    [[ $(wc -l < "$WWW/requests") == "$before" ]]
    forge_policy 'refresh: "60s", maxAge: "0"'
    sleep 1.1
    bulla run "$REF"
    [[ $(wc -l < "$WWW/requests") != "$before" ]]
    forge_policy 'refresh: "60s"'
    # verify always asks; so does a run that comes later.
    bulla verify "$REF"
    [[ $(wc -l < "$WWW/requests") != "$before" ]]
    before=$(wc -l < "$WWW/requests")
    run at +2m run "$REF"
    expect 0 '^one$'
    [[ $(wc -l < "$WWW/requests") != "$before" ]]
    # A recent refresh is worth nothing once something in it has expired.
    forge_policy 'refresh: "9d"'
    refused 125 'timestamp.*expired at' at +2d run "$REF"
}

@test "a lie about the future: a timestamp issued ahead of the clock" {
    ACCEPTED='root.json 1.json'
    sign_timestamp 2 ".\"x-bulla-issued\" = \"$(date_in 3600)\""
    refused 3 'the local clock is behind: timestamp was issued' bulla verify "$REF"
    sign_timestamp 2 'del(."x-bulla-issued")'
    refused 1 "no 'x-bulla-issued'" bulla verify "$REF"
    good_again 3
}
