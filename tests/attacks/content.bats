#!/usr/bin/env bats
# What the signed digest names, changed, exchanged or misnamed by the registry. (The registry is a file server in
# the attacker's hands; metadata is honest unless the row is about an owner who is careless or revokes.)
load ../support/bulla
load ../support/forge

setup_file() { forge_setup_file; }
teardown_file() { forge_teardown_file; }
setup() {
    forge_setup
    SERVED=$WWW/v2/$REPO
}
teardown() { forge_teardown; }

# shellcheck disable=SC2153 # forge.bash sets DIGEST
part() { jq -r "$1" "$SERVED/manifests/$DIGEST"; }

# serve FILE FOLDER: puts it where the repository shows it; prints its digest.
serve() {
    local hex
    hex=$(sha256sum < "$1" | cut -d ' ' -f 1)
    cp "$1" "$SERVED/$2/sha256:$hex"
    echo "sha256:$hex"
}

# sign_digest N TAG FILE [MEDIA-TYPE]: release N vouches for FILE as TAG.
sign_digest() {
    release "$1" ".targets.$2 = {length: $(stat -c %s "$3"), hashes: {sha256: \"$(sha256sum < "$3" |
        cut -d ' ' -f 1)\"}, custom: {mediaType: \"${4:-application/vnd.oci.image.manifest.v1+json}\"}}"
}

# Nothing of the image may be known after a refused pull.
no_image() {
    [[ -z $(command bulla images --json | jq -r '.images[]') ]]
}

@test "manifest, config or layer changed in the registry or on the wire" {
    bulla verify "$REF"
    for file in "manifests/$DIGEST" "blobs/$(part .config.digest)" "blobs/$(part '.layers[0].digest')"; do
        cp "$SERVED/$file" "$BATS_TEST_TMPDIR/good"
        chmod u+w "$SERVED/$file"
        flip_byte "$SERVED/$file"
        run bulla pull "$REF"
        expect 1 'digest'
        run bulla run "$REF"
        expect 125 'digest'
        # Bytes that were cut off, and bytes too many.
        head -c -1 "$BATS_TEST_TMPDIR/good" > "$SERVED/$file"
        run bulla pull "$REF"
        expect 1 'bytes|digest|length'
        { cat "$BATS_TEST_TMPDIR/good"; printf x; } > "$SERVED/$file"
        run bulla pull "$REF"
        expect 1 'bytes|digest|length|larger'
        no_image
        cp "$BATS_TEST_TMPDIR/good" "$SERVED/$file"
    done
    run bulla pull "$REF"
    expect 0 '^pulled'
}

@test "another manifest, signed itself, under the signed digest" {
    # A second, honestly signed image.
    jq -c '.annotations = {other: "yes"}' "$SERVED/manifests/$DIGEST" > "$BATS_TEST_TMPDIR/other"
    serve "$BATS_TEST_TMPDIR/other" manifests
    sign_digest 2 v2 "$BATS_TEST_TMPDIR/other"
    cp "$BATS_TEST_TMPDIR/other" "$SERVED/manifests/$DIGEST"
    run bulla pull "$REF"
    expect 1 'digest|bytes'
    no_image
    need_root
    run bulla run "$REF"
    expect 125 'digest|bytes'
}

@test "tag v1 served as v2" {
    jq -c '.annotations = {old: "hole"}' "$SERVED/manifests/$DIGEST" > "$BATS_TEST_TMPDIR/v2"
    v2=$(serve "$BATS_TEST_TMPDIR/v2" manifests)
    sign_digest 2 v2 "$BATS_TEST_TMPDIR/v2"
    tag=$REGISTRY_HOST/$REPO:v2
    # The registry's tag says v1's digest: not what is asked for, and said.
    cp "$SERVED/manifests/v1.digest" "$SERVED/manifests/v2.digest"
    : > "$SERVED/manifests/v2"
    run bulla verify "$tag"
    expect 0 'points elsewhere'
    grep -q "^digest     $v2" <<< "$output"
    # v1's bytes under v2's digest are refused.
    cp "$SERVED/manifests/$DIGEST" "$SERVED/manifests/$v2"
    run bulla pull "$tag"
    expect 1 'digest|bytes'
    no_image
    # And metadata cannot be made to say it: names are signed.
    ACCEPTED='timestamp.json snapshot.json'
    sign_targets 3
    jq -c '.signed.targets.v2 = .signed.targets.v1' "$TUF/3.targets.json" > "$TUF/x"
    mv "$TUF/x" "$TUF/3.targets.json"
    sign_snapshot 3
    sign_timestamp 3
    refused 1 'needed signatures' bulla verify "$tag"
    good_again 4
}

