# OCI distribution-spec 1.1.1, category "Push", blobs, as each kind of caller, over TLS.

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

# both FUNCTION: with each algorithm
both() {
    local check=$1
    each_algorithm() {
        for ALGORITHM in sha256 sha512; do
            "$check"
        done
    }
    each_caller each_algorithm
}

random() { # BYTES: leaves ./blob and DIGEST
    head -c "$1" /dev/urandom > blob
    DIGEST=$(sum "$ALGORITHM" blob)
}

# created: the last answer is 201 with a Location that can be pulled.
created() {
    want 201
    [[ $(header location) == "/v2/$REPO/blobs/$DIGEST" && $(header docker-content-digest) == "$DIGEST" ]]
    blob_served blob "$ALGORITHM"
}

# chunk METHOD URL FILE FIRST LAST
chunk() {
    request "$1" "$2" "${OCTETS[@]}" -H "Content-Range: $4-$5" \
        --data-binary "@$3"
}

cut_blob() { # FIRST LAST FILE
    tail -c "+$(($1 + 1))" blob | head -c $(($2 - $1 + 1)) > "$3"
}

post_only() {
    random 512
    request POST "/v2/$REPO/blobs/uploads/?digest=$DIGEST" "${OCTETS[@]}" --data-binary @blob
    created
    # Again: it is there, which is no error.
    request POST "/v2/$REPO/blobs/uploads/?digest=$DIGEST" "${OCTETS[@]}" --data-binary @blob
    created
    # The digest as browsers and Go escape it, a body of unknown length, no slash at the end.
    random 512
    request POST "/v2/$REPO/blobs/uploads/?digest=${DIGEST/:/%3A}" -H 'Transfer-Encoding: chunked' --data-binary @blob
    created
    random 512
    request POST "/v2/$REPO/blobs/uploads?digest=$DIGEST" --data-binary @blob
    created
}
@test "POST with a digest and everything (end-4b)" { both post_only; }

post_put() {
    random 512
    begin
    request PUT "$LOCATION?digest=$DIGEST" "${OCTETS[@]}" --data-binary @blob
    created
    # The session is over.
    request GET "$LOCATION"
    want 404
    [[ $(error_code) == BLOB_UPLOAD_UNKNOWN ]]
    request PUT "$LOCATION?digest=$DIGEST" "${OCTETS[@]}" --data-binary @blob
    want 404
}
@test "POST, then PUT with everything (end-4a, end-6)" { both post_put; }

stream() {
    random 3000
    begin
    request PATCH "$LOCATION" "${OCTETS[@]}" --data-binary @blob
    want 202
    [[ $(header range) == 0-2999 && $(header location) == "$LOCATION" ]]
    request PUT "$LOCATION?digest=$DIGEST"
    created
    # Several PATCHes without ranges, of unknown length, follow each other; the last bytes are in the PUT.
    random 3000
    begin
    cut_blob 0 999 a
    cut_blob 1000 1999 b
    cut_blob 2000 2999 c
    request PATCH "$LOCATION" -H 'Transfer-Encoding: chunked' --data-binary @a
    want 202
    request PATCH "$LOCATION" -H 'Transfer-Encoding: chunked' --data-binary @b
    want 202
    [[ $(header range) == 0-1999 ]]
    request PUT "$LOCATION?digest=$DIGEST" --data-binary @c
    created
}
@test "PATCH without a range is a stream" { both stream; }

chunks() {
    local old
    random 1500
    cut_blob 0 499 a
    cut_blob 500 999 b
    cut_blob 1000 1499 c
    begin
    old=$LOCATION
    # The first chunk begins at 0.
    chunk PATCH "$LOCATION" b 500 999
    want 416
    request GET "$LOCATION"
    want 204
    chunk PATCH "$LOCATION" a 0 499
    want 202
    [[ $(header range) == 0-499 ]]
    LOCATION=$(header location)
    # Once more, at the new URL and at the old one.
    chunk PATCH "$LOCATION" a 0 499
    want 416
    [[ $(header range) == 0-499 && -n $(header location) ]]
    [[ $(error_code) == BLOB_UPLOAD_INVALID && $(jq '.errors[0].detail.next' body) == 500 ]]
    chunk PATCH "$old" a 0 499
    want 416
    # A hole, and an overlap.
    chunk PATCH "$LOCATION" c 1000 1499
    want 416
    chunk PATCH "$LOCATION" b 499 998
    want 416
    # Every URL that was handed out says where it stands.
    for url in "$old" "$LOCATION"; do
        request GET "$url"
        want 204
        [[ $(header range) == 0-499 && -n $(header location) ]]
    done
    LOCATION=$(header location)
    chunk PATCH "$LOCATION" b 500 999
    want 202
    # Out of order in the closing PUT as well, and the session survives.
    chunk PUT "$LOCATION?digest=$DIGEST" a 0 499
    want 416
    request GET "$LOCATION"
    want 204
    [[ $(header range) == 0-999 ]]
    if [[ $1 == put ]]; then
        chunk PUT "$LOCATION?digest=$DIGEST" c 1000 1499
    else
        chunk PATCH "$LOCATION" c 1000 1499
        want 202
        request PUT "$LOCATION?digest=$DIGEST"
    fi
    created
}
chunks_patch() { chunks patch; }
chunks_put() { chunks put; }
@test "chunks: only in order, and a refused one leaves the session usable (end-5, end-13)" { both chunks_patch; }
@test "chunks: the last one in the PUT" { both chunks_put; }

