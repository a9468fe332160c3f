# Hostile requests: names, framing, bombs, guesses. Each must end in a clear 4xx (or a closed
# connection), and the registry must go on.

setup_file() {
    load ../support/registry
    registry_init "$BATS_FILE_TMPDIR/r"
    sed -i 's/^  idleTimeout: .*/  idleTimeout: 3s/' "$BATS_FILE_TMPDIR/r/registry.yaml"
    registry_start "$BATS_FILE_TMPDIR/r"
}

teardown_file() {
    load ../support/registry
    registry_stop
}

setup() {
    load ../support/registry
    cd "$BATS_TEST_TMPDIR" || return
    AUTH="Authorization: Basic $(printf 'admin:%s' "$REGISTRY_PASSWORD" | base64 -w 0)"
}

teardown() {
    load ../support/registry
    [[ $(registry_status /v2/) == 200 ]]
}

# raw FORMAT: sends printf's result over TLS as it is, prints the answer.
raw() {
    # shellcheck disable=SC2059
    { printf "$@"; sleep 1; } | timeout 20 openssl s_client -quiet -no_ign_eof -connect "$REGISTRY_HOST" \
        -CAfile "$REGISTRY_CA" 2> /dev/null
}

not_served() {
    ! grep -q "$1" "$REGISTRY_DIR/log"
}

@test "paths that are not what they seem" {
    for path in '/v2/../../etc/passwd' '/v2/a/../b/tags/list' '/v2/a/%2e%2e/b/tags/list' \
        '/v2/a%2Fb/tags/list' '/v2//tags/list' '/v2/a//b/tags/list' '/v2/a/tags/list/' \
        '/v2/A/tags/list' '/v2/a%00/tags/list' '/v2/a/_trust/tags/list' '/v2/_trust/tags/list' \
        '/v2/a/blobs/sha256:../../x' '/v2/a/blobs/sha256:..%2f..%2fx' '/v2/a/manifests/..%2f..%2fx' \
        "/v2/a/blobs/SHA256:$(printf %064d 0)" "/v2/a/blobs/sha256:$(printf %063d 0)" \
        "/v2/a/blobs/sha256:$(printf %065d 0)" "/v2/a/blobs/sha256-$(printf %064d 0)" \
        "/v2/a/blobs/sha256:$(printf %064d 0 | tr 0 A)" '/v2/a/blobs/uploads/..%2f..%2fx' \
        '/v2/a/blobs/uploads/0000' "/v2/$(printf %0256d 0)/tags/list" '/v2/a/manifests/sha256:totallywrong' \
        '/v2/a/_trust/tuf/../../x' '/v2/a/_trust/tuf/1.%2e%2e%2fx.json' '/v2/a/manifests/a%0d%0ax'; do
        code=$(registry_status --path-as-is "$path")
        [[ $code == 400 || $code == 404 ]] || { echo "$path: $code"; return 1; }
    done
    code=$(registry_status -X GET --data-binary x /v2/a/manifests/sha256:totallywrong)
    [[ $code == 400 || $code == 404 ]]
}

@test "numbers of names that nobody could mean" {
    push_image n/app v1
    for n in -1 abc 1e9 99999999999999999999999 0x10 ' 1' '+1' 1.5; do
        [[ $(registry_status -G --data-urlencode "n=$n" /v2/n/app/tags/list) == 400 ]]
        [[ $(registry_status -G --data-urlencode "n=$n" /v2/_catalog) == 400 ]]
    done
    [[ $(registry_curl '/v2/n/app/tags/list?n=99999999999' | jq -c .tags) == '["v1"]' ]]
    [[ $(registry_status '/v2/_catalog?n=99999999999') == 200 ]]
    [[ $(registry_status '/v2/_catalog?n=1&n=2') == 400 ]]
}

@test "smuggling: Content-Length and Transfer-Encoding" {
    run raw 'POST /v2/s/a/blobs/uploads/ HTTP/1.1\r\nHost: x\r\n%s\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /v2/smuggled/one/tags/list HTTP/1.1\r\nHost: x\r\n\r\n' "$AUTH"
    [[ $output == *"400 Bad Request"* && $output == *"Connection: close"* ]]
    not_served smuggled/one
}

