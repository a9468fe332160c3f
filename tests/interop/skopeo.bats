#!/usr/bin/env bats
# skopeo and podman, which others wrote, and Bulla: what one pushes the other reads, byte for byte.
load ../support/bulla

setup_file() {
    bulla_setup_file
    # A folder with the CA alone: skopeo takes a key beside it for a client certificate's.
    mkdir "$BATS_FILE_TMPDIR/certs"
    cp "$REGISTRY_CA" "$BATS_FILE_TMPDIR/certs/ca.crt"
}
teardown_file() { bulla_teardown_file; }
setup() {
    bulla_setup
    CERTS=$BATS_FILE_TMPDIR/certs
    W=$BATS_TEST_TMPDIR
    HERE=acme/s$BATS_TEST_NUMBER
    DEST=$REGISTRY_HOST/$HERE
}

copy_in() {
    skopeo copy -q --preserve-digests --authfile "$REGISTRY_AUTH_FILE" --dest-cert-dir "$CERTS" "$@"
}

copy_out() {
    skopeo copy -q --preserve-digests --authfile "$REGISTRY_AUTH_FILE" --src-cert-dir "$CERTS" "$@"
}

inspect() {
    skopeo inspect --authfile "$REGISTRY_AUTH_FILE" --cert-dir "$CERTS" "$@"
}

# add_blob LAYOUT FILE: moves it to its place and prints the descriptor's digest and size, as JSON members.
add_blob() {
    local hex
    hex=$(sha256sum < "$2" | cut -d ' ' -f 1)
    printf '"digest":"sha256:%s","size":%s' "$hex" "$(stat -c %s "$2")"
    mv "$2" "$1/blobs/sha256/$hex"
}

# add_image LAYOUT none|gzip|zstd ARCHITECTURE TEXT: two layers, a config and a manifest; prints the descriptor.
add_image() {
    local dir=$W/make.$RANDOM type=application/vnd.oci.image media suffix='' layer layers=() ids=()
    mkdir -p "$1/blobs/sha256" "$dir/1/bin" "$dir/2"
    cp "$(command -v busybox)" "$dir/1/bin/busybox"
    ln -s busybox "$dir/1/bin/cat"
    echo "$4" > "$dir/2/text"
    [[ $2 == none ]] || suffix=+$2
    for layer in 1 2; do
        tar -C "$dir/$layer" --owner=0 --group=0 --numeric-owner --sort=name -cf "$dir/$layer.tar" .
        ids+=("$(digest_of "$dir/$layer.tar")")
        case $2 in
            gzip) gzip -n "$dir/$layer.tar" && mv "$dir/$layer.tar.gz" "$dir/$layer.tar" ;;
            zstd) zstd -q --rm "$dir/$layer.tar" -o "$dir/$layer.zst" && mv "$dir/$layer.zst" "$dir/$layer.tar" ;;
        esac
        layers+=("{\"mediaType\":\"$type.layer.v1.tar$suffix\",$(add_blob "$1" "$dir/$layer.tar")}")
    done
    jq -cn --arg arch "$3" '{created:"2020-01-01T00:00:00Z",architecture:$arch,os:"linux",
        config:{Cmd:["/bin/cat","/text"]},rootfs:{type:"layers",diff_ids:$ARGS.positional}}' \
        --args "${ids[@]}" > "$dir/config"
    printf '{"schemaVersion":2,"mediaType":"%s","config":{"mediaType":"%s",%s},"layers":[%s,%s]}' \
        "$type.manifest.v1+json" "$type.config.v1+json" "$(add_blob "$1" "$dir/config")" "${layers[@]}" > "$dir/manifest"
    printf '{"mediaType":"%s",%s,"platform":{"architecture":"%s","os":"linux"}}' \
        "$type.manifest.v1+json" "$(add_blob "$1" "$dir/manifest")" "$3"
    rm -r "$dir"
}

close_layout() { # LAYOUT DESCRIPTOR: it gets the tag x
    echo '{"imageLayoutVersion":"1.0.0"}' > "$1/oci-layout"
    jq -c '{schemaVersion:2,manifests:[. + {annotations:{"org.opencontainers.image.ref.name":"x"}}]}' \
        <<< "$2" > "$1/index.json"
}

