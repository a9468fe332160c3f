#!/usr/bin/env bats
# What import makes, read by other people's tools: skopeo looks at it, umoci unpacks it, and the tree is the one
# that was imported.
bats_require_minimum_version 1.5.0

setup_file() {
    ((EUID == 0)) || skip "other owners can be set by root only"
    command -v skopeo > /dev/null || skip "skopeo is not installed"
    command -v umoci > /dev/null || skip "umoci is not installed"
    local root=$BATS_FILE_TMPDIR/root
    mkdir -p "$root/bin" "$root/srv/deep/er" "$root/tmp"
    cp /bin/true "$root/bin/tool"
    ln "$root/bin/tool" "$root/bin/again"
    ln -s ../bin/tool "$root/srv/link"
    printf 'x' > "$root/srv/deep/er/$(printf 'n\303\244me')"
    printf 'long' > "$root/srv/$(printf 'l%.0s' {1..180})"
    chmod 4755 "$root/bin/tool"
    chmod 1777 "$root/tmp"
    chown -h 12:34 "$root/srv/link" "$root/srv/deep"
    chown 70000:70001 "$root/srv/deep/er"
    find "$root" -exec touch -h -d @1000000000 {} +
    list "$root" > "$BATS_FILE_TMPDIR/want"
}

list() { # FOLDER: every entry with its type, mode, owner, date, target, and its content's sum
    (cd "$1" && find . -printf '%P %y %m %U %G %T@ %l\n' && find . -type f -exec sha256sum {} +) | LC_ALL=C sort
}

# layout FOLDER: the store's blobs as an image layout with the image "x".
layout() {
    local images=$BATS_TEST_TMPDIR/home/images
    mkdir -p "$1"
    cp -r "$images/blobs" "$1/blobs"
    echo '{"imageLayoutVersion":"1.0.0"}' > "$1/oci-layout"
    jq '{schemaVersion: 2, manifests: [.["app:v1"] + {annotations: {"org.opencontainers.image.ref.name": "x"}}]}' \
        "$images/names.json" > "$1/index.json"
}

check_import() { # SOURCE COMPRESSION
    bulla --home "$BATS_TEST_TMPDIR/home" import "$1" app:v1 --compress "$2" --cmd '["/bin/tool"]' --user 12:34
    layout "$BATS_TEST_TMPDIR/layout"
    skopeo inspect --config "oci:$BATS_TEST_TMPDIR/layout:x" > "$BATS_TEST_TMPDIR/config"
    [[ $(jq -r .config.User "$BATS_TEST_TMPDIR/config") == 12:34 ]]
    umoci unpack --image "$BATS_TEST_TMPDIR/layout:x" "$BATS_TEST_TMPDIR/bundle"
    list "$BATS_TEST_TMPDIR/bundle/rootfs" > "$BATS_TEST_TMPDIR/got"
    diff "$BATS_FILE_TMPDIR/want" "$BATS_TEST_TMPDIR/got"
}

@test "umoci unpacks an imported folder to the same tree" {
    check_import "$BATS_FILE_TMPDIR/root" gzip
}

@test "umoci unpacks an uncompressed import to the same tree" {
    check_import "$BATS_FILE_TMPDIR/root" none
}

@test "umoci unpacks an imported tar file to the same tree" {
    tar -C "$BATS_FILE_TMPDIR/root" -cf "$BATS_TEST_TMPDIR/root.tar" .
    check_import "$BATS_TEST_TMPDIR/root.tar" gzip
}

@test "skopeo copies a zstd import and finds every digest right" {
    bulla --home "$BATS_TEST_TMPDIR/home" import "$BATS_FILE_TMPDIR/root" app:v1 --compress zstd
    layout "$BATS_TEST_TMPDIR/layout"
    skopeo copy -q "oci:$BATS_TEST_TMPDIR/layout:x" "oci-archive:$BATS_TEST_TMPDIR/copy.tar:x"
}