@test "REPO:TAG@DIGEST: both must agree; a digest alone needs its own signature" {
    jq -c '.annotations = {other: "yes"}' "$SERVED/manifests/$DIGEST" > "$BATS_TEST_TMPDIR/other"
    other=$(serve "$BATS_TEST_TMPDIR/other" manifests)
    run bulla verify "$REF@$other"
    expect 1 "signed digest of 'v1' is $DIGEST, not $other"
    run bulla verify "$REGISTRY_HOST/$REPO@$DIGEST"
    expect 1 "'$DIGEST' is not signed"
    run bulla run "$REGISTRY_HOST/$REPO@$DIGEST"
    expect 125 "'$DIGEST' is not signed"
    # A name that is a digest promises just that content.
    ACCEPTED='timestamp.json snapshot.json'
    release 2 ".targets[\"$other\"] = .targets.v1"
    refused 1 "names other content" bulla verify "$REGISTRY_HOST/$REPO@$other"
    good_again 3
}

@test "registry tag moved: the signed digest runs, verify warns" {
    jq -c '.annotations = {evil: "yes"}' "$SERVED/manifests/$DIGEST" > "$BATS_TEST_TMPDIR/evil"
    evil=$(serve "$BATS_TEST_TMPDIR/evil" manifests)
    echo "$evil" > "$SERVED/manifests/v1.digest"
    run bulla verify "$REF"
    expect 0 "points elsewhere \\($evil\\)"
    grep -q "^digest     $DIGEST" <<< "$output"
    run bulla pull "$REF"
    expect 0 "$DIGEST"
    rm "$SERVED/manifests/v1" "$SERVED/manifests/v1.digest"
    run bulla verify "$REF"
    expect 0 "has no tag 'v1'"
    [[ $(grep -c "${evil#sha256:}" "$WWW/requests") == 0 ]]
    need_root
    run bulla run "$REF"
    expect 0 '^one$'
}

@test "every digest that was signed must hold, not the first one only" {
    both() { # N SHA512
        release "$1" ".targets.v1.hashes.sha512 = \"$2\""
        # The image is there already, and is not.
        for had in yes no; do
            [[ $had == yes ]] || rm -rf "$BULLA_HOME/images"
            run bulla pull "$REF$3"
            expect "$4" "$5"
        done
    }
    bulla pull "$REF"
    right=$(sha512sum < "$SERVED/manifests/$DIGEST" | cut -d ' ' -f 1)
    wrong=$(printf %0128d 7)
    both 2 "$right" '' 0 '^pulled'
    both 3 "$wrong" '' 1 "the manifest is not sha512:$wrong"
    both 4 "$wrong" "@sha512:$wrong" 1 "the manifest is not sha512:$wrong"
    need_root
    run bulla run "$REF"
    expect 125 'the manifest is not sha512'
}

# index_of FILE ENTRY-FILTER [ENTRY-FILTER]: an index of this image with what the filters say.
index_of() {
    local entry
    entry=$(jq -cn --arg digest "$DIGEST" --argjson size "$(stat -c %s "$SERVED/manifests/$DIGEST")" '{digest: $digest,
        size: $size, mediaType: "application/vnd.oci.image.manifest.v1+json",
        platform: {os: "linux", architecture: "amd64"}}')
    jq -c "{schemaVersion: 2, mediaType: \"application/vnd.oci.image.index.v1+json\",
        manifests: [($2)${3:+, ($3)}]}" <<< "$entry" > "$1"
    serve "$1" manifests
}

