#!/usr/bin/env bats
# Images made by umoci, taken in and out by skopeo: layouts of several images, repacked ones, sync.

setup_file() {
    load ../support/clients
    clients_setup_file
}

teardown_file() {
    load ../support/clients
    registry_stop
}

setup() {
    load ../support/clients
    clients_setup
}

@test "a layout of several images, each under its tag" {
    local tag
    for tag in one two three; do umoci_image "$W/image:$tag" "text of $tag"; done
    for tag in one two three; do copy_in "oci:$W/image:$tag" "docker://$DEST:$tag"; done
    [[ $(skopeo list-tags --cert-dir "$CERTS" "docker://$DEST" | jq -r '.Tags | join(" ")') == 'one three two' ]]
    for tag in one two three; do copy_out "docker://$DEST:$tag" "oci:$W/back:$tag"; done
    umoci gc --layout "$W/image"
    diff -r "$W/image/blobs" "$W/back/blobs"
    umoci unpack --rootless --image "$W/back:two" "$W/bundle"
    [[ $(< "$W/bundle/rootfs/data/text") == 'text of two' ]]
}

@test "an image that is unpacked, changed and repacked keeps the layers it had" {
    umoci_image "$W/image:x" before
    copy_in "oci:$W/image:x" "docker://$DEST:before"
    umoci unpack --rootless --image "$W/image:x" "$W/bundle"
    echo after > "$W/bundle/rootfs/data/text"
    rm "$W/bundle/rootfs/bin/cat"
    umoci repack --image "$W/image:y" "$W/bundle"
    copy_in "oci:$W/image:y" "docker://$DEST:after"
    [[ $(inspect "docker://$DEST:after" | jq -c '.Layers[:2]') == "$(inspect "docker://$DEST:before" | jq -c .Layers)" ]]
    copy_out "docker://$DEST:after" "oci:$W/back:y"
    umoci unpack --rootless --image "$W/back:y" "$W/bundle2"
    [[ $(< "$W/bundle2/rootfs/data/text") == after && ! -e $W/bundle2/rootfs/bin/cat ]]
}

@test "skopeo sync: a repository out, and in again under another name" {
    umoci_image "$W/image:a" a
    umoci_image "$W/image:b" b
    copy_in "oci:$W/image:a" "docker://$DEST:a"
    copy_in "oci:$W/image:b" "docker://$DEST:b"
    skopeo sync --scoped --src docker --dest dir --src-cert-dir "$CERTS" "$DEST" "$W/mirror"
    [[ $(find "$W/mirror" -name manifest.json | wc -l) == 2 ]]
    skopeo sync --src dir --dest docker --dest-cert-dir "$CERTS" "$W/mirror/$REGISTRY_HOST/acme" "$REGISTRY_HOST/acme/copy" ||
        skopeo sync --src dir --dest docker --dest-cert-dir "$CERTS" "$W/mirror/$DEST" "$REGISTRY_HOST/acme/copy"
    registry_curl /v2/_catalog | jq -r '.repositories[]' | grep ^acme/copy/
    skopeo sync --src docker --dest docker --src-cert-dir "$CERTS" --dest-cert-dir "$CERTS" "$DEST" "$REGISTRY_HOST/acme/again"
    for tag in a b; do
        [[ $(inspect "docker://$REGISTRY_HOST/acme/again/t$BATS_TEST_NUMBER:$tag" | jq -r .Digest) == "$(inspect "docker://$DEST:$tag" | jq -r .Digest)" ]]
    done
}

@test "from one repository to another: mounted, not sent again" {
    umoci_image "$W/image:x" mounted
    copy_in "oci:$W/image:x" "docker://$DEST:v1"
    skopeo copy -q --src-cert-dir "$CERTS" --dest-cert-dir "$CERTS" "docker://$DEST:v1" "docker://$REGISTRY_HOST/acme/other:v1"
    # Its layers came by mount; only the configuration was sent.
    [[ $(grep -c 'POST /v2/acme/other/blobs/uploads/ 201' "$REGISTRY_DIR/log") == 2 ]]
    [[ $(grep -c 'PATCH /v2/acme/other/blobs/uploads/' "$REGISTRY_DIR/log") == 1 ]]
    [[ $(inspect "docker://$REGISTRY_HOST/acme/other:v1" | jq -r .Digest) == "$(inspect "docker://$DEST:v1" | jq -r .Digest)" ]]
}

@test "an image list with --all, and signatures under tags beside it" {
    local digest arch
    for arch in amd64 arm64; do
        umoci_image "$W/$arch:x" "for $arch" "$arch"
        copy_in "oci:$W/$arch:x" "docker://$DEST:$arch"
    done
    jq -cn --argjson a "$(jq -c '.manifests[0] | del(.annotations)' "$W/amd64/index.json")" \
        --argjson b "$(jq -c '.manifests[0] | del(.annotations)' "$W/arm64/index.json")" \
        '{schemaVersion: 2, mediaType: "application/vnd.oci.image.index.v1+json", manifests:
            [$a + {platform: {os: "linux", architecture: "amd64"}}, $b + {platform: {os: "linux", architecture: "arm64"}}]}' > index
    [[ $(registry_status -X PUT -H 'Content-Type: application/vnd.oci.image.index.v1+json' --data-binary @index "/v2/$HERE/manifests/list") == 201 ]]
    digest=$(digest_of index)
    # As cosign leaves them: an image of which each layer is a signature, under a tag of the digest's name.
    umoci_image "$W/sig:x" signature
    copy_in "oci:$W/sig:x" "docker://$DEST:${digest/:/-}.sig"
    copy_out --all "docker://$DEST:list" "oci:$W/back:list"
    [[ $(jq -r '.manifests[0].digest' "$W/back/index.json") == "$digest" ]]
    copy_out "docker://$DEST:${digest/:/-}.sig" "oci:$W/sigback:x"
    diff -r <(cd "$W/sigback/blobs/sha256" && ls) <(umoci gc --layout "$W/sig" > /dev/null; cd "$W/sig/blobs/sha256" && ls)
    skopeo copy -q --all --src-cert-dir "$CERTS" --dest-cert-dir "$CERTS" "docker://$DEST:list" "docker://$REGISTRY_HOST/acme/lists:v1"
    [[ $(inspect --raw "docker://$REGISTRY_HOST/acme/lists:v1" | sha256sum | cut -c -64) == "${digest#*:}" ]]
    # A list goes by its digest, and takes its tag along.
    skopeo delete --cert-dir "$CERTS" "docker://$DEST:list"
    run inspect "docker://$DEST:list"
    [[ $status != 0 ]]
    inspect "docker://$DEST:amd64"
}