@test "smuggling: two Content-Lengths, equal or not" {
    for second in 5 50; do
        run raw 'POST /v2/s/a/blobs/uploads/ HTTP/1.1\r\nHost: x\r\n%s\r\nContent-Length: 5\r\nContent-Length: %s\r\n\r\n12345GET /v2/smuggled/two/tags/list HTTP/1.1\r\nHost: x\r\n\r\n' "$AUTH" "$second"
        [[ $output == *"400 Bad Request"* ]]
    done
    not_served smuggled/two
}

@test "smuggling: other transfer encodings" {
    for encoding in gzip 'chunked, identity' 'xchunked' identity; do
        run raw 'POST /v2/s/a/blobs/uploads/ HTTP/1.1\r\nHost: x\r\n%s\r\nTransfer-Encoding: %s\r\n\r\n0\r\n\r\nGET /v2/smuggled/three/tags/list HTTP/1.1\r\nHost: x\r\n\r\n' "$AUTH" "$encoding"
        [[ $output == *" 400 "* || $output == *" 501 "* || -z $output ]]
    done
    not_served smuggled/three
}

# smuggle NAME HEADERS: a POST whose body, of LENGTH bytes, is a request for smuggled/NAME.
smuggle() {
    local body length
    body="GET /v2/smuggled/$1/tags/list HTTP/1.1\r\nHost: x\r\n$AUTH\r\n\r\n"
    # shellcheck disable=SC2059
    length=$(printf "$body" | wc -c)
    raw "POST /v2/s/a/blobs/uploads/ HTTP/1.1\r\nHost: x\r\n$AUTH\r\n${2//LENGTH/$length}$body"
}

@test "smuggling: bare line feeds, folded headers, a blank before the colon" {
    run smuggle four '\nContent-Length: LENGTH\n\n'
    run smuggle five 'X: y\r\n Content-Length: 0\r\nContent-Length: LENGTH\r\n\r\n'
    run smuggle six 'Content-Length : LENGTH\r\n\r\n'
    [[ $output == *"400 Bad Request"* ]]
    run smuggle seven 'Content-Length\t: LENGTH\r\n\r\n'
    [[ $output == *"400 Bad Request"* ]]
    run smuggle eight 'Transfer-Encoding : chunked\r\nContent-Length: LENGTH\r\n\r\n'
    [[ $output == *"400 Bad Request"* ]]
    run smuggle nine 'Content-Length: LENGTH\nX: y\r\n\r\n'
    for name in four five six seven eight nine; do not_served "smuggled/$name"; done
}

@test "a refused upload's body is never a request" {
    run smuggle ten 'Content-Length: LENGTH\r\nContent-Type: x\r\n\r\n'
    [[ $output == *" 202 "* ]]
    run raw "PUT /v2/s/a/blobs/uploads/00112233445566778899aabbccddeeff HTTP/1.1\r\nHost: x\r\n$AUTH\r\nContent-Length: 57\r\n\r\nGET /v2/smuggled/eleven/tags/list HTTP/1.1\r\nHost: x12\r\n\r\n"
    [[ $output == *" 400 "* || $output == *" 404 "* ]]
    not_served smuggled/ten
    not_served smuggled/eleven
}

@test "absolute targets and foreign Hosts change nothing" {
    run raw 'GET https://evil.example/v2/ HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n' "$AUTH"
    [[ $output == *" 404 "* ]]
    run registry_curl -i -H 'Host: evil.example' -X POST /v2/h/a/blobs/uploads/
    [[ $output == *"Location: /v2/h/a/"* && $output != *evil* ]]
    run raw 'GET /v2/ HTTP/1.1\r\n%s\r\n\r\n' "$AUTH"
    [[ $output == *" 400 "* ]]
}

@test "oversized and odd headers" {
    head -c 200000 /dev/zero | tr '\0' a > big
    code=$(registry_status -H "X-Big: $(head -c 100000 big)" /v2/)
    [[ $code == 431 || $code == 413 || $code == 000 ]]
    code=$(registry_status "/v2/a/tags/list?last=$(head -c 60000 big)")
    [[ $code == 400 || $code == 414 || $code == 431 ]]
    for value in 'Basic' 'Basic !!!' 'Basic YWRtaW4=' 'Bearer x' 'Basic YQB4OmI=' "Basic $(head -c 2000 big)" ''; do
        [[ $(curl -sS -o /dev/null -w '%{http_code}' --cacert "$REGISTRY_CA" -H "Authorization: $value" \
            "https://$REGISTRY_HOST/v2/") == 401 ]]
    done
}

