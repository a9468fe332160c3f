# OCI distribution-spec 1.1.1, category "Pull", as each kind of caller, over TLS.

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
}

base() {
    request GET /v2/
    # Who may do something without credentials still learns here that there are some.
    if [[ $CALLER == anonymous ]]; then want 401; else want 200; fi
    [[ $(header docker-distribution-api-version) == registry/2.0 ]]
}
@test "the base endpoint answers, with the API's version (end-1)" { each_caller base; }

absent() {
    request HEAD "/v2/$REPO/manifests/$MISSING"
    want 404
    request GET "/v2/$REPO/manifests/$MISSING"
    want 404
    [[ $(error_code) == MANIFEST_UNKNOWN && $(jq -r '.errors[0].detail.digest' body) == "$MISSING" ]]
    request GET "/v2/$REPO/manifests/missing"
    want 404
    [[ $(error_code) == MANIFEST_UNKNOWN && $(jq -r '.errors[0].detail.tag' body) == missing ]]
    request HEAD "/v2/$REPO/manifests/missing"
    want 404
    request GET "/v2/$REPO/blobs/$MISSING"
    want 404
    [[ $(error_code) == BLOB_UNKNOWN && $(jq -r '.errors[0].detail.digest' body) == "$MISSING" ]]
    request HEAD "/v2/$REPO/blobs/$MISSING"
    want 404
    request HEAD "/v2/$REPO/blobs/sha512:$(printf '%0128d' 0)"
    want 404
    # The same in a repository that exists.
    echo x > x
    upload x
    request GET "/v2/$REPO/blobs/$MISSING"
    want 404
    request GET "/v2/$REPO/manifests/$MISSING"
    want 404
    # A blob is no manifest.
    request GET "/v2/$REPO/manifests/$(sum sha256 x)"
    want 404
}
@test "what is not there is 404, by HEAD and GET (end-2, end-3)" { each_caller absent; }

manifests() {
    make_image
    put_manifest manifest v1
    want 201
    served manifest v1
    served manifest "$(sum sha256 manifest)"
    served manifest "sha256%3A$(sha256sum < manifest | cut -c -64)"
    # A request body where none belongs changes nothing.
    request GET "/v2/$REPO/manifests/v1" --data-binary x
    want 200 400
    request GET "/v2/$REPO/manifests/sha256:totallywrong" --data-binary x
    want 400 404
}
@test "a manifest by tag and by digest, GET and HEAD, as it was sent (end-3)" { each_caller manifests; }

accept() {
    local accept
    make_image
    put_manifest manifest v1
    want 201
    for accept in "$MANIFEST" '*/*' "$INDEX" "application/vnd.docker.distribution.manifest.v2+json, $MANIFEST;q=0.5" \
        text/html 'nonsense;;,,' "$(head -c 3000 /dev/zero | tr '\0' a)" ''; do
        request GET "/v2/$REPO/manifests/v1" -H "Accept: $accept"
        want 200
        cmp manifest body
        [[ $(header content-type) == "$MANIFEST" ]]
    done
}
@test "any Accept gets the manifest that is there" { each_caller accept; }

blobs() {
    local algorithm
    head -c 3000 /dev/urandom > blob
    for algorithm in sha256 sha512; do
        upload blob "$algorithm"
        blob_served blob "$algorithm"
        [[ $(header content-type) == application/octet-stream ]]
    done
    # Seen through another repository it is not there.
    request GET "/v2/$OTHER/blobs/$(sum sha256 blob)"
    want 404
}
@test "a blob by its digest, GET and HEAD (end-2)" { each_caller blobs; }

ranges() {
    local digest
    head -c 2048 /dev/urandom > blob
    digest=$(upload blob)
    part() { # RANGE FIRST LAST
        request GET "/v2/$REPO/blobs/$digest" -H "Range: bytes=$1"
        want 206
        [[ $(header content-range) == "bytes $2-$3/2048" ]]
        [[ $(header content-length) == $(($3 - $2 + 1)) ]]
        cmp body <(tail -c "+$(($2 + 1))" blob | head -c $(($3 - $2 + 1)))
    }
    part 500-1499 500 1499
    part 500- 500 2047
    part -500 1548 2047
    part 2000-5000 2000 2047
    part 0-0 0 0
    part -5000 0 2047
    part 2047- 2047 2047
    local bad
    for bad in 500-0 5000-10000 2048- -0 0-1,3-4 x-y -; do
        request GET "/v2/$REPO/blobs/$digest" -H "Range: bytes=$bad"
        want 416
        [[ $(header content-range) == 'bytes */2048' ]]
    done
    request GET "/v2/$REPO/blobs/$digest" -H 'Range: lines=1-2'
    want 200
    cmp blob body
}
@test "ranges are exact, beyond the end and reversed is 416" { each_caller ranges; }

