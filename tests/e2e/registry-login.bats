# Ways to log in: guessing is slow and locks nobody out, client certificates, a public name.

bats_require_minimum_version 1.5.0

# certificate NAME PURPOSE [CA [OPTION…]]: NAME.crt and NAME.key, signed by CA (default: clients).
certificate() {
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$1.key" -subj "/CN=$1" -out "$1.csr" 2> /dev/null
    printf 'extendedKeyUsage=%s\n' "$2" > "$1.ext"
    openssl x509 -req -in "$1.csr" -CA "${3:-clients}.crt" -CAkey "${3:-clients}.key" -CAcreateserial -extfile "$1.ext" \
        "${@:4}" -out "$1.crt" 2> /dev/null
}

authority() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$1.key" -subj "/CN=$1" \
        -addext basicConstraints=critical,CA:TRUE -days 2 -out "$1.crt" 2> /dev/null
}

setup_file() {
    load ../support/registry
    cd "$BATS_FILE_TMPDIR" || return
    authority clients
    authority others
    certificate bob clientAuth
    certificate nobody clientAuth
    certificate server serverAuth
    certificate stranger clientAuth others
    certificate past clientAuth clients -days 0
    registry_init "$BATS_FILE_TMPDIR/r"
    sed -i "s|^  #clientCa: .*|  clientCa: $BATS_FILE_TMPDIR/clients.crt|" r/registry.yaml
    registry_start "$BATS_FILE_TMPDIR/r"
    BATS_TEST_TMPDIR=$BATS_FILE_TMPDIR push_image acme/app v1
    for name in bob past; do
        registry_user "$name"
        registry_grant "$name" acme/app pull
        bulla-registry user certificate add "$name" "$name.crt" --config "$REGISTRY_DIR/registry.yaml"
    done
    registry_user server
    bulla-registry user certificate add server server.crt --config "$REGISTRY_DIR/registry.yaml"
}

teardown_file() {
    load ../support/registry
    registry_stop
}

setup() {
    load ../support/registry
    cd "$BATS_FILE_TMPDIR" || return
}

registry() {
    bulla-registry "$@" --config "$REGISTRY_DIR/registry.yaml"
}

status() { # CURL-OPTION… PATH
    curl -sS --cacert "$REGISTRY_CA" -o /dev/null -w '%{http_code}' "${@:1:$#-1}" "https://$REGISTRY_HOST${*: -1}"
}

as() { # CERTIFICATE [CURL-OPTION…] PATH
    status --cert "$1.crt" --key "$1.key" "${@:2}"
}

@test "a certificate stands for a user" {
    url=/v2/acme/app/manifests/v1
    [[ $(as bob $url) == 200 && $(as bob /v2/) == 200 ]]
    [[ $(as bob -X POST /v2/acme/app/blobs/uploads/) == 403 ]]
    t=$(curl -sS --cacert "$REGISTRY_CA" --cert bob.crt --key bob.key \
        "https://$REGISTRY_HOST/auth/token?scope=repository:acme/app:pull" | jq -r .token)
    [[ $(status -H "Authorization: Bearer $t" $url) == 200 ]]
    [[ $(as bob -u bob:wrong-password $url) == 401 ]] # what is said counts
    [[ $(as nobody $url) == 401 ]]                    # vouched for, and nobody's
    [[ $(status $url) == 401 && $(registry_status $url) == 200 ]]
    registry user disable bob
    [[ $(as bob $url) == 401 ]]
    registry user enable bob
    [[ $(as bob $url) == 200 ]]
}

@test "a certificate that is not good says so" {
    sleep 1.1 # "past" is good to the end of the second it was made in
    for name in server stranger past; do
        run curl -sS --cacert "$REGISTRY_CA" --cert "$name.crt" --key "$name.key" "https://$REGISTRY_HOST/v2/acme/app/manifests/v1"
        # TLS may refuse it before HTTP does.
        [[ $status != 0 || $output == *"client certificate is not accepted"* ]] || { echo "$name: $output"; return 1; }
        [[ $output != *schemaVersion* ]]
    done
    # Its owner has other ways.
    [[ $(as past -u past:past-password /v2/acme/app/manifests/v1) == 200 || $(status -u past:past-password /v2/) == 200 ]]
}

@test "certificates: added once, listed, removed" {
    run registry user certificate add bob bob.crt
    [[ $status == 3 && $output == *"already"* ]]
    run registry user certificate add nobody-such nobody.crt
    [[ $status == 3 ]]
    run registry user certificate add bob bob.key
    [[ $status == 1 && $output == *"no certificate"* ]]
    run registry user certificate add bob missing.crt
    [[ $status == 3 ]]
    print=$(openssl x509 -in nobody.crt -noout -fingerprint -sha256 | cut -d = -f 2)
    registry user certificate add bob "$print"
    [[ $(as nobody /v2/acme/app/manifests/v1) == 200 ]]
    [[ $(registry user certificate list --json | jq -r '[.[] | select(.user == "bob")] | length') == 2 ]]
    registry user certificate remove nobody.crt
    [[ $(as nobody /v2/acme/app/manifests/v1) == 401 ]]
    run registry user certificate remove nobody.crt
    [[ $status == 3 ]]
}

