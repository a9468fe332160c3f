# OCI distribution-spec 1.1.1, category "Push", manifests, as each kind of caller, over TLS.

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

# pushed FILE TYPE [ALGORITHM]: by digest and by tag, with all that the answer must say.
pushed() {
    local digest
    digest=$(sum "${3:-sha256}" "$1")
    put_manifest "$1" "$digest" "$2"
    want 201
    [[ $(header docker-content-digest) == "$digest" && $(header location) == "/v2/$REPO/manifests/$digest" ]]
    [[ $(header oci-subject) == "$(jq -r '.subject.digest // ""' "$1")" ]]
    served "$1" "$digest" "$2" "${3:-sha256}"
    put_manifest "$1" tagged "$2"
    want 201
    [[ $(header oci-subject) == "$(jq -r '.subject.digest // ""' "$1")" ]]
    request GET "$(header location)"
    want 200
    cmp "$1" body
    served "$1" tagged "$2"
}

images() {
    make_image
    pushed manifest "$MANIFEST"
    # No layers; layers that are not compressed; members that nobody knows, of every shape.
    image_of "$(descriptor "$OCI.config.v1+json" config)" '' > none
    pushed none "$MANIFEST"
    image_of "$(descriptor "$OCI.config.v1+json" config)" "$(descriptor "$OCI.layer.v1.tar" layer1)" > plain
    pushed plain "$MANIFEST"
    image_of "$(descriptor "$OCI.config.v1+json" config sha256 ',"org.example":{"x":[1,2.5,null,true]}')" '' \
        ',"org.example":"hello","nested":{"layers":[7],"e":1e3}' > custom
    pushed custom "$MANIFEST"
    # Blanks, order and escapes are the pusher's.
    { printf ' \n'; jq --indent 7 -S . manifest; printf '\n\n '; } > blanks
    pushed blanks "$MANIFEST"
    # Content-Type with a parameter, which is not kept; without mediaType in the body.
    sed 's/"mediaType":"[a-z.+/0-9]*",//' manifest > untyped
    [[ $(jq 'has("mediaType")' untyped) == false ]]
    put_manifest untyped v1 "$MANIFEST; charset=utf-8"
    want 201
    served untyped v1 "$MANIFEST"
}
@test "images: plain, without layers, with unknown members (end-7)" { each_caller images; }

indexes() {
    local entries=''
    for arch in amd64 arm64; do
        make_image "$arch"
        put_manifest manifest "$(sum sha256 manifest)"
        want 201
        entries+=",$(descriptor "$MANIFEST" manifest sha256 ",\"platform\":{\"os\":\"linux\",\"architecture\":\"$arch\"}")"
    done
    index_of "${entries#,}" > index
    pushed index "$INDEX"
    index_of "$(descriptor "$INDEX" index)" > nested
    pushed nested "$INDEX"
    index_of "$(descriptor "$INDEX" nested),$(descriptor "$INDEX" index)${entries}" ',"artifactType":"application/x"' > both
    pushed both "$INDEX"
    index_of '' > empty
    pushed empty "$INDEX"
}
@test "indexes: of platforms, nested, empty" { each_caller indexes; }

artifacts() {
    make_artifact application/vnd.example
    pushed artifact "$MANIFEST"
    # Layers of any type, one that is the config.
    echo data > data
    upload data > /dev/null
    image_of "$(descriptor application/vnd.example.config data)" "$(descriptor text/plain data)" > artifact
    pushed artifact "$MANIFEST"
    # With a subject that is here, and one that is not.
    make_image
    put_manifest manifest v1
    want 201
    make_artifact application/vnd.example ",\"subject\":$(descriptor "$MANIFEST" manifest)"
    pushed artifact "$MANIFEST"
    make_artifact application/vnd.example ",\"subject\":{\"mediaType\":\"$MANIFEST\",\"digest\":\"$MISSING\",\"size\":5}"
    pushed artifact "$MANIFEST"
    index_of '' ",\"artifactType\":\"application/vnd.example\",\"subject\":$(descriptor "$MANIFEST" manifest)" > index
    pushed index "$INDEX"
    make_artifact application/vnd.example ",\"subject\":{\"mediaType\":\"$MANIFEST\",\"digest\":\"sha512:$(printf '%0128d' 5)\",\"size\":5}"
    pushed artifact "$MANIFEST"
}
@test "artifacts, with and without a subject that is here" { each_caller artifacts; }