@test "unknown user and wrong password: same answer, same order of time" {
    ask() {
        curl -sS -D - -w '\n%{time_starttransfer} %{time_appconnect}\n' --cacert "$REGISTRY_CA" -u "$1" "https://$REGISTRY_HOST/v2/" |
            sed '/^[Dd]ate/d; /^X-Request-Id/d; s/"requestId":"[0-9a-f]*"//'
    }
    ask admin:wrong-password > known
    ask nobody:wrong-password > unknown
    cmp <(sed '$d' known) <(sed '$d' unknown)
    ms() { tail -n 1 "$1" | awk '{ printf "%d", ($1 - $2) * 1000 }'; }
    # Argon2id costs tens of milliseconds; looking up a name would cost less than one.
    [[ $(ms unknown) -ge 5 && $(ms known) -ge 5 ]]
}

@test "manifests that say two things" {
    printf '{}' > config
    config=$(push_blob amb/app config)
    d="{\"mediaType\":\"application/vnd.oci.image.config.v1+json\",\"digest\":\"$config\",\"size\":2}"
    t=application/vnd.oci.image.manifest.v1+json
    try() {
        registry_status -X PUT -H "Content-Type: ${2:-$t}" --data-binary "$1" /v2/amb/app/manifests/x
    }
    [[ $(try "{\"schemaVersion\":2,\"mediaType\":\"$t\",\"config\":$d,\"layers\":[],\"manifests\":[]}") == 400 ]]
    [[ $(try "{\"schemaVersion\":2,\"config\":$d,\"layers\":[],\"layers\":[$d]}") == 400 ]]
    [[ $(try "{\"schemaVersion\":2,\"config\":$d,\"layers\":[],\"Layers\":[$d]}") == 400 ]]
    [[ $(try "{\"schemaVersion\":2,\"mediaType\":\"$t\",\"config\":$d,\"layers\":[]}" application/vnd.oci.image.index.v1+json) == 400 ]]
    [[ $(try "{\"schemaVersion\":2,\"config\":$d,\"layers\":[]} x") == 400 ]]
    [[ $(try '') == 400 ]]
    [[ $(try '[]') == 400 ]]
    code=$(try "$(printf '[%.0s' {1..3000})")
    [[ $code == 400 || $code == 413 ]]
    [[ $(try '{"schemaVersion":1}' application/vnd.docker.distribution.manifest.v1+prettyjws) == 400 ]]
    [[ $(try "{\"schemaVersion\":2,\"config\":$d,\"layers\":[]}" text/html) == 400 ]]
}

@test "methods that do not exist" {
    for method in TRACE OPTIONS CONNECT PROPFIND; do
        code=$(registry_status -X "$method" /v2/m/app/manifests/v1)
        [[ $code == 405 || $code == 400 || $code == 501 ]] || { echo "$method $code"; return 1; }
    done
    [[ $(registry_status -X PUT --data x /v2/m/app/tags/list) == 405 ]]
    [[ $(registry_status -X POST --data x /v2/_catalog) == 405 ]]
    [[ $(registry_status -X PATCH --data x /v2/m/app/manifests/v1) == 405 ]]
}

@test "one who connects and says nothing costs no processor and is sent away" {
    before=$(awk '{print $14 + $15}' "/proc/$REGISTRY_PID/stat")
    exec 7<> "/dev/tcp/127.0.0.1/$REGISTRY_PORT"
    sleep 2
    after=$(awk '{print $14 + $15}' "/proc/$REGISTRY_PID/stat")
    [[ $((after - before)) -lt 20 ]]
    timeout 10 cat <&7 > /dev/null
    exec 7<&-
}

@test "slow headers are ended, although a byte comes now and then" {
    start=$SECONDS
    {
        printf 'GET /v2/ HTTP/1.1\r\nHost: x\r\nX: '
        for _ in $(seq 40); do printf a; sleep 0.3; done
    } | timeout 30 openssl s_client -quiet -connect "$REGISTRY_HOST" -CAfile "$REGISTRY_CA" 2> /dev/null || true
    [[ $((SECONDS - start)) -le 14 ]]
    not_served '- GET /v2/ 200'
}

@test "passwords of many strangers at once do not starve the registry" {
    for i in $(seq 8); do
        curl -sS -o /dev/null -w '%{http_code}\n' --cacert "$REGISTRY_CA" -u "u$i:wrong-password" \
            "https://$REGISTRY_HOST/v2/" &
    done > codes
    [[ $(registry_status /v2/) == 200 ]]
    wait
    [[ $(sort -u codes) == 401 ]]
}

