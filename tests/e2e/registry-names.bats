# Hostile names, digests, numbers, manifests and uploads. Each must end in a clear 4xx, leave nothing
# behind, and the registry must go on.
bats_require_minimum_version 1.5.0

setup_file() {
    load ../support/conformance
    registry_init "$BATS_FILE_TMPDIR/r"
    sed -i 's/^  blobSize: .*/  blobSize: 2m/' "$BATS_FILE_TMPDIR/r/registry.yaml"
    conformance_setup_file
    registry_grant tester '*' pull,push,delete
}

teardown_file() {
    load ../support/conformance
    conformance_teardown_file
}

setup() {
    load ../support/conformance
    conformance_setup
    CALLER=basic
    REPO=basic/test$BATS_TEST_NUMBER
}

teardown() {
    load ../support/conformance
    [[ $(registry_status /v2/) == 200 ]]
}

# refused PATH…: GET, POST, PUT and DELETE are all 4xx, and none makes a repository.
refused() {
    local path method
    for path in "$@"; do
        for method in GET HEAD POST PUT PATCH DELETE; do
            if [[ $method == HEAD ]]; then request HEAD "$path"; else request "$method" "$path" --data-binary x; fi
            [[ $STATUS == 4?? ]] || { echo "$LAST: $STATUS"; return 1; }
        done
    done
}

@test "names that break the grammar, everywhere a name stands" {
    local long name
    long=$(printf '%0256d' 0)
    for name in .. . a/.. ../a a/../b %2e%2e a/%2e%2e/b a%2Fb a%2fb%2Fc '' a//b A aB a/B a_ _a a/_trust/b _trust a.-b a..b \
        a___b -a a- .a a. 'a%00' 'a%00b' 'a%0d%0ab' 'a%20b' 'a+b' 'a:b' 'a@b' 'a~b' %C3%A4 "$long" "a/$long" %61%41 \
        '%' '%2' 'a%zz' '%252e%252e' 'a;b' "$(printf 'a/%.0s' {1..127})aa"; do
        for path in tags/list manifests/v1 "blobs/$MISSING"; do
            request GET "/v2/$name/$path"
            [[ $STATUS == 40[0145] ]] || { echo "$LAST: $STATUS"; false; }
        done
        request POST "/v2/$name/blobs/uploads/"
        [[ $STATUS == 40[045] ]] || { echo "$LAST: $STATUS"; false; }
    done
    request GET /v2/_catalog
    [[ $(jq '.repositories | length' body) == 0 ]]
    request POST /v2/aB/blobs/uploads/
    [[ $(error_code) == NAME_INVALID && $(jq -r '.errors[0].detail.path' body) == /v2/aB/blobs/uploads/ ]]
}

@test "slashes where none or one too many belongs" {
    refused /v2/a/tags/list/ /v2/a/tags//list //v2/a/tags/list /v2//a/tags/list /v2/a/manifests/ /v2/a/manifests/v1/ \
        /v2/a/blobs/ "/v2/a/blobs/$MISSING/" "/v2/a/referrers/$MISSING/" /v2/a/blobs/uploads/x/ '/v2/a/blobs/uploads//' \
        /v2/a/tags /v2/a /v2/a/ /v2/tags/list /v2/manifests/v1 /v2/blobs/uploads/ /v2/_catalog/ /V2/ /v2/a/Tags/list \
        /v2/a/%74ags/list /v2%2Fa/tags/list /v2/a/tags%2Flist
}