@test "a file without authorities does not start a server" {
    cp -r r broken
    sed -i "s|^  clientCa: .*|  clientCa: $PWD/r/registry.yaml|" broken/registry.yaml
    run timeout 20 bulla-registry serve --config broken/registry.yaml
    [[ $status == 1 && $output == *"tls.clientCa"*"no certificate"* ]]
}

# guess USER FROM: one wrong password; prints the status.
guess() {
    status --interface "$2" -u "$1:wrong-password" /v2/
}

@test "guessing is slowed for one user from one address, with Retry-After, and stays there" {
    registry_user gina
    for i in $(seq 12); do guess gina 127.0.0.3; echo; done > codes
    [[ $(head -n 10 codes | sort -u) == 401 && $(tail -n 1 codes) == 429 ]]
    run curl -sS -i --interface 127.0.0.3 --cacert "$REGISTRY_CA" -u gina:wrong-password "https://$REGISTRY_HOST/v2/"
    [[ $output == *"429 "* && $output == *TOOMANYREQUESTS* ]]
    wait=$(tr -d '\r' <<< "$output" | sed -n 's/^retry-after: //Ip')
    [[ $wait -ge 1 && $wait -le 6 ]]
    # The right password from there has to wait, too; from elsewhere it does not, nor do others there.
    [[ $(status --interface 127.0.0.3 -u gina:gina-password /v2/) == 429 ]]
    [[ $(status --interface 127.0.0.4 -u gina:gina-password /v2/) == 200 ]]
    [[ $(status --interface 127.0.0.3 -u bob:bob-password /v2/) == 200 ]]
    [[ $(status --interface 127.0.0.3 -d grant_type=password -d username=gina -d password=wrong-password /auth/token) == 429 ]]
    sleep $((wait + 1))
    [[ $(status --interface 127.0.0.3 -u gina:gina-password /v2/) == 200 ]]
}

@test "one address with many names is slowed as well; who logged in there goes on" {
    [[ $(status --interface 127.0.0.5 -u bob:bob-password /v2/) == 200 ]]
    for i in $(seq 50); do guess "made-up-$i" 127.0.0.5; echo; done > codes
    [[ $(grep -c 429 codes) -ge 1 && $(grep -c 401 codes) -ge 40 ]]
    [[ $(status --interface 127.0.0.5 -u bob:bob-password /v2/) == 200 ]]
    registry user passwd bob --password-stdin <<< bob-password # what was remembered is forgotten
    [[ $(status --interface 127.0.0.5 -u bob:bob-password /v2/) == 200 ]]
}

@test "unknown, disabled and known users: one answer, one time" {
    registry_user hugo
    registry_user idle
    registry user disable idle
    ask() { # USER:PASSWORD FILE
        curl -sS --interface 127.0.0.6 -D - --cacert "$REGISTRY_CA" -u "$1" "https://$REGISTRY_HOST/v2/" |
            sed '/^[Dd]ate/d; /^[Xx]-[Rr]equest-[Ii]d/d; s/"requestId":"[0-9a-f]*"//' > "$2"
    }
    # Processor time, which others on this machine do not change as they do time on the wall.
    work() { awk '{ print $14 + $15 }' "/proc/$REGISTRY_PID/stat"; }
    spend() { # USER:PASSWORD FILE: hundredths of seconds for nine attempts
        local before
        before=$(work)
        for _ in $(seq 9); do ask "$@"; done
        echo $(($(work) - before))
    }
    known=$(spend hugo:wrong-password known)
    unknown=$(spend nobody-such:wrong-password unknown)
    disabled=$(spend idle:idle-password disabled)
    echo "# nine attempts: known ${known}0 ms, unknown ${unknown}0 ms, disabled ${disabled}0 ms" >&3
    cmp known unknown && cmp known disabled
    ((known >= 9))
    for other in $unknown $disabled; do
        ((other * 10 >= known * 6 && known * 10 >= other * 6))
    done
}

@test "a flood of guesses is answered or sent away, and the known are served meanwhile" {
    [[ $(status -u bob:bob-password /v2/) == 200 ]]
    for i in $(seq 60); do
        guess "flood-$i" "127.0.1.$i" &
        echo
    done > codes
    start=$(date +%s%N)
    [[ $(status -u bob:bob-password /v2/acme/app/manifests/v1) == 200 ]]
    took=$((($(date +%s%N) - start) / 1000000))
    wait
    echo "# served in $took ms beside 60 guesses" >&3
    [[ $(grep -o '[0-9]\{3\}' codes | sort -u | tr '\n' ' ') =~ ^401\ (429\ )?$ ]]
    high=$(sed -n 's/^VmHWM:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$REGISTRY_PID/status")
    echo "# at most $((high / 1024)) MiB resident" >&3
}

@test "a public name stands in every challenge" {
    cp -r r named
    sed -i 's|^  #publicUrl: .*|  publicUrl: https://registry.example:8443/|; s|^listen: .*|listen: "127.0.0.1:0"|' named/registry.yaml
    (
        registry_start "$PWD/named"
        run curl -sS -i --cacert "$REGISTRY_CA" -H 'Host: evil.example' "https://$REGISTRY_HOST/v2/"
        registry_stop
        [[ $output == *'Bearer realm="https://registry.example:8443/auth/token",'* && $output != *evil* ]]
    )
}