one_chunk() {
    random 512
    begin
    chunk PATCH "$LOCATION" blob 0 511
    want 202
    request PUT "$LOCATION?digest=$DIGEST"
    created
    # Chunks of one byte: there is no smallest size.
    printf 'abc' > blob
    DIGEST=$(sum "$ALGORITHM" blob)
    begin
    [[ -z $(header oci-chunk-min-length) ]]
    for i in 0 1 2; do
        cut_blob "$i" "$i" a
        chunk PATCH "$LOCATION" a "$i" "$i"
        want 202
        [[ $(header range) == "0-$i" ]]
    done
    request PUT "$LOCATION?digest=$DIGEST"
    created
}
@test "one chunk for all, and chunks of one byte" { both one_chunk; }

chunk_lies() {
    ALGORITHM=sha256
    random 100
    begin
    # Longer or shorter than it says, by Content-Length or not.
    chunk PATCH "$LOCATION" blob 0 98
    want 400
    [[ $(error_code) == SIZE_INVALID ]]
    chunk PATCH "$LOCATION" blob 0 100
    want 400
    request GET "$LOCATION"
    [[ $(header range) == 0-0 ]]
    request PATCH "$LOCATION" -H 'Content-Range: 0-49' -H 'Transfer-Encoding: chunked' --data-binary @blob
    want 400
    request PUT "$LOCATION?digest=$DIGEST" -H 'Content-Range: 0-199' -H 'Transfer-Encoding: chunked' --data-binary @blob
    want 400 416
    for bad in x 0 -1 5-4 0- 0-99/ 'bytes=0-99' '0-99999999999999999999'; do
        request PATCH "$LOCATION" -H "Content-Range: $bad" --data-binary @blob
        want 400 416
    done
    # Nothing of this is in the blob that the session becomes.
    request GET "$LOCATION"
    want 204
    local have=$(($(header range | sed 's/0-//') + 1))
    if [[ $have == 1 ]]; then have=0; fi
    cut_blob "$have" 99 rest
    request PUT "$LOCATION?digest=$DIGEST" --data-binary @rest
    created
}
@test "a chunk that is not as long as it says is 400" { each_caller chunk_lies; }

cancel() {
    random 100
    begin
    request PATCH "$LOCATION" --data-binary @blob
    want 202
    request DELETE "$LOCATION" -H 'Content-Length: 0'
    want 204
    for method in GET PATCH PUT DELETE; do
        request "$method" "$LOCATION?digest=$DIGEST"
        want 404
    done
    request HEAD "/v2/$REPO/blobs/$DIGEST"
    want 404
    # An empty session, too.
    begin
    request DELETE "$LOCATION"
    want 204
}
@test "DELETE ends an upload (end-14)" { both cancel; }

mount() {
    random 512
    upload blob "$ALGORITHM" "$OTHER"
    request POST "/v2/$REPO/blobs/uploads/?mount=$DIGEST&from=${OTHER/\//%2F}"
    created
    # Where it is already.
    request POST "/v2/$REPO/blobs/uploads/?mount=$DIGEST&from=$REPO"
    created
    # Without a source, from where it is not, from nowhere, from what is no name: a session instead.
    for query in "" "&from=$REPO/none" "&from=$OTHER" "&from=..%2F.." "&from="; do
        random 512
        request POST "/v2/$REPO/blobs/uploads/?mount=$DIGEST$query"
        want 202
        LOCATION=$(header location)
        request PUT "$LOCATION?digest=$DIGEST" --data-binary @blob
        created
    done
    # Elsewhere only: without a source it is a session still.
    random 512
    upload blob "$ALGORITHM" "$OTHER"
    request POST "/v2/$REPO/blobs/uploads/?mount=$DIGEST"
    want 202
    request DELETE "$(header location)"
    want 204
    request HEAD "/v2/$REPO/blobs/$DIGEST"
    want 404
}
@test "mounts: from a repository, without one, and where it is not (end-11)" { both mount; }

