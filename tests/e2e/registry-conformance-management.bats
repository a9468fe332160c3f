# OCI distribution-spec 1.1.1, category "Content Management", as each kind of caller, over TLS.

bats_require_minimum_version 1.5.0

setup_file() {
    load ../support/conformance
    conformance_setup_file
}

teardown_file() {
    load ../support/conformance
    conformance_teardown_file
}

setup() {
    load ../support/conformance
    conformance_setup
    CALLERS='bearer anonymous'
}

# gone PATH…: by GET and HEAD, at once
gone() {
    local path
    for path in "$@"; do
        request GET "/v2/$REPO/$path"
        want 404
        request HEAD "/v2/$REPO/$path"
        want 404
    done
}

delete() {
    request DELETE "/v2/$REPO/$1"
    want 202
    gone "$1"
    request DELETE "/v2/$REPO/$1"
    want 404
}

tags() {
    request GET "/v2/$REPO/tags/list"
    want 200
    jq -r '.tags | join(" ")' body
}

delete_tags() {
    make_image
    put_manifest manifest v1
    put_manifest manifest v2
    delete manifests/v1
    [[ $(tags) == v2 ]]
    # The manifest, its other tag and its blobs stay.
    served manifest v2
    served manifest "$(sum sha256 manifest)"
    delete manifests/v2
    [[ $(tags) == '' ]]
    served manifest "$(sum sha256 manifest)"
    blob_served layer1
    # The name is free again.
    make_image
    put_manifest manifest v1
    want 201
    served manifest v1
}
@test "deleting a tag leaves the manifest (end-9)" { each_caller delete_tags; }

delete_manifests() {
    local algorithm digest
    for algorithm in sha256 sha512; do
        make_image amd64 "$algorithm"
        digest=$(sum "$algorithm" manifest)
        request PUT "/v2/$REPO/manifests/$digest?tag=a&tag=b" -H "Content-Type: $MANIFEST" --data-binary @manifest
        want 201
        delete "manifests/$digest"
        gone manifests/a manifests/b
        [[ $(tags) == '' ]]
        # Then its blobs.
        for file in config layer1 layer2; do
            blob_served "$file" "$algorithm"
            delete "blobs/$(sum "$algorithm" "$file")"
        done
        # All of it may come again.
        put_manifest manifest "$digest"
        want 400
        upload config "$algorithm" && upload layer1 "$algorithm" && upload layer2 "$algorithm"
        put_manifest manifest "$digest"
        want 201
        served manifest "$digest" "$MANIFEST" "$algorithm"
    done
}
@test "deleting a manifest takes its tags, then its blobs can go (end-9, end-10)" { each_caller delete_manifests; }

unknown() {
    for path in manifests/v1 "manifests/$MISSING" "blobs/$MISSING"; do
        request DELETE "/v2/$REPO/none/$path"
        want 404
    done
    echo x > x
    upload x
    for path in manifests/v1 "manifests/$MISSING" "blobs/$MISSING" "manifests/$(sum sha256 x)"; do
        request DELETE "/v2/$REPO/$path"
        want 404
    done
    for path in manifests/sha256:bad blobs/sha256:bad "blobs/md5:0123" manifests/..; do
        request DELETE "/v2/$REPO/$path"
        want 400 404
    done
    # A body where none belongs.
    request DELETE "/v2/$REPO/blobs/$(sum sha256 x)" --data-binary '{}'
    want 202
}
@test "deleting what is not there is 404" { each_caller unknown; }

