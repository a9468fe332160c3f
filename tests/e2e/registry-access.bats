# Who may do what, over HTTPS: the token flow, what voids tokens, groups, API tokens, what strangers see.

bats_require_minimum_version 1.5.0

setup_file() {
    load ../support/registry
    registry_start "$BATS_FILE_TMPDIR/r"
    mkdir "$BATS_FILE_TMPDIR/certs"
    cp "$REGISTRY_CA" "$BATS_FILE_TMPDIR/certs/ca.crt"
    export CERTS=$BATS_FILE_TMPDIR/certs
    BATS_TEST_TMPDIR=$BATS_FILE_TMPDIR push_image acme/app v1
    BATS_TEST_TMPDIR=$BATS_FILE_TMPDIR push_image acme/apple v1
    BATS_TEST_TMPDIR=$BATS_FILE_TMPDIR push_image public/app v1
    registry_user bob
    registry_grant bob acme/app pull,push
    registry_grant anonymous 'public/*' pull
}

teardown_file() {
    load ../support/registry
    registry_stop
}

setup() {
    load ../support/registry
    cd "$BATS_TEST_TMPDIR" || return
}

# What was to be seen nowhere is seen nowhere, whatever the test.
teardown() {
    run ! grep -aEq 'bob-password|Ym9iOmJvYi1wYXNzd29yZA|eyJhbGciOi|bulla_[0-9a-f]{16}_' "$REGISTRY_DIR/log"
    run ! grep -raEq 'bob-password|eyJhbGciOi|bulla_[0-9a-f]{16}_' "$REGISTRY_DIR/data/audit"
}

registry() {
    bulla-registry "$@" --config "$REGISTRY_DIR/registry.yaml"
}

plain() { # CURL-OPTION… PATH: without credentials
    curl -sS --cacert "$REGISTRY_CA" "${@:1:$#-1}" "https://$REGISTRY_HOST${*: -1}"
}

status() {
    plain -o /dev/null -w '%{http_code}' "$@"
}

# token USER:PASSWORD SCOPE…: a Bearer token; USER:PASSWORD "" for nobody.
token() {
    local credentials=() scope
    [[ -z $1 ]] || credentials=(-u "$1")
    for scope in "${@:2}"; do credentials+=(--data-urlencode "scope=$scope"); done
    plain -G "${credentials[@]}" /auth/token | jq -r .token
}

with() { # TOKEN [CURL-OPTION…] PATH: status
    status -H "Authorization: Bearer $1" "${@:2}"
}

