# Blobs, uploads and manifests: the distribution-spec where registries fail it.

setup_file() {
    load ../support/registry
    registry_start "$BATS_FILE_TMPDIR/r"
}

teardown_file() {
    load ../support/registry
    registry_stop
}

setup() {
    load ../support/registry
    cd "$BATS_TEST_TMPDIR" || return
}

# header NAME < response headers
header() {
    sed -n "s/^$1: \(.*\)\r$/\1/Ip"
}

# new_upload REPOSITORY: its URL
new_upload() {
    registry_curl -o /dev/null -D - -X POST "/v2/$1/blobs/uploads/" | header location
}

# patch URL FILE [RANGE]: HTTP status
patch() {
    registry_status -X PATCH -H 'Content-Type: application/octet-stream' \
        ${3:+-H "Content-Range: $3"} --data-binary "@$2" "$1"
}

put() {
    registry_status -X PUT -H 'Content-Type: application/octet-stream' "$@"
}

put_manifest() { # FILE PATH [TYPE]
    registry_status -X PUT -H "Content-Type: ${3:-application/vnd.oci.image.manifest.v1+json}" --data-binary "@$1" "$2"
}

@test "monolithic: POST with a digest" {
    echo hello > f
    digest=$(digest_of f)
    run registry_curl -i -X POST --data-binary @f "/v2/b/mono/blobs/uploads/?digest=$digest"
    [[ $output == *" 201 "* && $output == *"Location: /v2/b/mono/blobs/$digest"* ]]
    registry_curl "/v2/b/mono/blobs/$digest" | cmp - f
    run registry_curl -I "/v2/b/mono/blobs/$digest"
    [[ $output == *" 200 "* && $output == *"Content-Length: 6"* ]]
    [[ $output == *"Docker-Content-Digest: $digest"* ]]
    [[ $(registry_status -X POST --data-binary @f "/v2/b/mono/blobs/uploads/?digest=${digest/sha256:?/sha256:0}") == 400 ]]
}

@test "POST, then PUT with everything" {
    echo data > f
    url=$(new_upload b/put)
    [[ $(put --data-binary @f "$url?digest=$(digest_of f)") == 201 ]]
    registry_curl "/v2/b/put/blobs/$(digest_of f)" | cmp - f
    [[ $(registry_status "$url") == 404 ]]
}

@test "chunks: in order only, the same chunk twice is 416, the session stays usable" {
    head -c 100000 /dev/urandom > all
    head -c 40000 all > one
    tail -c +40001 all | head -c 40000 > two
    tail -c +80001 all > three
    url=$(new_upload b/chunk)
    [[ $(patch "$url" two 40000-79999) == 416 ]]
    [[ $(patch "$url" one 0-39999) == 202 ]]
    [[ $(patch "$url" one 0-39999) == 416 ]]
    run registry_curl -i "$url"
    [[ $output == *" 204 "* && $output == *"Range: 0-39999"* && $output == *"Location: $url"* ]]
    [[ $(patch "$url" two 40000-79999) == 202 ]]
    [[ $(patch "$url" two 40000-79999) == 416 ]]
    [[ $(patch "$url" three 80000-80005) == 400 ]]
    [[ $(put -H 'Content-Range: 80000-99999' --data-binary @three "$url?digest=$(digest_of all)") == 201 ]]
    registry_curl "/v2/b/chunk/blobs/$(digest_of all)" | cmp - all
}

@test "PATCH without Content-Range is a stream, chunked transfer encoding too" {
    head -c 300000 /dev/urandom > f
    url=$(new_upload b/stream)
    [[ $(registry_status -X PATCH -H 'Transfer-Encoding: chunked' --data-binary @f "$url") == 202 ]]
    [[ $(put "$url?digest=$(digest_of f)") == 201 ]]
    registry_curl "/v2/b/stream/blobs/$(digest_of f)" | cmp - f
}