make_layout() { # LAYOUT none|gzip|zstd TEXT: sets DIGEST
    local descriptor
    descriptor=$(add_image "$1" "$2" amd64 "$3")
    close_layout "$1" "$descriptor"
    DIGEST=$(jq -r .digest <<< "$descriptor")
}

# The registry's manifest of REFERENCE is the file, byte for byte.
same_manifest() { # TAG-OR-DIGEST FILE
    cmp <(registry_curl -H 'Accept: */*' "/v2/$HERE/manifests/$1") "$2"
}

round_trip() { # none|gzip|zstd
    make_layout "$W/image" "$1" text
    copy_in "oci:$W/image:x" "docker://$DEST:v1"
    same_manifest v1 "$W/image/blobs/sha256/${DIGEST#sha256:}"
    same_manifest "$DIGEST" "$W/image/blobs/sha256/${DIGEST#sha256:}"
    copy_out --dest-oci-accept-uncompressed-layers "docker://$DEST:v1" "oci:$W/back:x"
    diff -r "$W/image/blobs" "$W/back/blobs"
    copy_out --dest-oci-accept-uncompressed-layers "docker://$DEST@$DIGEST" "oci:$W/back2:x"
    diff -r "$W/image/blobs" "$W/back2/blobs"
}

@test "gzip layers, in and out" { round_trip gzip; }
@test "uncompressed layers, in and out" { round_trip none; }
@test "zstd layers, in and out" { round_trip zstd; }

# Each layer is a POST, a PATCH and a PUT in quick succession, some on connections of their own.
@test "many small layers, several at a time" {
    local i
    make_layout "$W/image" gzip text
    umoci unpack --rootless --image "$W/image:x" "$W/bundle"
    for ((i = 0; i < 40; i++)); do
        echo "$i" > "$W/bundle/rootfs/$i"
        umoci repack --refresh-bundle --image "$W/image:x" "$W/bundle"
    done > /dev/null 2>&1
    DIGEST=$(jq -r '.manifests[0].digest' "$W/image/index.json")
    copy_in "oci:$W/image:x" "docker://$DEST:v1"
    same_manifest v1 "$W/image/blobs/sha256/${DIGEST#sha256:}"
    [[ $(inspect "docker://$DEST:v1" | jq '.Layers | length') == 42 ]]
}

