#!/usr/bin/env bats
# The very requests of clients that are not at hand here, replayed: docker's and containerd's push and pull, oras's
# attach, cosign's tags; each with Basic, and as they do it, with a token fetched by the challenge.

setup_file() {
    load ../support/conformance
    conformance_setup_file
    registry_grant tester 'library/*' pull,push,delete
}

teardown_file() {
    load ../support/conformance
    conformance_teardown_file
}

setup() {
    load ../support/conformance
    conformance_setup
    DOCKER=application/vnd.docker
    DOCKER_MANIFEST=$DOCKER.distribution.manifest.v2+json
    DOCKER_LIST=$DOCKER.distribution.manifest.list.v2+json
}

# As docker and containerd send them.
DOCKER_ACCEPT=(-H 'User-Agent: docker/24.0.5 go/go1.20.6 git-commit/a61e2b4 kernel/6.1.0 os/linux arch/amd64 UpstreamClient(Docker-Client/24.0.5 \(linux\))'
    -H 'Accept: application/vnd.docker.distribution.manifest.v2+json'
    -H 'Accept: application/vnd.docker.distribution.manifest.list.v2+json'
    -H 'Accept: application/vnd.oci.image.index.v1+json' -H 'Accept: application/vnd.oci.image.manifest.v1+json'
    -H 'Accept: application/vnd.docker.distribution.manifest.v1+prettyjws' -H 'Accept: application/json')

# docker_layer FILE: HEAD, POST, one PATCH of unknown length, PUT, HEAD
docker_layer() {
    local digest
    digest=$(sum sha256 "$1")
    request HEAD "/v2/$REPO/blobs/$digest"
    want 404
    request POST "/v2/$REPO/blobs/uploads/" -H 'Content-Length: 0' -H 'Content-Type:' -H 'Accept-Encoding: gzip'
    want 202
    [[ -n $(header docker-upload-uuid) && $(header range) == 0-0 ]]
    LOCATION=$(header location)
    request PATCH "$LOCATION" -H 'Transfer-Encoding: chunked' -H 'Expect:' -H 'Content-Type:' --data-binary "@$1"
    want 202
    [[ $(header docker-upload-uuid) == "${LOCATION##*/}" && $(header range) == "0-$(($(size "$1") - 1))" ]]
    request PUT "$(header location)?digest=${digest/:/%3A}" -H 'Content-Length: 0' -H 'Content-Type: application/octet-stream'
    want 201
    [[ $(header docker-content-digest) == "$digest" && $(header content-length) == 0 ]]
    request HEAD "/v2/$REPO/blobs/$digest"
    want 200
    [[ $(header content-length) == "$(size "$1")" ]]
}

docker_push() {
    head -c 5000 /dev/urandom > layer
    printf '{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]},"config":{},"x":%s}' "$RANDOM" > config
    docker_layer layer
    docker_layer config
    printf '{\n   "schemaVersion": 2,\n   "mediaType": "%s",\n   "config": %s,\n   "layers": [\n      %s\n   ]\n}' "$DOCKER_MANIFEST" \
        "$(descriptor $DOCKER.container.image.v1+json config)" "$(descriptor $DOCKER.image.rootfs.diff.tar.gzip layer)" > manifest
    request HEAD "/v2/$REPO/manifests/latest" "${DOCKER_ACCEPT[@]}"
    want 404
    put_manifest manifest latest "$DOCKER_MANIFEST"
    want 201
    [[ $(header docker-content-digest) == "$(sum sha256 manifest)" ]]
}

docker_pull() {
    # By tag with HEAD first, then by digest, then what it names.
    request HEAD "/v2/$REPO/manifests/latest" "${DOCKER_ACCEPT[@]}"
    want 200
    [[ $(header content-type) == "$DOCKER_MANIFEST" && $(header content-length) == "$(size manifest)" ]]
    request GET "/v2/$REPO/manifests/$(header docker-content-digest)" "${DOCKER_ACCEPT[@]}"
    want 200
    cmp manifest body
    request GET "/v2/$REPO/blobs/$(jq -r .config.digest manifest)" -H 'Accept-Encoding: identity'
    want 200
    cmp config body
    request GET "/v2/$REPO/blobs/$(jq -r '.layers[0].digest' manifest)" -H 'Accept-Encoding: identity'
    want 200
    cmp layer body
    # The connection broke after 2000 bytes: the rest.
    head -c 2000 layer > part
    request GET "/v2/$REPO/blobs/$(jq -r '.layers[0].digest' manifest)" -H 'Range: bytes=2000-'
    want 206
    cat part body | cmp - layer
    # Unchanged since: what a daemon asks that polls a tag.
    request GET "/v2/$REPO/manifests/latest" "${DOCKER_ACCEPT[@]}" -H "If-None-Match: \"$(sum sha256 manifest)\""
    want 304
}