@test "a name of 255 bytes works, of 256 it does not" {
    REPO=$(printf 'a/%.0s' {1..127})a
    [[ ${#REPO} == 255 ]]
    make_image
    put_manifest manifest v1
    want 201
    served manifest v1
    REPO=a$REPO
    put_manifest manifest v1
    want 400
    [[ $(error_code) == NAME_INVALID ]]
}

@test "the interface's own words are fine as parts of names" {
    local digest
    for REPO in blobs uploads blobs/uploads manifests tags tags/list referrers v2 a/manifests/v1 blobs/uploads/blobs/uploads \
        a/referrers a/blobs v2/catalog; do
        make_artifact application/x
        mv artifact manifest
        digest=$(sum sha256 manifest)
        put_manifest manifest v1
        want 201
        request GET "/v2/$REPO/manifests/v1"
        want 200
        request GET "/v2/$REPO/blobs/$(sum sha256 braces)"
        want 200
        request GET "/v2/$REPO/tags/list"
        want 200
        [[ $(jq -c . body) == "{\"name\":\"$REPO\",\"tags\":[\"v1\"]}" ]]
        request GET "/v2/$REPO/referrers/$digest"
        want 200
        begin
        request DELETE "$LOCATION"
        want 204
        request DELETE "/v2/$REPO/manifests/$digest"
        want 202
    done
    # Tags of these names as well.
    for tag in list uploads blobs manifests _trust tags; do
        put_manifest manifest "$tag"
        want 201
        request GET "/v2/$REPO/manifests/$tag"
        want 200
    done
}

@test "a NUL in the request line is no end of a name that can be used" {
    make_image
    put_manifest manifest v1
    want 201
    printf 'GET /v2/%s/tags/list\0/x HTTP/1.1\r\nHost: x\r\nAuthorization: Basic %s\r\n\r\n' "$REPO" \
        "$(printf tester:tester-password | base64)" > nul
    { cat nul; sleep 1; } | timeout 10 openssl s_client -quiet -no_ign_eof -connect "$REGISTRY_HOST" -CAfile "$REGISTRY_CA" \
        > answer 2> /dev/null || true
    run ! grep -a '"tags"' answer
}

@test "query values that are given twice, escaped badly or endless" {
    echo x > blob
    local d
    d=$(sum sha256 blob)
    for query in "digest=$d&digest=$d" "digest=$d%00" "digest=%zz" "digest=$(head -c 5000 /dev/zero | tr '\0' a)" "mount=$d&mount=$d&from=a" \
        "digest=$d%0d%0aX:y"; do
        request POST "/v2/$REPO/blobs/uploads/?$query" --data-binary @blob
        want 400 414
    done
    for query in 'n=1&n=1' "last=$(head -c 3000 /dev/zero | tr '\0' a)" 'last=%00' 'last=a&last=b'; do
        request GET "/v2/$REPO/tags/list?$query"
        want 400
        request GET "/v2/_catalog?$query"
        want 400
    done
    for query in "artifactType=$(head -c 300 /dev/zero | tr '\0' a)" 'artifactType=a&artifactType=b' 'last=%zz' 'artifactType=%0a'; do
        request GET "/v2/$REPO/referrers/$MISSING?$query"
        want 400
    done
}

# --- bodies ---

# endless METHOD PATH: how many MiB of an endless body were taken before the registry had enough
endless() {
    echo 0 > taken
    {
        printf '%s %s HTTP/1.1\r\nHost: x\r\nAuthorization: Basic %s\r\nContent-Type: %s\r\nTransfer-Encoding: chunked\r\n\r\n' \
            "$1" "$2" "$(printf tester:tester-password | base64)" "$MANIFEST"
        for ((i = 1; i <= 64; i++)); do
            printf '100000\r\n'
            head -c 1048576 /dev/zero
            printf '\r\n'
            echo "$i" > taken
        done
    } 2> /dev/null | timeout 60 openssl s_client -quiet -connect "$REGISTRY_HOST" -CAfile "$REGISTRY_CA" > answer 2> /dev/null || true
    cat taken
}

@test "a body that never ends is cut off, whatever it was for" {
    begin
    before=$(resident)
    for what in "PUT /v2/$REPO/manifests/v1" "POST /v2/$REPO/blobs/uploads/" "PATCH $LOCATION" "GET /v2/$REPO/tags/list" \
        "DELETE /v2/$REPO/manifests/v1" "POST /v2/$REPO/blobs/uploads/?digest=$MISSING" "GET /v2/" "PUT /v2/A/manifests/x"; do
        taken=$(endless "${what% *}" "${what#* }")
        echo "$what: $taken MiB"
        [[ $taken -lt 40 ]]
    done
    grew_less_than 40000 "$before"
    [[ $(du -sm "$REGISTRY_DIR/data/uploads" | cut -f 1) -lt 20 ]]
}

@test "blobs larger than the limit are 413, however they come" {
    head -c 2097153 /dev/zero > large
    local digest
    digest=$(sum sha256 large)
    too_large() {
        want 413
        [[ $(error_code) == SIZE_INVALID && $(jq '.errors[0].detail.maximum' body) == 2097152 ]]
    }
    request POST "/v2/$REPO/blobs/uploads/?digest=$digest" -H 'Expect:' --data-binary @large
    too_large
    begin
    request PUT "$LOCATION?digest=$digest" -H 'Expect:' --data-binary @large
    too_large
    request PATCH "$LOCATION" -H 'Expect:' --data-binary @large
    too_large
    request PATCH "$LOCATION" -H 'Expect:' -H 'Transfer-Encoding: chunked' --data-binary @large
    too_large
    # The limit itself is fine.
    head -c 2097152 /dev/zero > just
    begin
    request PUT "$LOCATION?digest=$(sum sha256 just)" -H 'Expect:' --data-binary @just
    want 201
}

# --- uploads of others ---

@test "an upload is its repository's and its user's, and cannot be guessed" {
    local id other
    registry_user stranger
    registry_grant stranger '*' pull,push,delete
    begin
    id=${LOCATION##*/}
    [[ $id =~ ^[0-9a-f]{32}$ ]]
    begin
    [[ ${LOCATION##*/} != "$id" ]]
    other=$(printf '%032x' $((0x${id:16:15} + 1)))
    for url in "/v2/$REPO/x/blobs/uploads/$id" "/v2/$REPO/blobs/uploads/${id:1}" "/v2/$REPO/blobs/uploads/${id}0" \
        "/v2/$REPO/blobs/uploads/$other" "/v2/$REPO/blobs/uploads/.." "/v2/$REPO/blobs/uploads/..%2F$id" "/v2/$REPO/blobs/uploads/$id.note" \
        "/v2/$REPO/blobs/uploads/%00" "/v2/$REPO/blobs/uploads/$id%00" "/v2/$REPO/blobs/uploads/*"; do
        for method in GET PATCH PUT DELETE; do
            request "$method" "$url?digest=$MISSING" --data-binary x
            want 404 400
        done
    done
    local method
    for method in GET PATCH PUT DELETE; do
        [[ $(curl -sS -o /dev/null -w '%{http_code}' --cacert "$REGISTRY_CA" -u stranger:stranger-password -X "$method" \
            "https://$REGISTRY_HOST/v2/$REPO/blobs/uploads/$id?digest=$MISSING") == 404 ]]
    done
    request GET "/v2/$REPO/blobs/uploads/$id"
    want 204
}

# --- two at once ---

# together N METHOD URL CURL-OPTIONS…: N requests at the same time; their statuses, sorted, on one line
together() {
    local n=$1 method=$2 url=$3 i
    shift 3
    for ((i = 0; i < n; i++)); do
        curl -sS -o /dev/null -w '%{http_code}\n' --cacert "$REGISTRY_CA" -u tester:tester-password -X "$method" "$@" \
            "https://$REGISTRY_HOST$url" &
    done > statuses
    wait
    sort statuses | paste -sd' '
}

@test "many PATCHes of the same chunk: one is taken, and the blob is whole" {
    head -c 300000 /dev/urandom > blob
    head -c 200000 blob > first
    tail -c 100000 blob > second
    local round statuses
    for round in 1 2 3; do
        begin
        statuses=$(together 8 PATCH "$LOCATION" -H 'Content-Range: 0-199999' --data-binary @first)
        echo "$statuses"
        [[ $statuses == 202* && $statuses != *202*202* && $statuses =~ ^202(\ (409|416)){7}$ ]]
        request GET "$LOCATION"
        [[ $(header range) == 0-199999 ]]
        request PUT "$LOCATION?digest=$(sum sha256 blob)" --data-binary @second
        want 201
        blob_served blob
        request DELETE "/v2/$REPO/blobs/$(sum sha256 blob)"
    done
}

@test "many PUTs at once: one makes the blob" {
    head -c 200000 /dev/urandom > blob
    local round statuses
    for round in 1 2 3; do
        begin
        request PATCH "$LOCATION" --data-binary @blob
        want 202
        statuses=$(together 6 PUT "$LOCATION?digest=$(sum sha256 blob)")
        echo "$statuses"
        [[ $statuses =~ ^201(\ (404|409)){5}$ ]]
        blob_served blob
    done
}

@test "PUT and DELETE while a PATCH runs: the PATCH loses nothing" {
    head -c 1500000 /dev/urandom > blob
    begin
    curl -sS -o /dev/null -w '%{http_code}' --cacert "$REGISTRY_CA" -u tester:tester-password --limit-rate 1M -X PATCH \
        --data-binary @blob "https://$REGISTRY_HOST$LOCATION" > status &
    sleep 0.5
    request PUT "$LOCATION?digest=$(sum sha256 blob)"
    want 409
    [[ $(error_code) == BLOB_UPLOAD_INVALID ]]
    request DELETE "$LOCATION"
    want 409
    wait
    [[ $(< status) == 202 ]]
    request PUT "$LOCATION?digest=$(sum sha256 blob)"
    want 201
    blob_served blob
}

@test "the same blob and the same tag from many at once" {
    head -c 100000 /dev/urandom > blob
    [[ $(together 8 POST "/v2/$REPO/blobs/uploads/?digest=$(sum sha256 blob)" --data-binary @blob) == '201 201 201 201 201 201 201 201' ]]
    blob_served blob
    make_image
    [[ $(together 8 PUT "/v2/$REPO/manifests/v1" -H "Content-Type: $MANIFEST" --data-binary @manifest) == '201 201 201 201 201 201 201 201' ]]
    served manifest v1
    [[ $(together 6 DELETE "/v2/$REPO/manifests/v1") == '202 404 404 404 404 404' ]]
}

@test "a condition is held by one of many at once" {
    make_image
    local i statuses
    for i in 1 2 3 4 5 6; do
        printf ' ' >> manifest
        cp manifest "manifest$i"
        curl -sS -o /dev/null -w '%{http_code}\n' --cacert "$REGISTRY_CA" -u tester:tester-password -X PUT -H "Content-Type: $MANIFEST" \
            -H 'If-None-Match: *' --data-binary "@manifest$i" "https://$REGISTRY_HOST/v2/$REPO/manifests/once" &
    done > statuses
    wait
    statuses=$(sort statuses | paste -sd' ')
    [[ $statuses == '201 412 412 412 412 412' ]]
}

# --- manifests that say two things, or too much ---

@test "ambiguous manifests are refused, and say why" {
    make_image
    local c l t=$MANIFEST
    c=$(descriptor "$OCI.config.v1+json" config)
    l=$(descriptor "$OCI.layer.v1.tar" layer1)
    bad() { # BODY [TYPE]: 400, with this word in the message
        printf '%s' "$2" > bad
        put_manifest bad bad "${3:-$t}"
        want 400
        [[ $(error_code) == MANIFEST_INVALID && $(jq -r '.errors[0].message' body) == *"$1"* ]] || { cat body; return 1; }
    }
    bad "'manifests'" "{\"schemaVersion\":2,\"config\":$c,\"layers\":[$l],\"manifests\":[]}"
    bad "'layers'" "{\"schemaVersion\":2,\"layers\":[$l],\"manifests\":[]}" "$INDEX"
    bad "'config'" "{\"schemaVersion\":2,\"config\":$c,\"manifests\":[]}" "$INDEX"
    bad "fsLayers" "{\"schemaVersion\":2,\"config\":$c,\"layers\":[],\"fsLayers\":[]}"
    bad duplicate "{\"schemaVersion\":2,\"config\":$c,\"layers\":[],\"layers\":[$l]}"
    bad duplicate "{\"schemaVersion\":2,\"config\":$c,\"layers\":[],\"x\":{\"a\":1,\"a\":2}}"
    bad Layers "{\"schemaVersion\":2,\"config\":$c,\"layers\":[],\"Layers\":[$l]}"
    bad MediaType "{\"schemaVersion\":2,\"config\":$c,\"layers\":[],\"MediaType\":\"$INDEX\"}"
    bad Digest "{\"schemaVersion\":2,\"config\":${c%\}},\"Digest\":\"$MISSING\"},\"layers\":[]}"
    bad differs "{\"schemaVersion\":2,\"mediaType\":\"$INDEX\",\"config\":$c,\"layers\":[]}"
    bad differs "{\"schemaVersion\":2,\"mediaType\":\"$MANIFEST\",\"manifests\":[]}" "$INDEX"
    bad differs "{\"schemaVersion\":2,\"mediaType\":\"$MANIFEST\"}" application/vnd.unknown+json
    bad 'end of file' "{\"schemaVersion\":2,\"config\":$c,\"layers\":[]} {}"
    bad schemaVersion "{\"config\":$c,\"layers\":[]}"
    bad schemaVersion "{\"schemaVersion\":\"2\",\"config\":$c,\"layers\":[]}"
    bad schemaVersion "{\"schemaVersion\":3,\"config\":$c,\"layers\":[]}"
    bad object '[]'
    bad object '"x"'
    bad JSON ''
    bad JSON "$(printf '{"schemaVersion":2,"x":"\xff"}')"
    bad config "{\"schemaVersion\":2,\"layers\":[]}"
    bad size "{\"schemaVersion\":2,\"config\":{\"mediaType\":\"a/b\",\"digest\":\"$MISSING\",\"size\":-1},\"layers\":[]}"
    bad integer "{\"schemaVersion\":2,\"config\":{\"mediaType\":\"a/b\",\"digest\":\"$MISSING\",\"size\":99999999999999999999},\"layers\":[]}"
    bad size "{\"schemaVersion\":2,\"config\":{\"mediaType\":\"a/b\",\"digest\":\"$MISSING\",\"size\":1.0},\"layers\":[]}"
    bad digest "{\"schemaVersion\":2,\"config\":{\"mediaType\":\"a/b\",\"digest\":\"sha256:../../x\",\"size\":1},\"layers\":[]}"
    bad 'media type' "{\"schemaVersion\":2,\"config\":{\"mediaType\":\"a b\",\"digest\":\"$MISSING\",\"size\":1},\"layers\":[]}"
    bad annotation "{\"schemaVersion\":2,\"config\":$c,\"layers\":[],\"annotations\":{\"a\":7}}"
    bad subject "{\"schemaVersion\":2,\"config\":$c,\"layers\":[],\"subject\":\"$MISSING\"}"
    bad artifactType "{\"schemaVersion\":2,\"config\":$c,\"layers\":[],\"artifactType\":\"<script>\"}"
    bad deeper "{\"schemaVersion\":2,\"config\":$c,\"layers\":[],\"x\":$(printf '[%.0s' {1..40})$(printf ']%.0s' {1..40})}"
    bad "text/html" "{\"schemaVersion\":2,\"config\":$c,\"layers\":[]}" text/html
    bad entries "{\"schemaVersion\":2,\"config\":$c,\"layers\":[$l$(printf ",$l%.0s" {1..1024})]}"
    request HEAD "/v2/$REPO/manifests/bad"
    want 404
}

@test "Docker schema 1 is refused with what to do" {
    echo '{"schemaVersion":1,"name":"x","tag":"y","architecture":"amd64","fsLayers":[],"history":[],"signatures":[]}' > old
    for type in application/vnd.docker.distribution.manifest.v1+json application/vnd.docker.distribution.manifest.v1+prettyjws \
        "$MANIFEST" application/json '' application/vnd.docker.distribution.manifest.v2+json application/vnd.unknown; do
        put_manifest old old "$type"
        want 400
        [[ $(error_code) == MANIFEST_INVALID ]]
        [[ $(jq -r '.errors[0].message' body) == *"schema 1"*"push the image again with a newer client"* ]]
    done
}

@test "manifests made to fill memory do not" {
    local before what
    printf '{"schemaVersion":2,"x":[' > start
    before=$(resident)
    for what in '{},' '[],' '1,' '"",' '{"a":1},' '[[[[[[[[[[]]]]]]]]]],'; do
        { cat start; yes "$what" | tr -d '\n' | head -c 4000000; printf '1]}'; } > bomb
        # However the last one was cut: brackets and commas were counted before.
        put_manifest bomb bomb
        want 400
        put_manifest bomb bomb application/vnd.unknown
        want 400
    done
    { printf '{"a":'; yes '[' | tr -d '\n' | head -c 4000000; } > bomb
    put_manifest bomb bomb
    want 400
    grew_less_than 40000 "$before"
    # Annotations as many as fit are fine.
    printf '{}' > braces
    upload braces
    { printf '{"schemaVersion":2,"config":%s,"layers":[],"annotations":{"x":""' "$(descriptor "$EMPTY" braces)"
        seq -f ',"key%06.0f":"value"' 100000 | tr -d '\n'; printf '}}'; } > many
    put_manifest many many
    want 201
    served many many
}