@test "cancel, status and unknown uploads" {
    url=$(new_upload b/cancel)
    echo x > f
    [[ $(patch "$url" f) == 202 ]]
    [[ $(registry_status -X DELETE "$url") == 204 ]]
    [[ $(registry_status "$url") == 404 ]]
    [[ $(patch "$url" f) == 404 ]]
    [[ $(registry_status -X DELETE "$url") == 404 ]]
    [[ -z $(ls "$REGISTRY_DIR/data/uploads") ]]
}

@test "an upload belongs to its repository and its user" {
    echo x > f
    url=$(new_upload b/mine)
    [[ $(patch "${url/mine/other}" f) == 404 ]]
    registry_user eve
    registry_grant eve '*' push
    admin_password=$REGISTRY_PASSWORD
    REGISTRY_USER=eve REGISTRY_PASSWORD=eve-password
    [[ $(patch "$url" f) == 404 ]]
    [[ $(registry_status -X DELETE "$url") == 404 ]]
    REGISTRY_USER=admin REGISTRY_PASSWORD=$admin_password
    [[ $(patch "$url" f) == 202 ]]
    [[ $(registry_status -X DELETE "$url") == 204 ]]
}

@test "two requests cannot write to one upload at once" {
    head -c 3000000 /dev/zero > slow
    url=$(new_upload b/busy)
    registry_curl -o first.out -w '%{http_code}' --limit-rate 1M -X PATCH --data-binary @slow "$url" > first &
    sleep 0.7
    echo x > f
    [[ $(patch "$url" f) == 409 ]]
    [[ $(put --data-binary @f "$url?digest=$(digest_of f)") == 409 ]]
    [[ $(registry_status "$url") == 409 ]]
    wait
    [[ $(< first) == 202 ]]
    [[ $(put "$url?digest=$(digest_of slow)") == 201 ]]
}

@test "a wrong digest in PUT is 400 and nothing becomes visible" {
    echo x > f
    echo y > g
    url=$(new_upload b/wrong)
    run registry_curl -X PUT --data-binary @f "$url?digest=$(digest_of g)"
    [[ $(jq -r '.errors[0].code' <<< "$output") == DIGEST_INVALID ]]
    [[ $(registry_status "/v2/b/wrong/blobs/$(digest_of g)") == 404 ]]
    [[ $(registry_status "/v2/b/wrong/blobs/$(digest_of f)") == 404 ]]
    [[ -z $(ls "$REGISTRY_DIR/data/uploads") ]]
    url=$(new_upload b/wrong)
    for bad in '' sha256:xyz md5:00112233445566778899aabbccddeeff "SHA256:$(sha256sum < f | cut -c -64)" \
        "$(digest_of f)&digest=$(digest_of g)" sha256%3A..%2F..%2Fx; do
        [[ $(put --data-binary @f "$url?digest=$bad") == 400 ]]
    done
    [[ $(put --data-binary @f "$url") == 400 ]]
    [[ $(put --data-binary @f "$url?digest=$(digest_of f)") == 201 ]]
}

@test "sha512 in every way of uploading, and never under another name" {
    head -c 50000 /dev/urandom > f
    digest=sha512:$(sha512sum < f | cut -d ' ' -f 1)
    [[ $(registry_status -X POST --data-binary @f "/v2/b/big/blobs/uploads/?digest=$digest") == 201 ]]
    registry_curl "/v2/b/big/blobs/$digest" | cmp - f
    [[ $(registry_status "/v2/b/big/blobs/$(digest_of f)") == 404 ]]
    head -c 50000 /dev/urandom > g
    digest=sha512:$(sha512sum < g | cut -d ' ' -f 1)
    url=$(new_upload b/big)
    [[ $(put --data-binary @g "$url?digest=$digest") == 201 ]]
    head -c 50000 /dev/urandom > h
    digest=sha512:$(sha512sum < h | cut -d ' ' -f 1)
    url=$(new_upload b/big)
    [[ $(patch "$url" h) == 202 ]]
    [[ $(put "$url?digest=$digest") == 201 ]]
    registry_curl "/v2/b/big/blobs/$digest" | cmp - h
    push_blob b/big f
    mkdir -p m
    printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}' > m/index
    digest=sha512:$(sha512sum < m/index | cut -d ' ' -f 1)
    [[ $(put_manifest m/index "/v2/b/big/manifests/$digest" application/vnd.oci.image.index.v1+json) == 201 ]]
    registry_curl "/v2/b/big/manifests/$digest" | cmp - m/index
}