docker_session() {
    docker_push
    docker_pull
    # The second push of the same: everything is there.
    request HEAD "/v2/$REPO/blobs/$(sum sha256 layer)"
    want 200
    put_manifest manifest latest "$DOCKER_MANIFEST"
    want 201
    # The same image under another name: mounted.
    request POST "/v2/$OTHER/blobs/uploads/?from=${REPO/\//%2F}&mount=$(sum sha256 layer)" -H 'Content-Length: 0'
    want 201
    [[ $(header docker-content-digest) == "$(sum sha256 layer)" ]]
}
@test "docker: push, pull, again, elsewhere" { CALLERS='basic bearer anonymous' each_caller docker_session; }

manifest_list() {
    local entries=() arch
    for arch in amd64 arm64; do
        REPO=$REPO docker_push
        put_manifest manifest "$(sum sha256 manifest)" "$DOCKER_MANIFEST"
        want 201
        request DELETE "/v2/$REPO/manifests/latest"
        entries+=("$(descriptor "$DOCKER_MANIFEST" manifest sha256 ",\"platform\":{\"architecture\":\"$arch\",\"os\":\"linux\"}")")
    done
    printf '{"schemaVersion":2,"mediaType":"%s","manifests":[%s,%s]}' "$DOCKER_LIST" "${entries[@]}" > list
    put_manifest list latest "$DOCKER_LIST"
    want 201
    request GET "/v2/$REPO/manifests/latest" "${DOCKER_ACCEPT[@]}"
    want 200
    [[ $(header content-type) == "$DOCKER_LIST" ]]
    cmp list body
    request GET "/v2/$REPO/manifests/$(jq -r '.manifests[1].digest' list)" "${DOCKER_ACCEPT[@]}"
    want 200
    cmp manifest body
}
@test "docker manifest push: a list of platforms" { CALLERS='basic anonymous' each_caller manifest_list; }

containerd() {
    # PUT of everything at the session's URL, whose length is known; HEAD by tag with containerd's Accept.
    local accept=(-H "Accept: $MANIFEST, application/vnd.docker.distribution.manifest.v2+json, $INDEX, $DOCKER_LIST, */*")
    printf '{"architecture":"amd64","os":"linux"}' > config
    head -c 70000 /dev/urandom > layer
    local file
    for file in config layer; do
        request HEAD "/v2/$REPO/blobs/$(sum sha256 "$file")" -H 'Accept: application/octet-stream, */*'
        want 404
        request POST "/v2/$REPO/blobs/uploads/"
        want 202
        request PUT "$(header location)?digest=$(sum sha256 "$file" | sed 's/:/%3A/')" -H 'Content-Type: application/octet-stream' \
            -H 'Expect:' --data-binary "@$file"
        want 201
    done
    image_of "$(descriptor "$OCI.config.v1+json" config)" "$(descriptor "$OCI.layer.v1.tar+gzip" layer)" > manifest
    request HEAD "/v2/$REPO/manifests/v1" "${accept[@]}"
    want 404
    put_manifest manifest v1
    want 201
    # A pull through a mirror's name tells whose it is; nobody minds.
    request HEAD "/v2/$REPO/manifests/v1?ns=registry.example.com" "${accept[@]}"
    want 200
    request GET "/v2/$REPO/manifests/$(sum sha256 manifest)?ns=registry.example.com" "${accept[@]}"
    want 200
    cmp manifest body
    request GET "/v2/$REPO/blobs/$(sum sha256 layer)?ns=registry.example.com" -H 'Range: bytes=0-' -H 'Accept-Encoding: zstd;q=1.0, gzip;q=0.8'
    want 206
    cmp layer body
    [[ -z $(header content-encoding) ]]
    request GET "/v2/$REPO/referrers/$(sum sha256 manifest)?ns=registry.example.com"
    want 200
}
@test "containerd: PUT of everything, pull by ranges and with a mirror's name" { CALLERS='basic bearer' each_caller containerd; }