well_known() {
    : > blob
    DIGEST=$(sum "$ALGORITHM" blob)
    request POST "/v2/$REPO/blobs/uploads/?digest=$DIGEST" "${OCTETS[@]}" -H 'Content-Length: 0'
    created
    begin
    request PUT "$LOCATION?digest=$DIGEST" -H 'Content-Length: 0'
    created
    begin
    request PATCH "$LOCATION" -H 'Content-Length: 0'
    want 202
    request PUT "$LOCATION?digest=$DIGEST"
    created
    printf '{}' > blob
    DIGEST=$(sum "$ALGORITHM" blob)
    begin
    request PUT "$LOCATION?digest=$DIGEST" --data-binary @blob
    created
}
@test "the empty blob and {}" { both well_known; }

wrong_digest() {
    random 1500
    echo 'oh no' >> blob
    local code=DIGEST_INVALID
    request POST "/v2/$REPO/blobs/uploads/?digest=$DIGEST" --data-binary @blob
    want 400
    [[ $(error_code) == "$code" ]]
    [[ $(jq -r '.errors[0].detail.expected' body) == "$DIGEST" ]]
    begin
    request PUT "$LOCATION?digest=$DIGEST" --data-binary @blob
    want 400
    [[ $(error_code) == "$code" ]]
    begin
    request PATCH "$LOCATION" --data-binary @blob
    want 202
    request PUT "$LOCATION?digest=$DIGEST"
    want 400
    begin
    cut_blob 0 999 a
    cut_blob 1000 1505 b
    chunk PATCH "$LOCATION" a 0 999
    want 202
    chunk PUT "$LOCATION?digest=$DIGEST" b 1000 1505
    want 400
    # The right bytes under the other algorithm's name.
    request POST "/v2/$REPO/blobs/uploads/?digest=sha256:$(sha512sum < blob | cut -c -64)" --data-binary @blob
    want 400
    request HEAD "/v2/$REPO/blobs/$DIGEST"
    want 404
    request HEAD "/v2/$REPO/blobs/$(sum "$ALGORITHM" blob)"
    want 404
}
@test "bytes that do not have the promised digest are 400 and are not kept" { both wrong_digest; }

malformed_digest() {
    ALGORITHM=sha256
    random 10
    begin
    for bad in '' sha256 sha256: sha256:xyz "$DIGEST"0 "${DIGEST%?}" "${DIGEST/sha256/SHA256}" "${DIGEST/:/-}" "sha256%3A..%2F..%2Fx" \
        "md5:$(md5sum < blob | cut -c -32)" "sha384:$(sha384sum < blob | cut -c -96)" "sha512:${DIGEST#*:}" "$DIGEST%00" \
        "$DIGEST&digest=$DIGEST" "$DIGEST&digest=$MISSING" "sha256:$(sha256sum < blob | cut -c -64 | tr a-f A-F)"; do
        [[ $bad == "$DIGEST" ]] && continue
        request PUT "$LOCATION?digest=$bad" --data-binary @blob
        want 400
        [[ $(error_code) == DIGEST_INVALID ]]
        [[ $bad == '' ]] && continue
        request POST "/v2/$REPO/blobs/uploads/?digest=$bad" --data-binary @blob
        want 400
    done
    request PUT "$LOCATION" --data-binary @blob
    want 400
    request PUT "$LOCATION?digest=$DIGEST" --data-binary @blob
    created
}
@test "a malformed, unknown or repeated digest is 400, and the session survives" { each_caller malformed_digest; }

@test "one POST after another on one connection, refused ones between" {
    ALGORITHM=sha256 CALLER=anonymous REPO=anonymous/alive
    random 100
    url="https://$REGISTRY_HOST/v2/$REPO/blobs/uploads/?digest="
    run curl -sS --cacert "$REGISTRY_CA" -w '%{http_code} %{num_connects}\n' -o /dev/null --data-binary @blob "$url$MISSING" \
        --next -sS --cacert "$REGISTRY_CA" -w '%{http_code} %{num_connects}\n' -o /dev/null --data-binary @blob "${url}sha256:bad" \
        --next -sS --cacert "$REGISTRY_CA" -w '%{http_code} %{num_connects}\n' -o /dev/null --data-binary @blob "$url$DIGEST"
    [[ $output == $'400 1\n400 0\n201 0' ]]
}

@test "nothing of a refused upload is left" {
    [[ -z $(find "$REGISTRY_DIR/data/uploads" -name '????????????????????????????????' -size +0) ]]
}
