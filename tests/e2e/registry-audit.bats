# The audit log end to end: who did what is in it before anybody is told, and what was changed is found.

bats_require_minimum_version 1.5.0

setup() {
    load ../support/registry
    cd "$BATS_TEST_TMPDIR" || return
    registry_start "$BATS_TEST_TMPDIR/r"
    CONFIG=$BATS_TEST_TMPDIR/r/registry.yaml
    LOG=r/data/audit/changes-0000000000000001.jsonl
}

teardown() {
    load ../support/registry
    registry_stop
    umount "$BATS_TEST_TMPDIR/small" 2> /dev/null || true
}

verify() {
    bulla-registry audit verify --config "$CONFIG" "$@"
}

changes() {
    bulla-registry audit export --log changes --config "$CONFIG" "$@"
}

@test "who, what, where, result and request are recorded, and no secret" {
    digest=$(push_image a/app v1)
    registry_user bob
    registry_grant bob 'a/*' pull
    registry_curl -o /dev/null -D headers /v2/a/app/manifests/v1
    curl -s -o /dev/null --cacert "$REGISTRY_CA" -u bob:bob-password -X DELETE "https://$REGISTRY_HOST/v2/a/app/manifests/v1"
    curl -s -o /dev/null --cacert "$REGISTRY_CA" -u bob:wrong-password "https://$REGISTRY_HOST/v2/"
    [[ $(registry_status -X DELETE /v2/a/app/manifests/v1) == 202 ]]
    registry_stop
    changes > log
    jq -es --arg d "$digest" 'any(.[]; .event == "manifest.put" and .result == "done" and .status == 201 and
        .who == "admin" and .from == "127.0.0.1" and .repository == "a/app" and .object == "v1" and .detail == $d and
        (.request | length) > 0)' log
    jq -es 'map(select(.event == "manifest.delete" and .who == "admin") | .result) == ["begun", "done"]' log
    jq -es 'any(.[]; .event == "user.add" and .object == "bob" and .from == "local" and .who != null)' log
    jq -es 'any(.[]; .event == "grant.add" and .object == "bob" and .repository == "a/*" and .detail == "pull")' log
    jq -es 'any(.[]; .event == "login" and .result == "refused" and .status == 401)' log
    bulla-registry audit export --log access --config "$CONFIG" > access
    jq -es 'any(.[]; .event == "manifest.get" and .who == "admin" and .status == 200 and .object == "v1")' access
    jq -es 'any(.[]; .event == "manifest.delete" and .who == "bob" and .result == "refused" and .status == 403)' access
    run ! grep -rq -e "$REGISTRY_PASSWORD" -e bob-password -e wrong-password r/data/audit
    run -0 verify
}