blobs() {
    make_image
    put_manifest manifest v1
    # What a manifest needs stays, and the answer says which.
    request DELETE "/v2/$REPO/blobs/$(sum sha256 layer1)"
    want 403
    [[ $(error_code) == DENIED && $(jq -r '.errors[0].detail.manifest' body) == "$(sum sha256 manifest)" ]]
    blob_served layer1
    # The same blob elsewhere is another's.
    upload layer1 sha256 "$OTHER"
    request DELETE "/v2/$OTHER/blobs/$(sum sha256 layer1)"
    want 202
    REPO=$OTHER gone "blobs/$(sum sha256 layer1)"
    blob_served layer1
    # Mounted from there it is no more.
    request POST "/v2/$REPO/x/blobs/uploads/?mount=$(sum sha256 layer1)&from=$OTHER"
    want 202
    request DELETE "$(header location)"
    want 204
}
@test "blobs: not while a manifest needs them, and only here (end-10)" { each_caller blobs; }

indexes() {
    make_image
    put_manifest manifest child
    index_of "$(descriptor "$MANIFEST" manifest)" > index
    put_manifest index v1 "$INDEX"
    want 201
    delete "manifests/$(sum sha256 index)"
    gone manifests/v1
    served manifest child
    delete "manifests/$(sum sha256 manifest)"
    gone manifests/child
}
@test "an index goes without its children" { each_caller indexes; }

# Twenty indexes, each around the one before: nothing walks down them.
nested() {
    local i
    index_of '' > index
    put_manifest index v0 "$INDEX"
    for ((i = 1; i < 20; i++)); do
        index_of "$(descriptor "$INDEX" index)" > around
        mv around index
        put_manifest index "v$i" "$INDEX"
        want 201
    done
    served index "$(sum sha256 index)" "$INDEX"
    delete "manifests/$(sum sha256 index)"
    request HEAD "/v2/$REPO/manifests/v0"
    want 200
}
@test "deeply nested indexes cost nothing" { each_caller nested; }

rights() {
    registry_user reader
    registry_grant reader 'basic/*' pull,push
    CALLER=basic REPO=basic/rights
    make_image
    put_manifest manifest v1
    for path in manifests/v1 "manifests/$(sum sha256 manifest)" "blobs/$(sum sha256 layer1)"; do
        [[ $(curl -sS -o body -w '%{http_code}' --cacert "$REGISTRY_CA" -u reader:reader-password -X DELETE \
            "https://$REGISTRY_HOST/v2/$REPO/$path") == 403 ]]
        [[ $(error_code) == DENIED ]]
        [[ $(curl -sS -o body -w '%{http_code}' --cacert "$REGISTRY_CA" -X DELETE "https://$REGISTRY_HOST/v2/$REPO/$path") == 401 ]]
        [[ $(error_code) == UNAUTHORIZED ]]
    done
    served manifest v1
}
@test "who may push may not delete" { rights; }

# A manifest never names what a DELETE took away beside it.
@test "a manifest and the deletion of its blob at once: one of them wins" {
    CALLER=anonymous REPO=anonymous/race
    printf '{}' > braces
    upload braces
    base="https://$REGISTRY_HOST/v2/$REPO"
    for ((i = 0; i < 12; i++)); do
        echo "layer $i" > layer
        digest=$(upload layer)
        image_of "$(descriptor "$EMPTY" braces)" "$(descriptor text/plain layer)" > manifest
        curl -sS --cacert "$REGISTRY_CA" -Z -o put -w '%{http_code}\n' -X PUT -H "Content-Type: $MANIFEST" --data-binary @manifest \
            "$base/manifests/$(sum sha256 manifest)" \
            --next -sS --cacert "$REGISTRY_CA" -o deleted -w '%{http_code}\n' -X DELETE "$base/blobs/$digest" > codes
        request HEAD "/v2/$REPO/manifests/$(sum sha256 manifest)"
        kept=$STATUS
        request HEAD "/v2/$REPO/blobs/$digest"
        echo "$(sort codes | paste -sd' ') manifest $kept blob $STATUS" >> outcomes
    done
    sort outcomes | uniq -c
    run ! grep -vE '^(201 403 manifest 200 blob 200|202 400 manifest 404 blob 404)$' outcomes
}