@test "too many uploads of one user are 429" {
    registry_user greedy
    registry_grant greedy '*' push
    limit=$(sed -n 's/^  uploadsPerUser: //p' "$REGISTRY_DIR/registry.yaml")
    REGISTRY_USER=greedy REGISTRY_PASSWORD=greedy-password
    url="https://$REGISTRY_HOST/v2/g/app/blobs/uploads/"
    for ((i = 0; i < limit + 1; i++)); do echo "url = $url"; echo 'output = /dev/null'; done > config
    curl -sS --cacert "$REGISTRY_CA" -u greedy:greedy-password -X POST -w '%{http_code}\n' -K config > codes
    [[ $(grep -c 202 codes) == "$limit" && $(tail -n 1 codes) == 429 ]]
    REGISTRY_USER=admin REGISTRY_PASSWORD=$(< "$REGISTRY_DIR/admin-password")
    [[ $(registry_status -X POST /v2/g/app/blobs/uploads/) == 202 ]]
}

@test "silent connections do not take the descriptors that answers need" {
    (
        REGISTRY_DIR=$BATS_TEST_TMPDIR/few
        hard=$(ulimit -Hn)
        ulimit -Sn 80
        registry_start "$REGISTRY_DIR"
        ulimit -Sn "$hard"
        for i in $(seq 100); do
            exec {fd}<> "/dev/tcp/127.0.0.1/$REGISTRY_PORT"
        done
        status=$(registry_status /v2/_catalog)
        registry_stop
        [[ $status == 200 ]]
    )
}

@test "where few files may be open, fewer connections are taken" {
    (
        REGISTRY_DIR=$BATS_TEST_TMPDIR/few
        ulimit -n 100
        registry_start "$REGISTRY_DIR"
        for i in $(seq 80); do
            { exec {fd}<> "/dev/tcp/127.0.0.1/$REGISTRY_PORT"; } 2> /dev/null || break
        done
        open=$(find "/proc/$REGISTRY_PID/fd" -mindepth 1 | wc -l)
        registry_stop
        grep 'at most 9 of 8192 connections' "$REGISTRY_DIR/log"
        [[ $open -lt 60 ]]
    )
}

@test "a form that never ends is cut off" {
    {
        printf 'POST /v2/m/app/_trust/tuf/ HTTP/1.1\r\nHost: x\r\n%s\r\n' "$AUTH"
        printf 'Content-Type: multipart/form-data; boundary=end\r\nTransfer-Encoding: chunked\r\n\r\n'
        printf '4f\r\n--end\r\nContent-Disposition: form-data; name="files"; filename="root"\r\n\r\n12345\r\n'
        for _ in $(seq 64); do
            printf '100000\r\n'
            head -c 1048576 /dev/zero
            printf '\r\n'
        done
        echo > all-sent
    } | timeout 60 openssl s_client -quiet -connect "$REGISTRY_HOST" -CAfile "$REGISTRY_CA" > /dev/null 2>&1 || true
    [[ ! -e all-sent ]]
}

@test "referrers come in pages of bounded size, whatever their annotations hold" {
    printf '{}' > config
    push_blob m/ref config
    subject=sha256:$(printf '%064d' 0)
    head -c 3000000 /dev/zero | tr '\0' x > long
    for i in 1 2 3; do
        printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":"a/%s","config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"%s","size":2},"layers":[],"subject":{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"%s","size":5},"annotations":{"a":"%s%s"}}' \
            "b&c" "$(digest_of config)" "$subject" "$i" "$(< long)" > manifest
        [[ $(registry_status -X PUT -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' \
            --data-binary @manifest "/v2/m/ref/manifests/$(digest_of manifest)") == 201 ]]
    done
    next="/v2/m/ref/referrers/$subject?artifactType=a/b%26c"
    for page in 1 2 3; do
        [[ -n $next ]]
        registry_curl -D headers "$next" > "page$page"
        [[ $(wc -c < "page$page") -lt 5000000 && $(jq '.manifests | length' "page$page") == 1 ]]
        grep -qi '^oci-filters-applied: artifactType' headers
        next=$(sed -n 's/^link: <\(.*\)>; rel="next"\r$/\1/Ip' headers)
    done
    [[ -z $next ]]
    [[ $(cat page? | jq -r '.manifests[].digest' | sort -u | wc -l) == 3 ]]
}