claims() {
    local part
    part=$(cut -d . -f 2 <<< "$1" | tr '_-' '/+')
    while ((${#part} % 4)); do part+="="; done
    base64 -d <<< "$part"
}

challenge() { # CURL-OPTION… PATH: of a 401
    plain -o /dev/null -D - "$@" | tr -d '\r' | sed -n 's/^www-authenticate: //Ip'
}

@test "one challenge, with the scope that the request needs" {
    realm='Bearer realm="https://'$REGISTRY_HOST'/auth/token",service="bulla-registry"'
    [[ $(challenge /v2/) == "$realm" ]]
    [[ $(challenge /v2/acme/app/manifests/v1) == "$realm,scope=\"repository:acme/app:pull\"" ]]
    [[ $(challenge -X POST /v2/acme/app/blobs/uploads/) == "$realm,scope=\"repository:acme/app:pull,push\"" ]]
    [[ $(challenge -X POST "/v2/acme/app/blobs/uploads/?mount=sha256:$(printf %064d 0)&from=public/app") == "$realm,scope=\"repository:acme/app:pull,push repository:public/app:pull\"" ]]
    [[ $(challenge -X DELETE /v2/acme/app/manifests/v1) == "$realm,scope=\"repository:acme/app:delete\"" ]]
    [[ $(challenge -X POST -F files=x /v2/acme/app/_trust/tuf/) == "$realm,scope=\"repository:acme/app:pull,sign,admin\"" ]]
    [[ $(challenge /v2/nothing/here/tags/list) == "$realm,scope=\"repository:nothing/here:pull\"" ]]
    [[ $(challenge -u bob:wrong-password /v2/) == "$realm" ]]
    [[ $(challenge -H 'Authorization: Bearer nonsense' /v2/) == "$realm,error=\"invalid_token\"" ]]
}

@test "the realm follows the name the client uses, and nothing else gets into it" {
    [[ $(challenge -H 'Host: registry.example:5000' /v2/) == 'Bearer realm="https://registry.example:5000/auth/token",'* ]]
    [[ $(challenge -H 'Host: [::1]:5000' /v2/) == 'Bearer realm="https://[::1]:5000/auth/token",'* ]]
    for host in 'a"b' 'a,b' 'user@host' 'a b' 'a/b' 'a:b' 'a?x' 'a\b' '[::1' 'a:99999' 'ä' 'a:1,error="x"'; do
        [[ $(status -H "Host: $host" /v2/) == 400 ]] || { echo "$host"; return 1; }
        [[ -z $(challenge -H "Host: $host" /v2/) ]]
    done
}

@test "a token does what was asked for and granted, and no more" {
    t=$(token bob:bob-password repository:acme/app:pull,push,delete repository:acme/apple:pull)
    [[ $(claims "$t" | jq -c .access) == '[{"type":"repository","name":"acme/app","actions":["pull","push"]}]' ]]
    [[ $(with "$t" /v2/acme/app/manifests/v1) == 200 ]]
    [[ $(with "$t" -X POST /v2/acme/app/blobs/uploads/) == 202 ]]
    [[ $(with "$t" /v2/) == 200 ]]
    [[ $(with "$t" -X DELETE /v2/acme/app/manifests/v1) == 403 ]]
    [[ $(with "$t" /v2/acme/apple/manifests/v1) == 403 ]]
    [[ $(with "$t" /v2/acme/ap/tags/list) == 403 ]]
    t=$(token bob:bob-password repository:acme/app:pull)
    [[ $(with "$t" -X POST /v2/acme/app/blobs/uploads/) == 401 ]]
    run challenge -H "Authorization: Bearer $t" -X POST /v2/acme/app/blobs/uploads/
    [[ $output == *'scope="repository:acme/app:pull,push",error="insufficient_scope"' ]]
    [[ $(with "$t" /v2/public/app/manifests/v1) == 401 ]]
    t=$(token bob:bob-password 'repository:acme/app:*')
    [[ $(claims "$t" | jq -c '.access[0].actions') == '["pull","push"]' ]]
    [[ $(with "$t" -X POST /v2/acme/app/blobs/uploads/) == 202 ]]
    t=$(token bob:bob-password)
    [[ $(claims "$t" | jq -c '[.sub, .access]') == '["bob",[]]' ]]
    [[ $(with "$t" /v2/acme/app/manifests/v1) == 401 && $(with "$t" /v2/) == 200 ]]
}

@test "the answer has both names for the token, its life, and may not be stored" {
    run plain -i -G -u bob:bob-password --data-urlencode 'scope=repository:acme/app:pull' \
        -d service=bulla-registry -d account=bob -d client_id=docker -d offline_token=true /auth/token
    [[ $output == *"200 OK"* && $output == *[Cc]ache-[Cc]ontrol:\ no-store* ]]
    tail -n 1 <<< "$output" | jq -e '.token == .access_token and .expires_in == 300 and .token_type == "Bearer"
        and (.issued_at | fromdateiso8601 > 1600000000) and (has("refresh_token") | not)'
    t=$(tail -n 1 <<< "$output" | jq -r .token)
    claims "$t" | jq -e '.iss == "bulla-registry" and .aud == .iss and .exp - .iat == 300 and .nbf == .iat and (.jti | length == 32)'
    [[ $(status -G -u bob:bob-password -d service=registry.docker.io /auth/token) == 400 ]]
    [[ $(status -G -u bob:bob-password -d scope=nonsense /auth/token) == 400 ]]
    [[ $(status -u bob:wrong-password /auth/token) == 401 ]]
    [[ $(status -X PUT -u bob:bob-password /auth/token) == 405 ]]
    [[ $(status -H "Authorization: Bearer $t" /auth/token) == 401 ]] # tokens do not beget tokens
}

@test "OAuth2 forms: containerd's way, and API tokens for refresh tokens" {
    form() { status "$@" /auth/token; }
    [[ $(form -d grant_type=password -d username=bob -d password=bob-password -d service=bulla-registry \
        --data-urlencode 'scope=repository:acme/app:pull repository:acme/app:push') == 200 ]]
    t=$(plain -d grant_type=password -d username=bob -d password=bob-password \
        --data-urlencode 'scope=repository:acme/app:pull repository:acme/app:push' /auth/token | jq -r .access_token)
    [[ $(with "$t" -X POST /v2/acme/app/blobs/uploads/) == 202 ]]
    [[ $(form -d grant_type=password -d username=bob -d password=wrong-password) == 401 ]]
    [[ $(form -d grant_type=password -d username=bob -d password=bob-password -d password=x) == 400 ]]
    [[ $(form -d grant_type=client_credentials -u bob:bob-password) == 400 ]]
    [[ $(form -u bob:bob-password -d x=y) == 400 ]]
    [[ $(form -H 'Content-Type: application/json' -d '{}') == 400 ]]
    head -c 20000 /dev/zero | tr '\0' a > big
    [[ $(form -d grant_type=password --data-urlencode scope@big) == 413 ]]
    api=$(registry api-token create bob)
    t=$(plain -d grant_type=refresh_token -d "refresh_token=$api" -d scope=repository:acme/app:pull /auth/token | jq -r .access_token)
    [[ $(with "$t" /v2/acme/app/manifests/v1) == 200 ]]
    [[ $(form -d grant_type=refresh_token -d refresh_token=bob-password) == 401 ]]
}

@test "whatever is taken from a user is gone at once, with a token or without" {
    registry_user carol
    registry_grant carol acme/app pull,push
    t=$(token carol:carol-password repository:acme/app:pull,push)
    url=/v2/acme/app/manifests/v1
    [[ $(with "$t" $url) == 200 ]]
    registry grant remove carol acme/app push
    [[ $(with "$t" $url) == 200 && $(with "$t" -X POST /v2/acme/app/blobs/uploads/) == 403 ]]
    registry user disable carol
    [[ $(with "$t" $url) == 401 && $(status -u carol:carol-password $url) == 401 ]]
    registry user disable carol
    [[ $(registry user list) == *"carol (disabled)"* ]]
    registry user enable carol
    [[ $(with "$t" $url) == 401 && $(status -u carol:carol-password $url) == 200 ]]
    t=$(token carol:carol-password repository:acme/app:pull)
    [[ $(with "$t" $url) == 200 ]]
    registry user passwd carol --password-stdin <<< carol-password
    [[ $(with "$t" $url) == 401 ]]
    t=$(token carol:carol-password repository:acme/app:pull)
    registry user remove carol
    registry_user carol
    registry_grant carol acme/app pull
    [[ $(with "$t" $url) == 401 ]]
    registry user remove carol
}

# b64: standard input as base64url.
b64() {
    base64 -w 0 | tr '+/' '-_' | tr -d =
}

# sign KEY-FILE HEADER CLAIMS: a token.
sign() {
    local text
    text=$(printf %s "$2" | b64).$(printf %s "$3" | b64)
    printf %s "$text" > signed
    echo "$text.$(openssl pkeyutl -sign -inkey "$1" -rawin -in signed | b64)"
}

# The server's own signing key as a PEM file, by who may read its folder.
real_key() {
    local seed
    seed=$(find "$REGISTRY_DIR/data/token-keys" -name '*.key' | sort | tail -n 1)
    { printf '\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20'; cat "$seed"; } |
        openssl pkey -inform DER -out "$1"
    basename "$seed" .key
}

@test "forged tokens, in the shapes that others took" {
    url=/v2/acme/apple/manifests/v1
    kid=$(real_key real.pem)
    openssl genpkey -algorithm ed25519 -out mine.pem
    openssl pkey -in real.pem -pubout -outform DER | tail -c 32 > public
    now=$(date +%s)
    serial=$(claims "$(token "admin:$REGISTRY_PASSWORD")" | jq .serial)
    body() { # CLAIM=VALUE… as JSON, over a good token of the admin
        jq -cn --argjson now "$now" --argjson serial "$serial" '{iss:"bulla-registry",aud:"bulla-registry",sub:"admin",
            serial:$serial,api:"",iat:$now,nbf:$now,exp:($now+300),jti:"x",
            access:[{type:"repository",name:"acme/apple",actions:["pull"]}]}'" + {${1:-}}"
    }
    header='{"alg":"EdDSA","kid":"'$kid'","typ":"JWT"}'
    # The forge works: with the right key and the right claims it is a token.
    [[ $(with "$(sign real.pem "$header" "$(body)")" $url) == 200 ]]
    [[ $(with "$(sign mine.pem "$header" "$(body)")" $url) == 401 ]]
    none=$(printf '{"alg":"none","kid":"%s","typ":"JWT"}' "$kid" | b64).$(body | tr -d '\n' | b64)
    [[ $(with "$none." $url) == 401 && $(with "$none" $url) == 401 ]]
    hs=$(printf '{"alg":"HS256","kid":"%s","typ":"JWT"}' "$kid" | b64).$(body | tr -d '\n' | b64)
    mac=$(printf %s "$hs" | openssl dgst -sha256 -mac HMAC -macopt "hexkey:$(od -An -v -tx1 public | tr -d ' \n')" -binary | b64)
    [[ $(with "$hs.$mac" $url) == 401 ]]
    jwk=$(openssl pkey -in mine.pem -pubout -outform DER | tail -c 32 | b64)
    for extra in '"jwk":{"kty":"OKP","crv":"Ed25519","x":"'"$jwk"'"}' '"jku":"https://evil.example/keys"' '"x5c":["MIIB"]' '"crit":["exp"]'; do
        [[ $(with "$(sign mine.pem "${header%\}},$extra}" "$(body)")" $url) == 401 ]]
        [[ $(with "$(sign real.pem "${header%\}},$extra}" "$(body)")" $url) == 401 ]]
    done
    [[ $(with "$(sign real.pem '{"alg":"EdDSA","kid":"000000000000000000000000","typ":"JWT"}' "$(body)")" $url) == 401 ]]
    # shellcheck disable=SC2016  # jq's variables
    for wrong in 'iss:"other"' 'aud:"other"' 'sub:"bob"' 'sub:"nobody"' 'serial:0' 'exp:($now-1)' 'exp:($now+99999)' \
        'nbf:($now+60)' 'iat:($now+60),nbf:($now+60)' 'exp:"9"' 'api:"0011223344556677"' 'jwk:1' \
        'access:[{type:"repository",name:"acme/app",actions:["pull"]}]' \
        'access:[{type:"repository",name:"acme/*",actions:["pull"]}]' \
        'access:[{type:"repository",name:"acme/apple",actions:["push"]}]'; do
        [[ $(with "$(sign real.pem "$header" "$(body "$wrong")")" $url) == 401 ]] || { echo "$wrong"; return 1; }
    done
    # A good one of bob's, for his repository and for another whose name begins alike.
    good=$(token bob:bob-password repository:acme/app:pull)
    [[ $(with "$good" /v2/acme/app/manifests/v1) == 200 && $(with "$good" $url) == 403 ]]
    for i in 1 40 100 $((${#good} - 40)) $((${#good} - 1)); do
        c=${good:i:1} d=A
        [[ $c != A ]] || d=B
        [[ $(with "${good:0:i}$d${good:i+1}" /v2/acme/app/manifests/v1) == 401 ]]
        [[ $(with "${good:0:i}" /v2/acme/app/manifests/v1) == 401 ]]
    done
    [[ $(with "$good$(head -c 20000 /dev/zero | tr '\0' A)" /v2/acme/app/manifests/v1) == 401 ]]
    [[ $(status -H "Authorization: bearer  $good" /v2/acme/app/manifests/v1) == 200 ]]
}

@test "the signing key: its owner's alone, replaced while the server runs" {
    keys=$REGISTRY_DIR/data/token-keys
    [[ $(stat -c %a "$keys") == 700 && $(stat -c %a "$keys"/*.key | sort -u) == 600 ]]
    t=$(token bob:bob-password repository:acme/app:pull)
    run registry token-key rotate
    [[ $status == 0 && $output == "new tokens are signed by "* ]]
    kid=${output##* }
    [[ $(registry token-key list --json | jq -r '.[0].key') == "$kid" ]]
    sleep 1.1
    fresh=$(token bob:bob-password repository:acme/app:pull)
    [[ $(cut -d . -f 1 <<< "$fresh" | tr '_-' '/+' | base64 -d 2> /dev/null) == *"$kid"* ]]
    [[ $(with "$t" /v2/acme/app/manifests/v1) == 200 && $(with "$fresh" /v2/acme/app/manifests/v1) == 200 ]]
    # Two at once are two keys.
    registry token-key rotate --json > one & registry token-key rotate --json > two
    wait
    [[ $(jq -r .key one) != $(jq -r .key two) ]]
    [[ $(with "$fresh" /v2/acme/app/manifests/v1) == 200 ]]
}

@test "commands run by root leave the folder's account its files" {
    data=$BATS_TEST_TMPDIR/owned
    registry_init "$data"
    chown -R nobody "$data/data"
    for words in 'token-key rotate' 'token-key list' 'group add g' 'user disable admin' 'api-token create admin'; do
        # shellcheck disable=SC2086
        bulla-registry $words --config "$data/registry.yaml" > /dev/null
    done
    [[ -z $(find "$data/data" ! -user nobody) ]] || { find "$data/data" ! -user nobody; return 1; }
}

@test "groups give rights to their members, and take them along" {
    registry_user dora
    registry group add builders
    run registry group add builders
    [[ $status == 3 && $output == *"exists already"* ]]
    registry_grant group:builders 'acme/*' pull
    run registry grant add group:bilders 'acme/*' pull
    [[ $status == 3 && $output == *"no group 'bilders'"* ]]
    code() { status -u dora:dora-password /v2/acme/apple/manifests/v1; }
    [[ $(code) == 403 ]]
    run registry group member add builders nobody
    [[ $status == 3 ]]
    registry group member add builders dora
    [[ $(code) == 200 ]]
    [[ $(registry group list --json | jq -c .) == '[{"group":"builders","user":"dora"}]' ]]
    t=$(token dora:dora-password repository:acme/apple:pull)
    registry group member remove builders dora
    [[ $(code) == 403 && $(with "$t" /v2/acme/apple/manifests/v1) == 403 ]]
    registry group member add builders dora
    registry group remove builders
    [[ $(code) == 403 && $(registry grant list) != *builders* ]]
    run registry group remove builders
    [[ $status == 3 ]]
    run registry group add 'a/b'
    [[ $status == 2 ]]
}

@test "API tokens: shown once, narrow, and no older than allowed" {
    run registry api-token create bob --expires 1h --repository 'acme/*' --actions pull --json
    [[ $status == 0 ]]
    api=$(jq -r .token <<< "$output") id=$(jq -r .id <<< "$output")
    run ! grep -raqF "$api" "$REGISTRY_DIR/data"
    run ! grep -raqF "${api##*_}" "$REGISTRY_DIR/data"
    [[ $(registry api-token list) == *"$id bob"*"acme/"*pull* && $(registry api-token list) != *"${api##*_}"* ]]
    use() { status -u "bob:$api" "$@"; }
    [[ $(use /v2/acme/app/manifests/v1) == 200 && $(use -X POST /v2/acme/app/blobs/uploads/) == 403 ]]
    [[ $(use /v2/public/app/manifests/v1) == 403 ]] # outside its pattern, whatever everybody may
    [[ $(status -u "admin:$api" /v2/) == 401 && $(status -u "bob:${api%?}" /v2/) == 401 ]]
    t=$(token "bob:$api" repository:acme/app:pull,push)
    [[ $(claims "$t" | jq -c '.access[0].actions') == '["pull"]' && $(with "$t" /v2/acme/app/manifests/v1) == 200 ]]
    skopeo inspect --cert-dir "$CERTS" --creds "bob:$api" "docker://$REGISTRY_HOST/acme/app:v1" > /dev/null
    registry api-token revoke "$id"
    [[ $(use /v2/) == 401 && $(with "$t" /v2/acme/app/manifests/v1) == 401 ]]
    run registry api-token revoke "$id"
    [[ $status == 3 ]]
    run registry api-token revoke nonsense
    [[ $status == 2 ]]
    run registry api-token create bob --expires 91d
    [[ $status == 2 && $output == *apiTokenMaxLifetime* ]]
    run registry api-token create bob --expires soon
    [[ $status == 2 ]]
    run registry api-token create nobody
    [[ $status == 3 ]]
    run registry api-token create anonymous
    [[ $status == 2 ]]
    api=$(registry api-token create bob --expires 2s)
    t=$(token "bob:$api" repository:acme/app:pull)
    [[ $(use /v2/) == 200 ]]
    sleep 2.1
    [[ $(use /v2/) == 401 && $(with "$t" /v2/acme/app/manifests/v1) == 401 ]]
}

@test "strangers read what is public, by the token flow and without it" {
    t=$(token '' repository:public/app:pull,push repository:acme/app:pull)
    [[ $(claims "$t" | jq -c .access) == '[{"type":"repository","name":"public/app","actions":["pull"]}]' ]]
    [[ $(with "$t" /v2/public/app/manifests/v1) == 200 && $(with "$t" /v2/acme/app/manifests/v1) == 401 ]]
    [[ $(status /v2/public/app/manifests/v1) == 200 && $(status /v2/acme/app/manifests/v1) == 401 ]]
    skopeo copy -q --src-cert-dir "$CERTS" --src-no-creds "docker://$REGISTRY_HOST/public/app:v1" dir:out
    [[ $(status -u bob:bob-password /v2/public/app/manifests/v1) == 200 ]] # everybody's is bob's, too
}

@test "lists show what one may see" {
    for name in other/a other/b; do push_image "$name" v1; done
    [[ $(plain -u bob:bob-password /v2/_catalog | jq -c .repositories) == '["acme/app","public/app"]' ]]
    [[ $(plain -u bob:bob-password '/v2/_catalog?n=1' | jq -c .repositories) == '["acme/app"]' ]]
    [[ $(plain -u bob:bob-password '/v2/_catalog?last=acme/app' | jq -c .repositories) == '["public/app"]' ]]
    [[ $(plain /v2/_catalog | jq -c .repositories) == '["public/app"]' ]]
    [[ $(status -u bob:bob-password /v2/other/a/tags/list) == 403 && $(status /v2/other/a/tags/list) == 401 ]]
    t=$(token bob:bob-password 'registry:catalog:*')
    [[ $(plain -H "Authorization: Bearer $t" /v2/_catalog | jq -c .repositories) == '["acme/app","public/app"]' ]]
    t=$(token bob:bob-password repository:acme/app:pull)
    [[ $(with "$t" /v2/_catalog) == 401 ]]
    [[ $(challenge -H "Authorization: Bearer $t" /v2/_catalog) == *'scope="registry:catalog:*",error="insufficient_scope"' ]]
    api=$(registry api-token create bob --repository public/app)
    [[ $(plain -u "bob:$api" /v2/_catalog | jq -c .repositories) == '["public/app"]' ]]
    api=$(registry api-token create bob --actions push)
    [[ $(plain -u "bob:$api" /v2/_catalog | jq -c .repositories) == '[]' ]]
}

@test "blobs and uploads of others: not read, not mounted, not continued" {
    printf 'secret of apple' > blob
    digest=$(push_blob acme/apple blob)
    bob=(-u bob:bob-password)
    [[ $(status "${bob[@]}" "/v2/acme/app/blobs/$digest") == 404 ]]
    [[ $(status "${bob[@]}" -X POST "/v2/acme/app/blobs/uploads/?mount=$digest&from=acme/apple") == 202 ]]
    [[ $(status "${bob[@]}" -X POST "/v2/acme/app/blobs/uploads/?mount=$digest") == 202 ]]
    [[ $(status "${bob[@]}" "/v2/acme/app/blobs/$digest") == 404 ]]
    mine=$(registry_curl -i -X POST /v2/acme/app/blobs/uploads/ | tr -d '\r' | sed -n 's/^location: //Ip')
    for method in GET PATCH PUT DELETE; do
        [[ $(status "${bob[@]}" -X "$method" "$mine?digest=$digest") == 404 ]]
    done
    [[ $(registry_status "$mine") == 204 ]]
    # A mount from what bob may read works; his token must cover both, and the answer says so.
    printf 'of everybody' > blob
    digest=$(push_blob public/app blob)
    t=$(token bob:bob-password repository:acme/app:pull,push)
    mount="/v2/acme/app/blobs/uploads/?mount=$digest&from=public/app"
    [[ $(with "$t" -X POST "$mount") == 401 ]]
    [[ $(challenge -H "Authorization: Bearer $t" -X POST "$mount") == *'scope="repository:acme/app:pull,push repository:public/app:pull",error="insufficient_scope"' ]]
    t=$(token bob:bob-password repository:acme/app:pull,push repository:public/app:pull)
    [[ $(with "$t" -X POST "$mount") == 201 && $(with "$t" "/v2/acme/app/blobs/$digest") == 200 ]]
}

@test "signing keys are not made for repositories that nobody made" {
    registry_user signy
    registry_grant signy '*' sign,pull
    before=$(find "$REGISTRY_DIR/signer" -type f -exec sha256sum {} + | sort)
    [[ $(status -u signy:signy-password /v2/made/up/_trust/tuf/timestamp.key) == 403 ]]
    [[ $before == "$(find "$REGISTRY_DIR/signer" -type f -exec sha256sum {} + | sort)" ]]
    [[ $(status -u signy:signy-password /v2/acme/app/_trust/tuf/timestamp.key) == 200 ]]
    [[ $(registry_status /v2/made/up/_trust/tuf/timestamp.key) == 200 ]]
}

@test "skopeo and podman push and pull with tokens" {
    skopeo copy -q --src-cert-dir "$CERTS" --dest-cert-dir "$CERTS" --src-no-creds --dest-creds bob:bob-password \
        "docker://$REGISTRY_HOST/public/app:v1" "docker://$REGISTRY_HOST/acme/app:copied"
    skopeo copy -q --src-cert-dir "$CERTS" --src-creds bob:bob-password "docker://$REGISTRY_HOST/acme/app:copied" dir:back
    run skopeo copy -q --src-cert-dir "$CERTS" --src-creds bob:bob-password "docker://$REGISTRY_HOST/acme/apple:v1" dir:no
    [[ $status != 0 && $output == *denied* ]]
    run skopeo copy -q --src-cert-dir "$CERTS" --src-creds bob:wrong-password "docker://$REGISTRY_HOST/acme/app:v1" dir:no
    [[ $status != 0 && $output == *[Uu]nauthorized* || $output == *"invalid username"* ]]
    grep -q 'GET /auth/token 200' "$REGISTRY_DIR/log"
    type -P podman > /dev/null || skip "podman is not installed"
    printf '[engine]\nevents_logger = "none"\nlock_type = "file"\n' > podman.conf
    for folder in tmp_dir static_dir volume_path; do
        printf '%s = "%s"\n' "$folder" "$PWD/$folder" >> podman.conf
    done
    export CONTAINERS_CONF=$PWD/podman.conf
    podman=(podman --root "$PWD/storage" --runroot "$PWD/run" --storage-driver vfs)
    mkdir -p root/bin && cp "$(type -P busybox)" root/bin/
    tar -C root -cf root.tar .
    "${podman[@]}" import -q root.tar here:v1 > /dev/null
    "${podman[@]}" push -q --creds bob:bob-password --cert-dir "$CERTS" here:v1 "docker://$REGISTRY_HOST/acme/app:podman"
    "${podman[@]}" rmi -a -f > /dev/null
    "${podman[@]}" pull -q --creds bob:bob-password --cert-dir "$CERTS" "docker://$REGISTRY_HOST/acme/app:podman"
    run "${podman[@]}" push -q --creds bob:bob-password --cert-dir "$CERTS" "$REGISTRY_HOST/acme/app:podman" "docker://$REGISTRY_HOST/acme/apple:podman"
    [[ $status != 0 && $output == *"403"* ]]
}
