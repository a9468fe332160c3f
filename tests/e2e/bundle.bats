#!/usr/bin/env bats
# Bundles: an image and its signatures in one file, verified and loaded where there is no network.
load ../support/bulla

setup_file() {
    bulla_setup_file
    bulla pull "$REGISTRY_HOST/acme/app:v1" > /dev/null
    bulla save "$REGISTRY_HOST/acme/app:v1" -o "$BATS_FILE_TMPDIR/v1.bundle" > /dev/null
    mkdir "$BATS_FILE_TMPDIR/open"
    tar -xf "$BATS_FILE_TMPDIR/v1.bundle" -C "$BATS_FILE_TMPDIR/open"
}
teardown_file() { bulla_teardown_file; }
setup() {
    bulla_setup
    BUNDLE=$BATS_FILE_TMPDIR/v1.bundle
    OPEN=$BATS_TEST_TMPDIR/open
}

# A machine that knows the owner's root and nothing else, and has no network: another port.
other_machine() {
    export BULLA_HOME=$BATS_TEST_TMPDIR/other BULLA_POLICY=$BATS_TEST_TMPDIR/other.json
    rm -rf "$BULLA_HOME"
    other_policy ''
}

other_policy() { # MEMBERS
    jq -n --arg scope "$REGISTRY_HOST/acme" --arg root "$BATS_FILE_TMPDIR/open/bulla/tuf/1.root.json" "
        {version: 1, scopes: {(\$scope): ({collection: \"acme/\", root: {file: \$root}} + {$1})}}" > "$BULLA_POLICY"
}

# A bundle's files, to be changed; `again` packs them as `save` orders them.
unpack() { cp -r "$BATS_FILE_TMPDIR/open" "$OPEN"; }
again() { # TO
    (cd "$BATS_FILE_TMPDIR" && tar -tf v1.bundle) > "$BATS_TEST_TMPDIR/order"
    tar -C "$OPEN" --no-recursion -cf "$1" -T "$BATS_TEST_TMPDIR/order"
}

# No answer can come: nothing listens there.
offline() { unshare -n "$@"; }

files_of() { (cd "$BULLA_HOME" && find images -type f ! -name '*.lock' ! -name lock ! -path '*/tmp/*' | sort); }

untouched() { # STATUS PATTERN FILE: verify and load say so, and no image gets in
    run command bulla verify "$3"
    expect "$1" "$2"
    run ! grep -q '^valid' <<< "$output"
    run command bulla load "$3"
    expect "$1" "$2"
    [[ $(wc -l <<< "$output") == 1 ]]
    [[ -z $(command bulla images --json | jq -r '.images[]') ]]
    [[ -z $(cd "$BULLA_HOME" && find images/blobs images/tmp -type f 2> /dev/null) ]]
}

@test "a bundle is verified, loaded and run without network by who has only the root" {
    need_root
    other_machine
    run offline bulla verify "$BUNDLE"
    expect 0 "^valid +$REF"
    grep -Eq '^freshness +bundle, [0-9]+ s old' <<< "$output"
    run offline bulla verify --json "$BUNDLE"
    expect 0
    [[ $(jq -r '.freshness + " " + .reference' <<< "$output") == "bundle $REF" ]]
    # Verifying takes no image.
    [[ -z $(command bulla images --json | jq -r '.images[]') ]]
    run offline bulla load "$BUNDLE"
    expect 0 "^loaded $REF"
    run offline bulla run --pull never "$REF"
    expect 0 '^one$'
    run offline bulla run "$REF"
    expect 0 '^one$'
    # A second load is fine and writes nothing.
    before=$(files_of)
    run offline bulla load --json "$BUNDLE"
    expect 0
    [[ $(jq -r .blobs <<< "$output") == 0 ]]
    [[ $(files_of) == "$before" ]]
    # What was damaged meanwhile is put right by it.
    chmod u+w "$BULLA_HOME"/images/blobs/sha256/*
    for blob in "$BULLA_HOME"/images/blobs/sha256/*; do flip_byte "$blob"; done
    run offline bulla load "$BUNDLE"
    expect 0 '^loaded'
    run offline bulla run "$REF"
    expect 0 '^one$'
}

@test "save: second time, wrong places, no rights, no network, disk full" {
    out=$BATS_TEST_TMPDIR/x.bundle
    run bulla save "$REF" -o "$out"
    expect 0 "^saved $REF"
    cp "$out" "$out.first"
    run bulla save "$REF" -o "$out"
    expect 3 'is there already; --force'
    cmp "$out" "$out.first"
    run bulla save "$REF" -o "$out" --force
    expect 0
    run bulla save "$REF"
    expect 2 'with -o'
    run bulla save "$REF" -o "$BATS_TEST_TMPDIR"
    expect 2 'is no regular file'
    run bulla save "$REF" -o "$BATS_TEST_TMPDIR/none/x"
    expect 3 'No such file'
    run bulla save "$REGISTRY_HOST/acme/app:none" -o "$BATS_TEST_TMPDIR/y"
    expect 1 'is not signed'
    if ((EUID == 0)); then
        mkdir -m 755 "$BATS_TEST_TMPDIR/small"
        # shellcheck disable=SC2016 # its own shell's
        run unshare -m bash -c 'mount -t tmpfs -o size=64k none "$1" && shift && "$@"; s=$?; ls -A "$0"; exit $s' \
            "$BATS_TEST_TMPDIR/small" "$BATS_TEST_TMPDIR/small" \
            bulla --cacert "$REGISTRY_CA" save "$REF" -o "$BATS_TEST_TMPDIR/small/x"
        expect 3 'No space left'
        [[ $(wc -l <<< "$output") == 1 ]]
        run offline bulla save "$REF" -o "$BATS_TEST_TMPDIR/y"
        expect 3 "what the registry says now"
    fi
    # Nothing half-done stays anywhere.
    [[ $(find "$BATS_TEST_TMPDIR" -maxdepth 1 -type f | sort | xargs -n 1 basename | tr '\n' ' ') == "x.bundle x.bundle.first " ]]
}

@test "other programs read it as an OCI archive" {
    run skopeo inspect "oci-archive:$BUNDLE"
    expect 0
    [[ $(jq -r .Digest <<< "$output") == $(jq -r '.manifests[0].digest' "$BATS_FILE_TMPDIR/open/index.json") ]]
    skopeo copy -q "oci-archive:$BUNDLE" "oci:$BATS_TEST_TMPDIR/copy:x"
    run bulla push "oci-archive:$BUNDLE" "$REGISTRY_HOST/acme/other:v1"
    expect 0 '^pushed'
}

@test "every part changed: manifest, config, layer, metadata" {
    other_machine
    mkdir -p "$BULLA_HOME"
    for file in $(cd "$BATS_FILE_TMPDIR/open" && find blobs bulla/tuf -type f); do
        # What an earlier one left of good metadata would stand in for the bad.
        rm -rf "$OPEN" "$BULLA_HOME"
        mkdir -p "$BULLA_HOME"
        unpack
        flip_byte "$OPEN/$file"
        again "$BATS_TEST_TMPDIR/bad"
        # The anchor's own root is in the chain for others; it is not asked for.
        [[ $file != bulla/tuf/1.root.json ]] || continue
        untouched 1 '^bulla: ' "$BATS_TEST_TMPDIR/bad"
    done
    # index.json and oci-layout are for other programs, and say what is true all the same.
    for change in '.manifests[0].digest |= sub("[0-9a-f]$"; "x")' '.manifests += .manifests' '.manifests = []' \
        '.manifests[0].annotations = {}' '.manifests[0].digest |= (.[0:-8] + "00000000")'; do
        rm -rf "$OPEN"
        unpack
        jq -c "$change" "$BATS_FILE_TMPDIR/open/index.json" > "$OPEN/index.json"
        again "$BATS_TEST_TMPDIR/bad"
        untouched 1 'index.json|the signed one is' "$BATS_TEST_TMPDIR/bad"
    done
}

@test "bundle.json: other names, other collection, other shapes" {
    other_machine
    mkdir -p "$BULLA_HOME"
    note=$BATS_FILE_TMPDIR/open/bulla/bundle.json
    while IFS=' ' read -r status change; do
        rm -rf "$OPEN"
        unpack
        jq "$change" "$note" > "$OPEN/bulla/bundle.json"
        name=$(jq -r 'if type == "object" then "\(.host)/\(.repository):\(.tag)" else "x" end' "$OPEN/bulla/bundle.json")
        jq -c --arg name "$name" '.manifests[0].annotations[] = $name' "$BATS_FILE_TMPDIR/open/index.json" \
            > "$OPEN/index.json"
        again "$BATS_TEST_TMPDIR/bad"
        untouched "$status" 'bundle|anchor|collection|not signed' "$BATS_TEST_TMPDIR/bad"
    done << 'END'
1 .collection="acme/other"
1 .repository="acme/other"
1 .repository="acme/other"|.collection="acme/other"
3 .host="registry.example.com"
3 .tag="v2"
1 .version=2
1 .version="1"
1 del(.host)
1 del(.tag)
1 .digest="sha256:00"
1 .more=1
1 .host="../../etc"
1 .repository="../x"
1 .repository="ACME"
1 .tag="v1@sha256:00"
1 .tag=""
1 .collection="../../x"
1 [.]
END
}

@test "archive: entries twice, elsewhere, of other kinds, in another order, and too many" {
    other_machine
    mkdir -p "$BULLA_HOME"
    unpack
    bad=$BATS_TEST_TMPDIR/bad
    for file in bulla/bundle.json index.json oci-layout bulla/tuf/timestamp.json $(cd "$OPEN" && find blobs -type f | head -n 1); do
        cp "$BUNDLE" "$bad"
        tar -C "$OPEN" -rf "$bad" "$file"
        untouched 1 'twice|stands behind' "$bad"
        # Before all others.
        tar -C "$OPEN" --no-recursion -cf "$bad" "$file" "$file"
        untouched 1 'twice|regular file|no .bulla/bundle.json' "$bad"
    done
    mkdir -p "$OPEN/bulla/x" "$OPEN/extra"
    for name in extra/file bulla/x/file bulla/tuf/../../../x bulla/tuf/01.root.json bulla/tuf/x.json \
        bulla/tuf/1.root.txt ./index.json /index.json blobs/sha256/xyz blobs/md5/00; do
        echo 1 > "$OPEN/one"
        tar -C "$OPEN" -Pcf "$bad" --transform="s,^one\$,$name," one
        tar -C "$OPEN" --no-recursion -rf "$bad" -T <(tar -tf "$BUNDLE")
        untouched 1 'belong|climbs|written as|malformed|path|twice|leaves|invalid|absolute' "$bad"
    done
    # A link where a file must be.
    ln -s /etc/passwd "$OPEN/link"
    tar -C "$OPEN" -cf "$bad" --transform='s,^link$,oci-layout,' link
    untouched 1 'regular file' "$bad"
    # Blobs that nobody signed.
    echo more > "$OPEN/more"
    cp "$BUNDLE" "$bad"
    tar -C "$OPEN" -rf "$bad" --transform="s,^more\$,blobs/sha256/$(sha256sum < "$OPEN/more" | cut -c 1-64)," more
    untouched 1 'not part of the signed image' "$bad"
    # The blobs first.
    tar -C "$OPEN" --no-recursion -cf "$bad" -T <(tar -tf "$BUNDLE" | tac)
    untouched 1 'no .bulla/bundle.json' "$bad"
}

@test "cut off anywhere, or no bundle at all" {
    other_machine
    mkdir -p "$BULLA_HOME"
    size=$(stat -c %s "$BUNDLE")
    for step in $(seq 0 23); do
        head -c $((step * (size - 2048) / 24)) "$BUNDLE" > "$BATS_TEST_TMPDIR/cut"
        untouched 1 'bundle|tar|cut' "$BATS_TEST_TMPDIR/cut"
    done
    for file in /bin/sh /etc/passwd; do
        untouched 1 "$file" "$file"
    done
    untouched 2 'not a regular file' /dev/null
    run bulla verify "$BATS_TEST_TMPDIR/none"
    expect 2 'neither a file nor a reference'
    run bulla load "$BATS_TEST_TMPDIR/none"
    expect 3 'No such file'
    run bulla load
    expect 2 'usage: bulla load'
    run bulla verify --tofu "$BUNDLE"
    expect 2 'tofu'
    if ((EUID == 0)); then
        install -m 600 "$BUNDLE" "$BATS_TEST_TMPDIR/mine"
        chmod 755 "$BATS_TEST_TMPDIR" "$BATS_FILE_TMPDIR"
        run setpriv --reuid 65534 --regid 65534 --clear-groups bulla --home "$BATS_TEST_TMPDIR/n" verify "$BATS_TEST_TMPDIR/mine"
        expect 3 'Permission denied'
    fi
}

@test "policy decides as online: deny, tags, no anchor" {
    other_machine
    mkdir -p "$BULLA_HOME"
    other_policy 'tags: {allow: ["w*"]}'
    untouched 1 'tag' "$BUNDLE"
    other_policy 'signedBy: ["releases"]'
    untouched 1 'releases' "$BUNDLE"
    echo '{ "version": 1 }' > "$BULLA_POLICY"
    untouched 3 'no trust anchor' "$BUNDLE"
}

@test "another repository's metadata, and a pin" {
    make_image app:o other > /dev/null
    bulla push store:app:o "$REGISTRY_HOST/acme/second:v1" > /dev/null
    bulla trust init "$REGISTRY_HOST/acme/second" --root-key root --targets-key targets > /dev/null
    bulla sign "$REGISTRY_HOST/acme/second:v1" --key targets > /dev/null
    bulla save "$REGISTRY_HOST/acme/second:v1" -o "$BATS_TEST_TMPDIR/second"
    # A pin is an anchor, too.
    cp -r "$BULLA_HOME" "$BATS_TEST_TMPDIR/pinned"
    rm -rf "$BATS_TEST_TMPDIR/pinned/images" "$BATS_TEST_TMPDIR/pinned/trust/state"
    BULLA_HOME=$BATS_TEST_TMPDIR/pinned run command bulla load "$BATS_TEST_TMPDIR/second"
    expect 0 '^loaded'
    other_machine
    mkdir -p "$BULLA_HOME"
    unpack
    rm -r "$OPEN/bulla/tuf"
    tar -xf "$BATS_TEST_TMPDIR/second" -C "$OPEN" bulla/tuf
    (cd "$OPEN" && tar -cf "$BATS_TEST_TMPDIR/bad" oci-layout index.json bulla/bundle.json bulla/tuf/* blobs/*/*)
    untouched 1 'signature|collection' "$BATS_TEST_TMPDIR/bad"
}

@test "a ban and a delegated role travel with the bundle" {
    bulla key generate team > /dev/null
    bulla trust delegate "$REGISTRY_HOST/acme/app" releases --role-key team --tags 'r*' --key targets > /dev/null
    make_image app:r1 released > /dev/null
    bulla push store:app:r1 "$REGISTRY_HOST/acme/app:r1" > /dev/null
    bulla sign "$REGISTRY_HOST/acme/app:r1" --role releases --key team > /dev/null
    bulla save "$REGISTRY_HOST/acme/app:r1" -o "$BATS_TEST_TMPDIR/r1"
    bulla save "$REGISTRY_HOST/acme/app:v1" -o "$BATS_TEST_TMPDIR/v1"
    other_machine
    other_policy 'signedBy: ["releases"]'
    run command bulla load "$BATS_TEST_TMPDIR/r1"
    expect 0 '^loaded'
    other_policy ''
    # The older bundle is a mirror that stands still: what is known counts, and covers v1 all the same.
    run command bulla verify "$BUNDLE"
    expect 0 'older than what this machine knows'
    grep -q cached <<< "$output"
}
