#!/usr/bin/env bats
# podman, which others wrote, and the registry: login, push and pull, lists of platforms, refusals.

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

podman() {
    contained podman "$@"
}

push() {
    podman push -q --cert-dir "$CERTS" "$@"
}

pull() {
    podman pull -q --cert-dir "$CERTS" "$@"
}

# load TEXT: an image made by umoci, in $W/image:x and here as localhost/app:x
load_image() {
    umoci_image "$W/image:x" "$1"
    skopeo copy -q "oci:$W/image:x" "oci-archive:$W/in.tar:localhost/app:x"
    podman load -q -i "$W/in.tar" > /dev/null
    rm "$W/in.tar"
}

@test "login with a right and with a wrong password, logout" {
    export REGISTRY_AUTH_FILE=$W/mine.json
    run podman login --cert-dir "$CERTS" -u dev --password-stdin "$REGISTRY_HOST" <<< dev-password
    [[ $status == 0 && $output == *"Login Succeeded"* ]]
    run podman login --cert-dir "$CERTS" -u dev --password-stdin "$REGISTRY_HOST" <<< wrong-password
    [[ $status != 0 && $output == *"invalid username/password"* ]]
    run podman login --cert-dir "$CERTS" -u nobody --password-stdin "$REGISTRY_HOST" <<< dev-password
    [[ $status != 0 && $output == *"invalid username/password"* ]]
    podman logout "$REGISTRY_HOST"
    [[ $(jq -c '.auths' "$REGISTRY_AUTH_FILE") == '{}' ]]
}

@test "an image goes in and comes out the same" {
    load_image hello
    push localhost/app:x "docker://$DEST:v1"
    same_content "docker://$DEST:v1" "oci:$W/image:x"
    podman rmi -af
    pull "$DEST:v1"
    digest=$(podman image inspect --format '{{.Digest}}' "$DEST:v1")
    [[ $digest == "$(inspect "docker://$DEST:v1" | jq -r .Digest)" ]]
    [[ $(cat "$(podman image mount "$DEST:v1")/data/text") == hello ]]
    podman image umount "$DEST:v1"
    # By digest, under another tag, a second time.
    podman rmi -af
    pull "$DEST@$digest"
    push "$DEST@$digest" "docker://$DEST:v2"
    push "$DEST@$digest" "docker://$DEST:v2"
    [[ $(skopeo list-tags --cert-dir "$CERTS" "docker://$DEST" | jq -r '.Tags | join(" ")') == 'v1 v2' ]]
    push "$DEST@$digest" "docker://$REGISTRY_HOST/acme/mounted:v1"
    same_content "docker://$REGISTRY_HOST/acme/mounted:v1" "oci:$W/image:x"
}

@test "Docker's format and OCI's, gzip and zstd" {
    load_image formats
    id=localhost/app:x
    push --format v2s2 "$id" "docker://$DEST:docker"
    push --format oci "$id" "docker://$DEST:oci"
    push --format oci --compression-format zstd "$id" "docker://$DEST:zstd"
    [[ $(inspect --raw "docker://$DEST:docker" | jq -r .mediaType) == application/vnd.docker.distribution.manifest.v2+json ]]
    [[ $(inspect --raw "docker://$DEST:oci" | jq -r '.layers[0].mediaType') == application/vnd.oci.image.layer.v1.tar+gzip ]]
    for tag in docker oci zstd; do
        podman rmi -af > /dev/null
        pull "$DEST:$tag"
        [[ $(cat "$(podman image mount "$DEST:$tag")/data/text") == formats ]]
        podman image umount "$DEST:$tag"
        same_content "docker://$DEST:$tag" "oci:$W/image:x"
    done
}

@test "a list of platforms" {
    umoci_image "$W/image:amd" "for amd64" amd64
    umoci_image "$W/image:arm" "for arm64" arm64
    podman manifest create list
    podman manifest add list "oci:$W/image:amd"
    podman manifest add list "oci:$W/image:arm"
    for format in v2s2 oci; do
        podman manifest push -q --cert-dir "$CERTS" --all --format "$format" list "docker://$DEST:$format"
        [[ $(inspect --raw "docker://$DEST:$format" | jq -r '.manifests[].platform.architecture' | sort | paste -sd' ') == 'amd64 arm64' ]]
        for arch in amd64 arm64; do
            podman rmi -f "$DEST:$format" > /dev/null 2>&1 || true
            pull --arch "$arch" "$DEST:$format"
            [[ $(podman image inspect --format '{{.Architecture}}' "$DEST:$format") == "$arch" ]]
            [[ $(cat "$(podman image mount "$DEST:$format")/data/text") == "for $arch" ]]
            podman image umount "$DEST:$format"
        done
    done
    [[ $(inspect --raw "docker://$DEST:oci" | jq -r .mediaType) == application/vnd.oci.image.index.v1+json ]]
}

@test "without credentials: what is public, and nothing else" {
    umoci_image "$W/image:x" public
    copy_in "oci:$W/image:x" "docker://$REGISTRY_HOST/acme/public/app:v1"
    copy_in "oci:$W/image:x" "docker://$DEST:v1"
    export REGISTRY_AUTH_FILE=$W/none.json
    echo '{}' > "$REGISTRY_AUTH_FILE"
    pull "$REGISTRY_HOST/acme/public/app:v1"
    run pull "$DEST:v1"
    [[ $status != 0 && ($output == *[Uu]nauthorized* || $output == *"authentication required"*) ]]
    run push "$REGISTRY_HOST/acme/public/app:v1" "docker://$REGISTRY_HOST/acme/public/app:v2"
    [[ $status != 0 ]]
    [[ $(registry_status /v2/acme/public/app/manifests/v2) == 404 ]]
}

@test "refusals are told in the registry's words" {
    load_image refused
    registry_user guest
    registry_grant guest 'acme/*' pull
    export REGISTRY_AUTH_FILE=$W/guest.json
    podman login --cert-dir "$CERTS" -u guest --password-stdin "$REGISTRY_HOST" <<< guest-password
    run push localhost/app:x "docker://$DEST:v1"
    [[ $status != 0 && ($output == *denied* || $output == *Forbidden*) ]]
    run pull "$DEST:missing"
    [[ $status != 0 && $output == *"manifest unknown"* ]]
    [[ $output == *"no such"* || $output == *missing* ]]
}