@test "what comes from outside is escaped and cut" {
    registry_status "/v2/$(printf 'a%.0s' $(seq 3000))/manifests/x" > /dev/null
    curl -s -g -o /dev/null --cacert "$REGISTRY_CA" --path-as-is "https://$REGISTRY_HOST/v2/%22%7d%0a/../x&[]"
    registry_stop
    run -0 verify
    while read -r line; do [[ ${#line} -le 2048 ]]; done < <(cat r/data/audit/*.jsonl)
    run ! grep -qP '[^\x20-\x7e]' r/data/audit/*.jsonl
}

@test "changed, removed, moved and cut records are exit 1, named by number" {
    push_image a/app v1 > /dev/null
    registry_stop
    run -0 verify
    head=$(sed 's/^changes: .* head //;q' <<< "$output")
    run -0 verify --head "$head"
    run -1 verify --head "$(printf '0%.0s' $(seq 64))"
    run -2 verify --head nothing
    cp "$LOG" good
    sed -i '3s/admin/root /' "$LOG"
    run -1 verify
    [[ $output == *"record 3 is missing or was changed"* ]]
    run -1 verify --json
    jq -e '.verdict == "refused" and .logs.changes.verdict == "refused" and .logs.access.verdict == "valid"' \
        <<< "${output%bulla-registry:*}"
    sed 4d good > "$LOG"
    run -1 verify
    [[ $output == *"record 4 "* ]]
    sed '$d' good > "$LOG"
    run -1 verify
    [[ $output == *"the log ends before it"* ]]
    rm "$LOG"
    run -1 verify
    cp good "${LOG/01.jsonl/02.jsonl}"
    run -1 verify
    rm "${LOG/01.jsonl/02.jsonl}"
    cp good "$LOG"
    run -0 verify
}

@test "a log that was cut while the server was down stays reported" {
    push_image a/app v1 > /dev/null
    registry_stop
    sed -i '$d' "$LOG"
    registry_start "$BATS_TEST_TMPDIR/r"
    grep -q 'audit log is not the one the index knows' r/log
    registry_stop
    run -1 verify
    [[ $output == *"was not the one the index knew"* ]]
}

@test "after kill -9 under load the log is whole and has every acknowledged change" {
    # One connection, many changes; what was answered goes to a file.
    for i in $(seq 300); do
        echo "$i" > "f$i"
        printf 'url = "https://%s/v2/a/app/blobs/uploads/?digest=%s"\ndata-binary = "@f%s"\nrequest = POST\noutput = /dev/null\nwrite-out = "%%{http_code} %s\\n"\nnext\n' \
            "$REGISTRY_HOST" "$(digest_of "f$i")" "$i" "$(digest_of "f$i")"
    done | sed '$d' > many
    sed -i "s|^url|user = \"admin:$REGISTRY_PASSWORD\"\ncacert = \"$REGISTRY_CA\"\nheader = \"Content-Type: application/octet-stream\"\nurl|" many
    curl -sS -K many > done 2> /dev/null &
    while [[ $(grep -c '^201' done) -lt 60 ]]; do sleep 0.02; done
    for i in 1 2 3; do registry_user "user$i"; done & # another process appends to the same chain
    sleep 0.1
    registry_kill
    wait
    run -0 verify
    registry_start "$BATS_TEST_TMPDIR/r"
    run -0 verify
    changes > log
    [[ $(grep -c '^201' done) -lt 300 ]]
    while read -r status digest; do
        [[ $status == 201 ]] || continue
        grep -q "\"result\":\"done\",\"status\":201.*\"object\":\"$digest\"" log
    done < done
    jq -es 'any(.[]; .event == "user.add" and .result == "done")' log
}

@test "a full disk refuses changes before they happen; reading goes on, loudly" {
    registry_stop
    mkdir small
    mount -t tmpfs -o size=6m none small || skip "no mounts here"
    cp -a r/data/. small/
    sed -i "s|^dataDir: .*|dataDir: $BATS_TEST_TMPDIR/small|" "$CONFIG"
    registry_start "$BATS_TEST_TMPDIR/r"
    digest=$(push_image a/app v1)
    dd if=/dev/zero of=small/filler bs=4k status=none || true
    for i in $(seq 40); do
        code=$(registry_status -X DELETE "/v2/a/app/manifests/none$i")
        [[ $code == 503 ]] && break
    done
    [[ $code == 503 ]]
    [[ $(registry_status -X DELETE /v2/a/app/manifests/v1) == 503 ]]
    [[ $(digest_of <(registry_curl /v2/a/app/manifests/v1)) == "$digest" ]]
    grep -q 'audit log cannot be written, changes are refused' r/log
    rm small/filler
    [[ $(registry_status -X DELETE /v2/a/app/manifests/v1) == 202 ]]
    registry_stop
    run -0 verify
}

@test "export chooses by time and form; a spreadsheet finds no formula" {
    push_image a/app v1 > /dev/null
    registry_status '/v2/=cmd/x' > /dev/null
    registry_stop
    [[ $(changes --since 2100-01-01T00:00:00Z | wc -l) == 0 ]]
    [[ $(changes --until 2100-01-01T00:00:00Z | wc -l) == $(wc -l < "$LOG") ]]
    changes --csv > csv
    [[ $(head -n 1 csv) == log,seq,time,event,result,* && $(wc -l < csv) == $(($(wc -l < "$LOG") + 1)) ]]
    run ! grep -qE '(^|,)"[=+@]' csv
    run -2 changes --since yesterday
    run -2 changes --json --csv
    run -2 bulla-registry audit export --log both --config "$CONFIG"
    run -2 bulla-registry audit burn
    run -0 bulla-registry audit --help
    run -3 bulla-registry audit verify --config missing.yaml
}

@test "level changes leaves accesses out" {
    registry_stop
    sed -i '/^audit:/,/accessSize:/s/level: .*/level: changes/' "$CONFIG"
    rm -f r/data/audit/access-*
    registry_start "$BATS_TEST_TMPDIR/r"
    push_image a/app v1 > /dev/null
    registry_curl /v2/a/app/manifests/v1 > /dev/null
    registry_stop
    [[ -z $(ls r/data/audit/access-*.jsonl 2> /dev/null) ]]
    [[ -s $LOG ]]
}