@test "the empty blob and {}" {
    : > empty
    printf '{}' > braces
    push_blob b/empty empty
    push_blob b/empty braces
    [[ -z $(registry_curl "/v2/b/empty/blobs/$(digest_of empty)") ]]
    [[ $(registry_curl "/v2/b/empty/blobs/$(digest_of braces)") == '{}' ]]
    run registry_curl -I "/v2/b/empty/blobs/$(digest_of empty)"
    [[ $output == *" 200 "* && $output == *"Content-Length: 0"* ]]
}

@test "ranges: exact, and 416 leaves the connection alive" {
    seq 1 2000 > f
    digest=$(push_blob b/range f)
    size=$(stat -c %s f)
    part() { registry_curl -H "Range: bytes=$1" "/v2/b/range/blobs/$digest"; }
    cmp <(part 500-1499) <(tail -c +501 f | head -c 1000)
    cmp <(part 500-) <(tail -c +501 f)
    cmp <(part -500) <(tail -c 500 f)
    run registry_curl -o /dev/null -D - -H 'Range: bytes=500-1499' "/v2/b/range/blobs/$digest"
    [[ $output == *" 206 "* && $output == *"Content-Range: bytes 500-1499/$size"* ]]
    [[ $output == *"Content-Length: 1000"* ]]
    for bad in "$size-" 9-5 0-,0-,0- 0-1,5-6; do
        [[ $(registry_status -H "Range: bytes=$bad" "/v2/b/range/blobs/$digest") == 416 ]]
    done
    url="https://$REGISTRY_HOST/v2/b/range/blobs/$digest"
    run curl -sS --cacert "$REGISTRY_CA" -u "admin:$REGISTRY_PASSWORD" -o /dev/null -o /dev/null \
        -w '%{http_code} %{num_connects}\n' -H "Range: bytes=$size-" "$url" "$url"
    [[ $output == $'416 1\n416 0' ]]
}

@test "mounts: from a repository that has it, without from, and from one that has not" {
    echo mount > f
    digest=$(push_blob m/source f)
    run registry_curl -i -X POST "/v2/m/target/blobs/uploads/?mount=$digest&from=m/source"
    [[ $output == *" 201 "* && $output == *"Location: /v2/m/target/blobs/$digest"* ]]
    registry_curl "/v2/m/target/blobs/$digest" | cmp - f
    for query in "mount=$digest" "mount=$digest&from=m/nowhere" "mount=$digest&from=..%2Fx" \
        "mount=$(printf 'sha256:%064d' 0)&from=m/source"; do
        url=$(registry_curl -o /dev/null -D - -X POST "/v2/m/other/blobs/uploads/?$query" | header location)
        [[ $(put --data-binary @f "$url?digest=$digest") == 201 ]]
    done
    [[ $(registry_status -X POST "/v2/m/other/blobs/uploads/?mount=sha256:bad&from=m/source") == 400 ]]
}

@test "a blob is seen through a repository that links it, and mounted only by who may pull it" {
    echo secret > f
    digest=$(push_blob private/repo f)
    registry_user mallory
    registry_grant mallory 'mine/*' pull,push
    REGISTRY_USER=mallory REGISTRY_PASSWORD=mallory-password
    [[ $(registry_status "/v2/private/repo/blobs/$digest") == 403 ]]
    [[ $(registry_status "/v2/mine/app/blobs/$digest") == 404 ]]
    [[ $(registry_status -X POST "/v2/mine/app/blobs/uploads/?mount=$digest&from=private/repo") == 202 ]]
    [[ $(registry_status "/v2/mine/app/blobs/$digest") == 404 ]]
    printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"x/y","digest":"%s","size":7},"layers":[]}' \
        "$digest" > manifest
    run registry_curl -X PUT -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' \
        --data-binary @manifest /v2/mine/app/manifests/v1
    [[ $(jq -r '.errors[0].code' <<< "$output") == MANIFEST_BLOB_UNKNOWN ]]
}