embedded() {
    local data
    printf '{}' > braces
    upload braces > /dev/null
    data=",\"data\":\"$(base64 -w 0 < braces)\""
    image_of "$(descriptor "$EMPTY" braces sha256 "$data")" "$(descriptor "$EMPTY" braces sha256 "$data")" > good
    pushed good "$MANIFEST"
    for bad in "$(printf '[]' | base64)" "$(printf '{} ' | base64)" 'e30' 'not base64!' ''; do
        image_of "$(descriptor "$EMPTY" braces sha256 ",\"data\":\"$bad\"")" '' > bad
        put_manifest bad bad
        want 400
        [[ $(error_code) == MANIFEST_INVALID ]]
    done
    request HEAD "/v2/$REPO/manifests/bad"
    want 404
}
@test "embedded data must be what its digest says" { each_caller embedded; }

foreign() {
    make_image
    local layers=() type
    for type in "$OCI.layer.nondistributable.v1.tar" "$OCI.layer.nondistributable.v1.tar+gzip" \
        "$OCI.layer.nondistributable.v1.tar+zstd" application/vnd.docker.image.rootfs.foreign.diff.tar.gzip; do
        layers+=("{\"mediaType\":\"$type\",\"digest\":\"sha256:$(printf '%064d' ${#layers[@]})\",\"size\":123456,\"urls\":[\"https://elsewhere.example/x\"]}")
    done
    image_of "$(descriptor "$OCI.config.v1+json" config)" \
        "$(IFS=,; echo "${layers[*]}"),$(descriptor "$OCI.layer.v1.tar" layer1)" > foreign
    pushed foreign "$MANIFEST"
    # urls alone do not excuse a layer that registries hold.
    image_of "$(descriptor "$OCI.config.v1+json" config)" \
        "{\"mediaType\":\"$OCI.layer.v1.tar\",\"digest\":\"$MISSING\",\"size\":5,\"urls\":[\"https://elsewhere.example/x\"]}" > bad
    put_manifest bad bad
    want 400
    [[ $(error_code) == MANIFEST_BLOB_UNKNOWN ]]
}
@test "layers that are not to be distributed need not be here" { each_caller foreign; }

sparse() {
    make_image
    local other
    other=sha256:$(printf '%064d' 505)
    image_of "{\"mediaType\":\"$OCI.config.v1+json\",\"digest\":\"$MISSING\",\"size\":7}" \
        "$(descriptor "$OCI.layer.v1.tar" layer1),{\"mediaType\":\"$OCI.layer.v1.tar\",\"digest\":\"$other\",\"size\":9}" > sparse
    put_manifest sparse sparse
    want 400
    # One entry for each, so that all can be pushed at once.
    [[ $(jq -c '[.errors[] | [.code, .detail.digest, .detail.size]]' body) == \
        "[[\"MANIFEST_BLOB_UNKNOWN\",\"$MISSING\",7],[\"MANIFEST_BLOB_UNKNOWN\",\"$other\",9]]" ]]
    index_of "$(descriptor "$MANIFEST" manifest)" > index
    put_manifest index index "$INDEX"
    want 400
    [[ $(error_code) == MANIFEST_BLOB_UNKNOWN ]]
    put_manifest manifest v1
    want 201
    put_manifest index index "$INDEX"
    want 201
    # In another repository it is still not there.
    REPO=$OTHER put_manifest manifest v1
    want 400
    # A size that is not its size.
    image_of "$(descriptor "$OCI.config.v1+json" config | sed 's/"size":[0-9]*/"size":1/')" '' > short
    put_manifest short short
    want 400
    [[ $(error_code) == MANIFEST_INVALID ]]
    request GET "/v2/$REPO/manifests/short"
    want 404
}
@test "a manifest whose content is not here is refused, with everything that is missing" { each_caller sparse; }