oras() {
    # An artifact of two files, then one attached to it; both found and pulled.
    echo hello > hello.txt
    printf '{}' > braces
    upload hello.txt > /dev/null
    upload braces > /dev/null
    image_of "$(descriptor "$EMPTY" braces sha256 ',"data":"e30="')" \
        "$(descriptor text/plain hello.txt sha256 ',"annotations":{"org.opencontainers.image.title":"hello.txt"}')" \
        ',"artifactType":"application/vnd.example.text","annotations":{"org.opencontainers.image.created":"2024-01-01T00:00:00Z"}' > subject
    put_manifest subject v1
    want 201
    image_of "$(descriptor "$EMPTY" braces sha256 ',"data":"e30="')" "$(descriptor "$EMPTY" braces sha256 ',"data":"e30="')" \
        ",\"artifactType\":\"application/vnd.example.sbom\",\"subject\":$(descriptor "$MANIFEST" subject)" > sbom
    put_manifest sbom "$(sum sha256 sbom)"
    want 201
    [[ $(header oci-subject) == "$(sum sha256 subject)" ]]
    request GET "/v2/$REPO/referrers/$(sum sha256 subject)?artifactType=application%2Fvnd.example.sbom"
    want 200
    [[ $(jq -r '.manifests[].digest' body) == "$(sum sha256 sbom)" ]]
    request GET "/v2/$REPO/manifests/$(jq -r '.manifests[0].digest' body)" -H "Accept: $MANIFEST"
    want 200
    cmp sbom body
}
@test "oras: push, attach, discover, pull" { CALLERS='basic bearer anonymous' each_caller oras; }

cosign() {
    make_image
    put_manifest manifest v1
    local tag
    tag=$(sum sha256 manifest | tr : -)
    # Is it signed already? Then the signature as an image, once more with another one added.
    request GET "/v2/$REPO/manifests/$tag.sig" -H "Accept: $MANIFEST"
    want 404
    printf '{"critical":{"image":{"docker-manifest-digest":"%s"}}}' "$(sum sha256 manifest)" > payload
    upload payload > /dev/null
    image_of "$(descriptor "$OCI.config.v1+json" config)" \
        "$(descriptor application/vnd.dev.cosign.simplesigning.v1+json payload sha256 ',"annotations":{"dev.cosignproject.cosign/signature":"MEUCIQ=="}')" > sig
    put_manifest sig "$tag.sig"
    want 201
    for kind in att sbom; do
        put_manifest sig "$tag.$kind"
        want 201
    done
    served sig "$tag.sig"
    request GET "/v2/$REPO/tags/list"
    [[ $(jq -r '.tags | length' body) == 4 ]]
}
@test "cosign: signatures under tags of the digest's name" { CALLERS='basic bearer' each_caller cosign; }

@test "docker login: the base endpoint, the challenge, the token" {
    CALLER=anonymous
    request GET /v2/ -H 'User-Agent: docker/24.0.5'
    want 401
    [[ $(header docker-distribution-api-version) == registry/2.0 ]]
    realm=$(header www-authenticate | sed -n 's/^Bearer realm="\([^"]*\)".*/\1/p')
    service=$(header www-authenticate | sed -n 's/.*service="\([^"]*\)".*/\1/p')
    [[ -n $realm && -n $service ]]
    run curl -sS --cacert "$REGISTRY_CA" -u tester:tester-password "$realm?account=tester&client_id=docker&offline_token=true&service=$service"
    token=$(jq -r .token <<< "$output")
    [[ -n $token && $(jq -r .access_token <<< "$output") == "$token" && $(jq .expires_in <<< "$output") -ge 60 ]]
    request GET /v2/ -H "Authorization: Bearer $token"
    want 200
    [[ $(curl -sS -o /dev/null -w '%{http_code}' --cacert "$REGISTRY_CA" -u tester:wrong "$realm?service=$service") == 401 ]]
}