@test "a deleted blob stays deleted where another repository still has it" {
    echo shared > f
    digest=$(push_blob d/one f)
    push_blob d/two f
    [[ $(registry_status -X DELETE "/v2/d/one/blobs/$digest") == 202 ]]
    [[ $(registry_status "/v2/d/one/blobs/$digest") == 404 ]]
    [[ $(registry_status "/v2/d/two/blobs/$digest") == 200 ]]
    [[ $(registry_status "/v2/d/one/blobs/$digest") == 404 ]]
    [[ $(registry_status -X DELETE "/v2/d/one/blobs/$digest") == 404 ]]
}

@test "a blob that a manifest needs cannot be deleted" {
    push_image d/app v1 "needed layer"
    printf 'needed layer' > f
    [[ $(registry_status -X DELETE "/v2/d/app/blobs/$(digest_of f)") == 403 ]]
    [[ $(registry_status -X DELETE "/v2/d/app/manifests/$(registry_curl /v2/d/app/manifests/v1 | sha256sum | sed 's/^/sha256:/; s/ .*//')") == 202 ]]
    [[ $(registry_status -X DELETE "/v2/d/app/blobs/$(digest_of f)") == 202 ]]
}

@test "a manifest needs what it names, with the size it names" {
    printf '{}' > config
    config=$(push_blob m/app config)
    missing=$(printf 'sha256:%064d' 7)
    image_manifest "$config" 2 "$missing" 3 > manifest
    run registry_curl -X PUT -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' \
        --data-binary @manifest /v2/m/app/manifests/v1
    [[ $output == *MANIFEST_BLOB_UNKNOWN* && $output == *"$missing"* ]]
    [[ $(registry_status /v2/m/app/manifests/v1) == 404 ]]
    image_manifest "$config" 2 "$config" 3 > manifest
    [[ $(put_manifest manifest /v2/m/app/manifests/v1) == 400 ]]
    image_manifest "$config" 2 "$config" 2 > manifest
    [[ $(put_manifest manifest /v2/m/app/manifests/v1) == 201 ]]
    [[ $(put_manifest manifest "/v2/m/app/manifests/$missing") == 400 ]]
    registry_curl /v2/m/app/manifests/v1 | cmp - manifest
    run registry_curl -I /v2/m/app/manifests/v1
    [[ $output == *"Content-Type: application/vnd.oci.image.manifest.v1+json"* ]]
    [[ $output == *"Docker-Content-Digest: $(digest_of manifest)"* ]]
}

@test "indexes, nested and empty; children must be here; subject may be missing" {
    child=$(push_image i/app child)
    size=$(registry_curl /v2/i/app/manifests/child | wc -c)
    index() {
        printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[%s]%s}' "$1" "$2"
    }
    entry() {
        printf '{"mediaType":"application/vnd.oci.image.%s.v1+json","digest":"%s","size":%s}' "$1" "$2" "$3"
    }
    type=application/vnd.oci.image.index.v1+json
    index "$(entry manifest "$child" "$size")" '' > index
    [[ $(put_manifest index /v2/i/app/manifests/index "$type") == 201 ]]
    index "$(entry index "$(digest_of index)" "$(stat -c %s index)")" '' > nested
    [[ $(put_manifest nested /v2/i/app/manifests/nested "$type") == 201 ]]
    index '' '' > empty
    [[ $(put_manifest empty /v2/i/app/manifests/empty "$type") == 201 ]]
    index "$(entry manifest "$(printf 'sha256:%064d' 1)" 5)" '' > broken
    [[ $(put_manifest broken /v2/i/app/manifests/broken "$type") == 400 ]]
    subject=$(printf 'sha256:%064d' 9)
    index '' ",\"subject\":$(entry manifest "$subject" 5),\"artifactType\":\"a/b\",\"annotations\":{\"k\":\"v\"}" > refers
    run registry_curl -i -X PUT -H "Content-Type: $type" --data-binary @refers /v2/i/app/manifests/refers
    [[ $output == *" 201 "* && $output == *"OCI-Subject: $subject"* ]]
    registry_curl "/v2/i/app/referrers/$subject" |
        jq -e '.manifests | length == 1 and .[0].artifactType == "a/b" and .[0].annotations.k == "v"'
    run registry_curl -i "/v2/i/app/referrers/$subject?artifactType=c/d"
    [[ $output == *"OCI-Filters-Applied: artifactType"* && $output == *'"manifests":[]'* ]]
    [[ $(registry_curl "/v2/i/app/referrers/$(printf 'sha256:%064d' 8)" | jq -c .manifests) == '[]' ]]
    [[ $(registry_curl "/v2/none/at-all/referrers/$subject" | jq -c .manifests) == '[]' ]]
}