sha512_manifests() {
    local digest
    make_image amd64 sha512
    digest=$(sum sha512 manifest)
    put_manifest manifest "$digest"
    want 201
    [[ $(header docker-content-digest) == "$digest" ]]
    served manifest "$digest" "$MANIFEST" sha512
    index_of "$(descriptor "$MANIFEST" manifest sha512)" > index
    put_manifest index "$(sum sha512 index)" "$INDEX" && want 201
    served index "$(sum sha512 index)" "$INDEX" sha512
    # Its other name was never pushed.
    request HEAD "/v2/$REPO/manifests/$(sum sha256 manifest)"
    want 404
    # A name of the wrong kind for these bytes.
    put_manifest manifest "sha512:$(sha512sum < layer1 | cut -c -128)"
    want 400
    [[ $(error_code) == DIGEST_INVALID ]]
    put_manifest manifest "sha256:$(sha512sum < manifest | cut -c -64)"
    want 400
}
@test "manifests and indexes by sha512" { each_caller sha512_manifests; }

several_tags() {
    local algorithm digest tags
    for algorithm in sha256 sha512; do
        make_image amd64 "$algorithm"
        digest=$(sum "$algorithm" manifest)
        request PUT "/v2/$REPO/manifests/$digest?tag=$algorithm-a&x=y&tag=$algorithm%2Db&tag=1" -H "Content-Type: $MANIFEST" \
            --data-binary @manifest
        want 201
        [[ $(header oci-tag | paste -sd' ') == "$algorithm-a $algorithm-b 1" ]]
        for tag in "$algorithm-a" "$algorithm-b" 1; do
            served manifest "$tag" "$MANIFEST" "$algorithm"
        done
    done
    # The last push moved it.
    served manifest 1 "$MANIFEST" sha512
    # A bad one among good ones: none is set.
    for bad in .. 'a/b' '' "$(printf '%0129d' 1)" 'a%00' -x; do
        request PUT "/v2/$REPO/manifests/$digest?tag=new&tag=$bad" -H "Content-Type: $MANIFEST" --data-binary @manifest
        want 400
        request HEAD "/v2/$REPO/manifests/new"
        want 404
    done
    # Beside a tag it would be unclear which one is meant.
    request PUT "/v2/$REPO/manifests/x?tag=y" -H "Content-Type: $MANIFEST" --data-binary @manifest
    want 400
    tags=$(printf '&tag=t%s' {1..64})
    request PUT "/v2/$REPO/manifests/$digest?${tags#&}" -H "Content-Type: $MANIFEST" --data-binary @manifest
    want 201
    request PUT "/v2/$REPO/manifests/$digest?${tags#&}&tag=t65" -H "Content-Type: $MANIFEST" --data-binary @manifest
    want 414
}
@test "several tags in one push: OCI-Tag" { each_caller several_tags; }

# large BYTES: ./manifest has just as many
large() {
    image_of "$(descriptor "$OCI.config.v1+json" config)" "$(descriptor "$OCI.layer.v1.tar" layer1)" ',"annotations":{"a":"' > start
    { cat start; head -c $(($1 - $(size start) - 3)) /dev/zero | tr '\0' a; printf '"}}'; } > manifest
    [[ $(size manifest) == "$1" ]]
}