@test "Docker schema 2, in and out" {
    make_layout "$W/image" gzip text
    skopeo copy -q --authfile "$REGISTRY_AUTH_FILE" --dest-cert-dir "$CERTS" --format v2s2 \
        "oci:$W/image:x" "docker://$DEST:v1"
    copy_out "docker://$DEST:v1" "dir:$W/back"
    [[ $(jq -r .mediaType "$W/back/manifest.json") == application/vnd.docker.distribution.manifest.v2+json ]]
    same_manifest v1 "$W/back/manifest.json"
    copy_in "dir:$W/back" "docker://$DEST:v2"
    same_manifest v2 "$W/back/manifest.json"
    # The same layers as before, under other names of their types.
    [[ $(jq -c '[.layers[].digest]' "$W/back/manifest.json") == \
        "$(jq -c '[.layers[].digest]' "$W/image/blobs/sha256/${DIGEST#sha256:}")" ]]
}

@test "an index of two architectures with --all; one of them by its own" {
    local one two index
    one=$(add_image "$W/image" gzip amd64 one)
    two=$(add_image "$W/image" gzip arm64 two)
    printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[%s,%s]}' \
        "$one" "$two" > "$W/index"
    index=$(digest_of "$W/index")
    cp "$W/index" "$W/kept"
    close_layout "$W/image" "{\"mediaType\":\"application/vnd.oci.image.index.v1+json\",$(add_blob "$W/image" "$W/index")}"
    copy_in --all "oci:$W/image:x" "docker://$DEST:v1"
    same_manifest v1 "$W/kept"
    copy_out --all "docker://$DEST:v1" "oci:$W/back:x"
    diff -r "$W/image/blobs" "$W/back/blobs"
    [[ $(inspect --raw "docker://$DEST@$index" | sha256sum | cut -d ' ' -f 1) == "${index#sha256:}" ]]
    skopeo --override-arch arm64 copy -q --authfile "$REGISTRY_AUTH_FILE" --src-cert-dir "$CERTS" \
        "docker://$DEST:v1" "oci:$W/arm:x"
    [[ $(jq -r '.manifests[0].digest' "$W/arm/index.json") == "$(jq -r .digest <<< "$two")" ]]
    copy_out "docker://$DEST@$(jq -r .digest <<< "$two")" "oci:$W/alone:x"
}

@test "inspect, list-tags, delete" {
    make_layout "$W/image" gzip text
    copy_in "oci:$W/image:x" "docker://$DEST:v1"
    copy_in "oci:$W/image:x" "docker://$DEST:v2"
    make_layout "$W/other" gzip other
    copy_in "oci:$W/other:x" "docker://$DEST:v3"
    run inspect "docker://$DEST:v1"
    expect 0
    [[ $(jq -r '.Digest, (.RepoTags | join(" ")), .Architecture, (.Layers | length)' <<< "$output" | paste -sd' ') == \
        "$(jq -r .manifests[0].digest "$W/image/index.json") v1 v2 v3 amd64 2" ]]
    run inspect --config "docker://$DEST:v1"
    expect 0
    [[ $(jq -c .config.Cmd <<< "$output") == '["/bin/cat","/text"]' ]]
    run skopeo list-tags --authfile "$REGISTRY_AUTH_FILE" --cert-dir "$CERTS" "docker://$DEST"
    expect 0
    [[ $(jq -c .Tags <<< "$output") == '["v1","v2","v3"]' ]]
    # skopeo deletes by digest: both tags go, the other image stays.
    skopeo delete --authfile "$REGISTRY_AUTH_FILE" --cert-dir "$CERTS" "docker://$DEST:v1"
    run skopeo list-tags --authfile "$REGISTRY_AUTH_FILE" --cert-dir "$CERTS" "docker://$DEST"
    [[ $(jq -c .Tags <<< "$output") == '["v3"]' ]]
    run inspect "docker://$DEST:v1"
    expect 1 "manifest unknown|not found"
    run inspect "docker://$DEST:v3"
    expect 0
}

@test "without the right, skopeo is told so" {
    make_layout "$W/image" gzip text
    copy_in "oci:$W/image:x" "docker://$DEST:v1"
    registry_user reader
    registry_grant reader 'acme/*' pull
    export REGISTRY_AUTH_FILE=$W/reader.json
    skopeo login --authfile "$REGISTRY_AUTH_FILE" --cert-dir "$CERTS" -u reader --password-stdin "$REGISTRY_HOST" \
        <<< "reader-password"
    run inspect "docker://$DEST:v1"
    expect 0
    run copy_in "oci:$W/image:x" "docker://$DEST:v2"
    expect 1 "denied"
    run skopeo delete --authfile "$REGISTRY_AUTH_FILE" --cert-dir "$CERTS" "docker://$DEST:v1"
    expect 1 "denied|401|403"
    # What skopeo's login wrote is good for bulla, too.
    run bulla verify "$REF"
    expect 0
    run skopeo login --authfile "$W/none.json" --cert-dir "$CERTS" -u reader --password-stdin "$REGISTRY_HOST" <<< wrong
    expect 1 "invalid username/password"
}

@test "archives that skopeo wrote are pushed by bulla" {
    local source
    make_layout "$W/image" gzip text
    skopeo copy -q "oci:$W/image:x" "oci-archive:$W/oci.tar:x"
    skopeo copy -q "oci:$W/image:x" "docker-archive:$W/docker.tar:acme/app:x"
    bulla push "oci-archive:$W/oci.tar" "$DEST:oci"
    same_manifest oci "$W/image/blobs/sha256/${DIGEST#sha256:}"
    bulla push "docker-archive:$W/docker.tar" "$DEST:docker"
    bulla push "oci:$W/image:x" "$DEST:layout"
    same_manifest layout "$W/image/blobs/sha256/${DIGEST#sha256:}"
    for source in oci docker layout; do
        run inspect --config "docker://$DEST:$source"
        expect 0
        [[ $(jq -c '[.config.Cmd, .rootfs]' <<< "$output") == \
            "$(skopeo inspect --config "oci:$W/image:x" | jq -c '[.config.Cmd, .rootfs]')" ]]
    done
}

@test "what skopeo pushed is signed with bulla sign REF@DIGEST, and runs" {
    need_root
    local kind
    bulla trust init "$DEST" --root-key root --targets-key targets > /dev/null
    bulla policy allow "$DEST" > /dev/null
    for kind in gzip none zstd; do
        make_layout "$W/$kind" "$kind" "text of $kind"
        copy_in "oci:$W/$kind:x" "docker://$DEST:$kind"
        run bulla run "$DEST:$kind"
        expect 125 "not signed"
        # This machine did not push it: the registry's word is not enough.
        run bulla sign "$DEST:$kind" --key targets
        expect 2 "has not pushed"
        run bulla sign "$DEST:$kind@$DIGEST" --key targets
        expect 0 "^signed"
        run bulla run "$DEST:$kind"
        expect 0 "^text of $kind$"
    done
    skopeo copy -q --authfile "$REGISTRY_AUTH_FILE" --dest-cert-dir "$CERTS" --format v2s2 \
        "oci:$W/gzip:x" "docker://$DEST:docker"
    bulla sign "$DEST:docker@$(inspect "docker://$DEST:docker" | jq -r .Digest)" --key targets
    run bulla run "$DEST:docker"
    expect 0 "^text of gzip$"
}

@test "a tag that skopeo moved after the signature is not what runs" {
    need_root
    publish moved before
    make_layout "$W/image" gzip after
    copy_in "oci:$W/image:x" "docker://$REGISTRY_HOST/acme/app:moved"
    run bulla run "$REGISTRY_HOST/acme/app:moved"
    expect 0 "^before$"
    [[ $(inspect "docker://$REGISTRY_HOST/acme/app:moved" | jq -r .Digest) == "$DIGEST" ]]
}

@test "what bulla pushed is pulled by skopeo and by podman" {
    local digest podman=(podman --root "$W/storage" --runroot "$W/run" --storage-driver vfs)
    digest=$(bulla verify "$REF" --json 2> /dev/null | jq -r .digest)
    copy_out "docker://$REF" "oci:$W/back:x"
    [[ $(jq -r '.manifests[0].digest' "$W/back/index.json") == "$digest" ]]
    skopeo copy -q "oci:$W/back:x" "docker-archive:$W/back.tar:app:x"
    type -P podman > /dev/null || skip "podman is not installed"
    need_root
    # Nothing of podman's stays outside this folder.
    printf '[engine]\nevents_logger = "none"\nlock_type = "file"\n' > "$W/podman.conf"
    for folder in static_dir tmp_dir volume_path image_copy_tmp_dir; do
        printf '%s = "%s"\n' "$folder" "$W/$folder" >> "$W/podman.conf"
        mkdir "$W/$folder"
    done
    export CONTAINERS_CONF=$W/podman.conf
    run --separate-stderr "${podman[@]}" pull -q --authfile "$REGISTRY_AUTH_FILE" --cert-dir "$CERTS" "$REF"
    expect 0
    [[ $("${podman[@]}" image inspect --format '{{.Digest}}' "$REF") == "$digest" ]]
    [[ $(cat "$("${podman[@]}" image mount "$REF")/text") == one ]]
    "${podman[@]}" image umount "$REF" > /dev/null
    # And back, by podman.
    "${podman[@]}" push -q --authfile "$REGISTRY_AUTH_FILE" --cert-dir "$CERTS" "$REF" "docker://$DEST:podman"
    [[ $(inspect --config "docker://$DEST:podman" | jq -c .rootfs) == "$(inspect --config "docker://$REF" | jq -c .rootfs)" ]]
}