@test "another platform's child" {
    [[ $(uname -m) == x86_64 ]] || skip "needs amd64"
    type=application/vnd.oci.image.index.v1+json
    index=$BATS_TEST_TMPDIR/index
    # A child whose config is for arm64, listed as amd64.
    jq -c '.architecture = "arm64"' "$SERVED/blobs/$(part .config.digest)" > "$BATS_TEST_TMPDIR/config"
    config=$(serve "$BATS_TEST_TMPDIR/config" blobs)
    jq -c ".config.digest = \"$config\" | .config.size = $(stat -c %s "$BATS_TEST_TMPDIR/config")" \
        "$SERVED/manifests/$DIGEST" > "$BATS_TEST_TMPDIR/child"
    child=$(serve "$BATS_TEST_TMPDIR/child" manifests)
    foreign=".digest = \"$child\" | .size = $(stat -c %s "$BATS_TEST_TMPDIR/child")"
    index_of "$index" "$foreign"
    sign_digest 2 v1 "$index" "$type"
    run bulla pull "$REF"
    expect 1 'linux/amd64.* linux/arm64'
    no_image
    # None for this platform: the other one is not taken in its place.
    index_of "$index" "$foreign | .platform.architecture = \"arm64\""
    sign_digest 3 v1 "$index" "$type"
    run bulla pull "$REF"
    expect 3 'linux/amd64'
    no_image
    # The order of the entries does not decide.
    index_of "$index" "$foreign | .platform.architecture = \"arm64\"" .
    sign_digest 4 v1 "$index" "$type"
    run bulla pull "$REF"
    expect 0 '^pulled'
    need_root
    run bulla run "$REF"
    expect 0 '^one$'
}

@test "banned digest: as a tag, as an index, as an index child" {
    bulla pull "$REF"
    release 2 ".\"x-bulla-banned\" = [\"$DIGEST\"]"
    run bulla verify "$REF"
    expect 1 "$DIGEST is banned"
    run bulla pull "$REF"
    expect 1 "$DIGEST is banned"
    run bulla run "$REF"
    expect 125 "$DIGEST is banned"
    [[ $(uname -m) == x86_64 ]] || skip "the rest needs amd64"
    index=$BATS_TEST_TMPDIR/index
    digest=$(index_of "$index" .)
    type=application/vnd.oci.image.index.v1+json
    release 3 ".\"x-bulla-banned\" = [\"$DIGEST\"] | .targets.v1 = {length: $(stat -c %s "$index"),
        hashes: {sha256: \"${digest#sha256:}\"}, custom: {mediaType: \"$type\"}}"
    # The image is in the store already, and is not.
    for had in yes no; do
        [[ $had == yes ]] || rm -rf "$BULLA_HOME/images"
        run bulla pull "$REF"
        expect 1 "$DIGEST is banned"
        run bulla run "$REF"
        expect 125 "$DIGEST is banned"
    done
    release 4 ".\"x-bulla-banned\" = [\"$digest\"] | .targets.v1 = {length: $(stat -c %s "$index"),
        hashes: {sha256: \"${digest#sha256:}\"}, custom: {mediaType: \"$type\"}}"
    run bulla pull "$REF"
    expect 1 "$digest is banned"
    # A delegated role does not get round the ban.
    sign_role alice 5
    release 5 ".\"x-bulla-banned\" = [\"$DIGEST\"] | .targets = {} | $(delegate alice '*')"
    run bulla verify "$REF"
    expect 1 "$DIGEST is banned"
    release 6
    run bulla pull "$REF"
    expect 0 '^pulled'
}

@test "registry offline: a ban that is known holds" {
    bulla pull "$REF"
    release 2 ".\"x-bulla-banned\" = [\"$DIGEST\"]"
    run bulla verify "$REF"
    expect 1 "banned"
    echo 503 > "$TUF/timestamp.json.status"
    run bulla run "$REF"
    expect 125 "banned"
}
