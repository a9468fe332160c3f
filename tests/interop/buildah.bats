#!/usr/bin/env bats
# buildah, which others wrote, and the registry: what is built from nothing is pushed, pulled and built upon.

setup_file() {
    load ../support/clients
    ((EUID == 0)) || skip "needs root"
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

buildah() {
    contained buildah "$@"
}

# build BASE TEXT NAME: BASE with a file more
build() {
    local container
    container=$(buildah from --cert-dir "$CERTS" -q "$1")
    echo "$2" > text
    buildah copy -q "$container" text "/$3" > /dev/null
    buildah config --label "$3=$2" --cmd "/$3" "$container"
    buildah commit -q --rm "$container" "$3" > /dev/null
}

@test "from scratch, pushed, and built upon elsewhere" {
    build scratch one first
    buildah push -q --cert-dir "$CERTS" --digestfile digest first "docker://$DEST:first"
    [[ $(inspect "docker://$DEST:first" | jq -r .Digest) == "$(< digest)" ]]
    [[ $(inspect --config "docker://$DEST:first" | jq -r .config.Labels.first) == one ]]
    buildah rmi -af > /dev/null
    # Its layer is here already: only what is new is sent.
    build "$DEST:first" two second
    buildah push -q --cert-dir "$CERTS" second "docker://$DEST:second"
    [[ $(inspect "docker://$DEST:second" | jq '.Layers | length') == 2 ]]
    [[ $(inspect "docker://$DEST:second" | jq '.Layers[0]') == "$(inspect "docker://$DEST:first" | jq '.Layers[0]')" ]]
    buildah rmi -af > /dev/null
    buildah pull -q --cert-dir "$CERTS" "$DEST:second"
    container=$(buildah from -q "$DEST:second")
    [[ $(cat "$(buildah mount "$container")/first") == one ]]
    [[ $(cat "$(buildah mount "$container")/second") == two ]]
    buildah umount "$container"
    buildah rm -a > /dev/null
}

@test "Docker's format and OCI's, uncompressed too" {
    build scratch data app
    for format in docker oci; do
        buildah push -q --cert-dir "$CERTS" --format "$format" app "docker://$DEST:$format"
        buildah push -q --cert-dir "$CERTS" --format "$format" --disable-compression app "docker://$DEST:$format-plain"
        copy_out "docker://$DEST:$format" "dir:$W/$format"
        copy_out "docker://$DEST:$format-plain" "dir:$W/$format-plain"
        same_manifest "$format" "$W/$format/manifest.json"
    done
    [[ $(jq -r .mediaType "$W/docker/manifest.json") == application/vnd.docker.distribution.manifest.v2+json ]]
    [[ $(jq -r .config.mediaType "$W/oci/manifest.json") == application/vnd.oci.image.config.v1+json ]]
}

@test "a list of platforms" {
    for arch in amd64 arm64; do
        container=$(buildah from -q scratch)
        echo "$arch" > text
        buildah copy -q "$container" text /text > /dev/null
        buildah config --arch "$arch" "$container"
        buildah commit -q --rm --manifest list "$container" > /dev/null
    done
    buildah manifest push -q --all --cert-dir "$CERTS" list "docker://$DEST:list"
    [[ $(inspect --raw "docker://$DEST:list" | jq -r '.manifests[].platform.architecture' | sort | paste -sd' ') == 'amd64 arm64' ]]
    buildah rmi -af > /dev/null
    buildah pull -q --arch arm64 --cert-dir "$CERTS" "$DEST:list"
    [[ $(buildah inspect --type image --format '{{.OCIv1.Architecture}}' "$DEST:list") == arm64 ]]
}

@test "what may not be pushed is said" {
    build scratch data app
    run buildah push -q --cert-dir "$CERTS" app "docker://$REGISTRY_HOST/other/app:v1"
    [[ $status != 0 && ($output == *denied* || $output == *Forbidden*) ]]
    run buildah pull -q --cert-dir "$CERTS" "$DEST:none"
    [[ $status != 0 && $output == *"manifest unknown"* ]]
}