sizes() {
    make_image
    large 4194303
    pushed manifest "$MANIFEST"
    large 4194304
    pushed manifest "$MANIFEST"
    large 4194305
    put_manifest manifest v2
    want 413
    [[ $(error_code) == SIZE_INVALID && $(jq '.errors[0].detail.maximum' body) == 4194304 ]]
    put_manifest manifest v2 "$MANIFEST" -H 'Transfer-Encoding: chunked' -H 'Expect:'
    want 413
    request HEAD "/v2/$REPO/manifests/v2"
    want 404
}
@test "manifests of 4 MiB are taken, of one byte more they are 413" { each_caller sizes; }

bad_manifests() {
    make_image
    put_manifest manifest sha256:baddigeststring
    want 400
    put_manifest manifest "$MISSING"
    want 400
    [[ $(error_code) == DIGEST_INVALID && $(jq -r '.errors[0].detail.digest' body) == "$(sum sha256 manifest)" ]]
    printf '  ' >> manifest
    for tag in -x .x "$(printf '%0129d' 0)" 'a%2Fb' 'a%20b' 'a+b'; do
        put_manifest manifest "$tag"
        want 400
    done
    put_manifest manifest "$(printf '%0128d' 0)"
    want 201
}
@test "a manifest under a wrong digest or a bad tag is 400" { each_caller bad_manifests; }

conditions() {
    local digest
    make_image
    put_manifest manifest v1 "$MANIFEST" -H 'If-None-Match: *'
    want 201
    digest=$(sum sha256 manifest)
    printf ' ' >> manifest
    put_manifest manifest v1 "$MANIFEST" -H 'If-None-Match: *'
    want 412
    put_manifest manifest v1 "$MANIFEST" -H "If-Match: \"$MISSING\""
    want 412
    put_manifest manifest new "$MANIFEST" -H 'If-Match: *'
    want 412
    request GET "/v2/$REPO/manifests/v1"
    [[ $(header docker-content-digest) == "$digest" ]]
    put_manifest manifest v1 "$MANIFEST" -H "If-Match: \"$digest\""
    want 201
    served manifest v1
}
@test "a tag is moved only from where the caller knows it: If-Match" { each_caller conditions; }

other_types() {
    make_image
    local config subject
    config=$(descriptor "$OCI.config.v1+json" config)
    # Docker's, and lists of them.
    printf '{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json","config":%s,"layers":[%s]}' \
        "$(descriptor application/vnd.docker.container.image.v1+json config)" \
        "$(descriptor application/vnd.docker.image.rootfs.diff.tar.gzip layer1)" > docker
    pushed docker application/vnd.docker.distribution.manifest.v2+json
    printf '{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.list.v2+json","manifests":[%s]}' \
        "$(descriptor application/vnd.docker.distribution.manifest.v2+json docker)" > list
    pushed list application/vnd.docker.distribution.manifest.list.v2+json
    # A type that nobody knows here: kept as sent, with its subject and its blobs.
    put_manifest docker subject application/vnd.docker.distribution.manifest.v2+json
    subject=$(descriptor application/vnd.docker.distribution.manifest.v2+json docker)
    printf '{"mediaType":"application/vnd.oci.artifact.manifest.v1+json","artifactType":"application/x","blobs":[%s],"subject":%s}' \
        "$(descriptor text/plain layer2)" "$subject" > other
    pushed other application/vnd.oci.artifact.manifest.v1+json
    request GET "/v2/$REPO/referrers/$(sum sha256 docker)"
    [[ $(jq -r '.manifests[].digest' body) == "$(sum sha256 other)" ]]
    request DELETE "/v2/$REPO/blobs/$(sum sha256 layer2)"
    want 403
    # The type is in the body only.
    image_of "$config" '' > manifest
    for type in '' application/json application/octet-stream; do
        put_manifest manifest typed "$type"
        want 201
        served manifest typed
    done
    # Nowhere.
    echo '{"schemaVersion":2}' > untyped
    put_manifest untyped untyped ''
    want 400
    put_manifest untyped untyped text/html
    want 400
}
@test "Docker's manifests and unknown ones are served as they were sent" { each_caller other_types; }