conditions() {
    local digest path
    make_image
    put_manifest manifest v1
    want 201
    for path in "manifests/v1" "manifests/$(sum sha256 manifest)" "blobs/$(sum sha256 layer1)"; do
        request GET "/v2/$REPO/$path"
        want 200
        digest=$(header docker-content-digest)
        [[ $(header etag) == "\"$digest\"" ]]
        for tag in "\"$digest\"" "$digest" "W/\"$digest\"" '*' "\"other\", \"$digest\""; do
            for method in GET HEAD; do
                request "$method" "/v2/$REPO/$path" -H "If-None-Match: $tag"
                want 304
                [[ $(header etag) == "\"$digest\"" && $(header docker-content-digest) == "$digest" ]]
            done
            [[ ! -s body ]]
        done
        request GET "/v2/$REPO/$path" -H "If-None-Match: \"$MISSING\""
        want 200
    done
    digest=$(sum sha256 layer1)
    request GET "/v2/$REPO/blobs/$digest" -H 'Range: bytes=0-9' -H "If-Range: \"$digest\""
    want 206
    request GET "/v2/$REPO/blobs/$digest" -H 'Range: bytes=0-9' -H "If-Range: \"$MISSING\""
    want 200
    cmp layer1 body
}
@test "who has it already is told so: ETag, If-None-Match, If-Range" { each_caller conditions; }

@test "a 304 and a 416 leave the connection usable" {
    CALLER=anonymous REPO=anonymous/alive
    echo x > x
    digest=$(upload x)
    url="https://$REGISTRY_HOST/v2/$REPO/blobs/$digest"
    run curl -sS --cacert "$REGISTRY_CA" -w '%{http_code} %{num_connects}\n' -o /dev/null -H "If-None-Match: \"$digest\"" "$url" \
        --next -sS --cacert "$REGISTRY_CA" -w '%{http_code} %{num_connects}\n' -o /dev/null -H 'Range: bytes=9-' "$url" \
        --next -sS --cacert "$REGISTRY_CA" -w '%{http_code} %{num_connects}\n' -o /dev/null "$url"
    [[ $output == $'304 1\n416 0\n200 0' ]]
}

bad_digests() {
    local digest hex
    hex=$(printf '%064d' 0)
    for digest in sha256:totallywrong "sha256:${hex:1}" "sha256:${hex}0" "SHA256:$hex" "sha256:${hex//0/A}" "md5:${hex:32}" \
        "sha256-$hex" "sha384:$hex$(printf '%032d' 0)" "sha512:$hex" sha256: ":$hex" "sha256:..%2f..%2f$hex" "sha256+b64:$hex"; do
        request GET "/v2/$REPO/blobs/$digest"
        want 400 404
        [[ $STATUS == 404 || $(error_code) == DIGEST_INVALID ]]
        request HEAD "/v2/$REPO/blobs/$digest"
        want 400 404
        request GET "/v2/$REPO/manifests/$digest"
        want 400 404
        request GET "/v2/$REPO/referrers/$digest"
        want 400
    done
}
@test "a malformed digest is 400 or 404, never 500" { each_caller bad_digests; }

@test "errors have the specification's form, codes and details" {
    CALLER=basic REPO=basic/errors
    codes=' BLOB_UNKNOWN BLOB_UPLOAD_INVALID BLOB_UPLOAD_UNKNOWN DIGEST_INVALID MANIFEST_BLOB_UNKNOWN MANIFEST_INVALID
        MANIFEST_UNKNOWN NAME_INVALID NAME_UNKNOWN SIZE_INVALID UNAUTHORIZED DENIED UNSUPPORTED TOOMANYREQUESTS '
    check() {
        [[ $(header content-type) == application/json ]]
        jq -e '.errors | type == "array" and length > 0 and all(.code and .message)' body
        [[ $codes == *" $(error_code) "* ]]
        [[ $(header docker-distribution-api-version) == registry/2.0 ]]
    }
    for path in /v2/nothing /v2/a/tags/list "/v2/$REPO/tags/list" "/v2/$REPO/tags/list?n=x" "/v2/$REPO/blobs/x" \
        "/v2/$REPO/blobs/uploads/x" "/v2/$REPO/manifests/%2e%2e" "/v2/$REPO/blobs/$MISSING" "/v2/$REPO/_trust/tuf/x.json" \
        /v2/A/tags/list "/v2/$REPO/manifests/v1" "/v2/$REPO/referrers/x" /v1/ /; do
        request GET "$path"
        [[ $STATUS == 4* ]]
        check
    done
    for method in PATCH POST; do
        request "$method" "/v2/$REPO/manifests/v1" --data-binary x
        want 405
        check
    done
    CALLER=anonymous
    request GET "/v2/$REPO/tags/list"
    want 401
    check
}