@test "non-distributable layers need not be here" {
    printf '{}' > config
    config=$(push_blob f/app config)
    printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"%s","size":2},"layers":[{"mediaType":"application/vnd.oci.image.layer.nondistributable.v1.tar","digest":"sha256:%064d","size":5,"urls":["https://elsewhere.example/x"]}]}' \
        "$config" 3 > manifest
    [[ $(put_manifest manifest /v2/f/app/manifests/v1) == 201 ]]
}

@test "manifests of just under 4 MiB are taken, larger ones are 413" {
    printf '{}' > config
    config=$(push_blob l/app config)
    image_manifest "$config" 2 "$config" 2 | head -c -1 > head
    fill=$((4 * 1024 * 1024 - $(stat -c %s head) - 30))
    { cat head; printf ',"annotations":{"a":"'; head -c "$fill" /dev/zero | tr '\0' a; printf '"}}'; } > manifest
    [[ $(stat -c %s manifest) -le 4194304 ]]
    [[ $(put_manifest manifest /v2/l/app/manifests/v1) == 201 ]]
    registry_curl /v2/l/app/manifests/v1 | cmp - manifest
    { cat head; printf ',"annotations":{"a":"'; head -c $((fill + 100)) /dev/zero | tr '\0' a; printf '"}}'; } > manifest
    [[ $(put_manifest manifest /v2/l/app/manifests/v2) == 413 ]]
    [[ $(put_manifest manifest /v2/l/app/manifests/v2 'application/vnd.oci.image.manifest.v1+json') == 413 ]]
    [[ $(registry_status -X PUT -H 'Transfer-Encoding: chunked' -H 'Expect:' -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' \
        --data-binary @manifest /v2/l/app/manifests/v2) == 413 ]]
}

# While a large body arrives the server is woken for many bytes at a time: not so at its end, nor afterwards.
@test "after a large body its connection answers small requests at once" {
    local digest url
    head -c 3500001 /dev/urandom > "$BATS_TEST_TMPDIR/large"
    digest=$(digest_of "$BATS_TEST_TMPDIR/large")
    for rate in 0 3M; do
        url=$(registry_curl -o /dev/null -D - -X POST /v2/batch/app/blobs/uploads/ | sed -n 's/^location: \(.*\)\r$/\1/Ip')
        registry_curl --http1.1 --max-time 30 --limit-rate "$rate" -o "$BATS_TEST_TMPDIR/answer" -T "$BATS_TEST_TMPDIR/large" \
            -w '%{http_code} ' "https://$REGISTRY_HOST$url?digest=$digest" --next -sS --cacert "$REGISTRY_CA" \
            -u "$REGISTRY_USER:$REGISTRY_PASSWORD" --max-time 10 -o "$BATS_TEST_TMPDIR/back" \
            -w '%{http_code} %{num_connects}\n' "/v2/batch/app/blobs/$digest" > "$BATS_TEST_TMPDIR/codes"
        [[ $(< "$BATS_TEST_TMPDIR/codes") == '201 200 0' ]]
        cmp "$BATS_TEST_TMPDIR/large" "$BATS_TEST_TMPDIR/back"
    done
}
