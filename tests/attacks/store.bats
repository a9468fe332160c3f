#!/usr/bin/env bats
# The trust store when a process is killed between any two of its writes, and when many use it at once.
load ../support/bulla
load ../support/forge

setup_file() {
    forge_setup_file
    export PYTHONDONTWRITEBYTECODE=1
}
teardown_file() { forge_teardown_file; }
setup() { forge_setup; }
teardown() { forge_teardown; }

# after_each_kill COMMAND…: from what is stored now on, a refresh that is killed after each of its writes; COMMAND
# must then end with 0.
after_each_kill() {
    cp -a "$BULLA_HOME/trust" "$BATS_TEST_TMPDIR/before"
    rm -f "$BATS_TEST_TMPDIR/record"
    : > "$BATS_TEST_TMPDIR/record"
    env LD_PRELOAD="$BULLA_BUILD/bin/disk-shim.so" DISK_SHIM_ROOT="$BULLA_HOME/trust" \
        DISK_SHIM_LOG="$BATS_TEST_TMPDIR/record" "$(type -P bulla)" --cacert "$REGISTRY_CA" verify "$REF"
    rm -rf "$BULLA_HOME/trust"
    cp -a "$BATS_TEST_TMPDIR/before" "$BULLA_HOME/trust"
    run python3 "$BATS_TEST_DIRNAME/../tools/trust_power.py" "$BULLA_HOME/trust" "$BATS_TEST_TMPDIR/record" "$@"
    echo "$output"
    expect 0 ' 0 failed'
    [[ $output =~ ([0-9]+)\ steps,\ ([0-9]+)\ stores ]]
    ((BASH_REMATCH[1] >= 15 && BASH_REMATCH[2] >= 8))
}

@test "killed between any two writes: the next refresh takes what is new" {
    sign_role releases 1
    release 2 ".targets = {} | $(delegate releases 'v*')"
    # Versions run ahead: only the new snapshot key below ends that, and only if it is not forgotten on the way.
    sign_snapshot 1000
    sign_timestamp 1000
    bulla verify "$REF"
    rm "$TUF/1000.snapshot.json"
    sign_root 2 "$(root_key snapshot snapshot2)"
    sign_role releases 2
    sign_targets 3 ".targets = {} | $(delegate releases 'v*')"
    sign_snapshot 3 . seed:snapshot2
    sign_timestamp 3
    after_each_kill "$(type -P bulla)" --cacert "$REGISTRY_CA" verify "$REF"
}

@test "killed between any two writes: what was known stays known" {
    cp "$TUF/timestamp.json" "$BATS_TEST_TMPDIR/old"
    release 2
    bulla verify "$REF"
    release 3
    cat > "$BATS_TEST_TMPDIR/lie" << END
cp "$BATS_TEST_TMPDIR/old" "$TUF/timestamp.json"
output=\$("$(type -P bulla)" --cacert "$REGISTRY_CA" verify "$REF" 2>&1)
[[ \$? == 1 && \$output == *"rolled back"* ]] || { echo "\$output"; exit 1; }
END
    after_each_kill bash "$BATS_TEST_TMPDIR/lie"
}

@test "many at once: a store that another process holds is waited for, and then nothing is determined" {
    bulla verify "$REF"
    lock=$(find "$BULLA_HOME/trust/state" -name lock)
    [[ -n $lock ]]
    mkfifo "$BATS_TEST_TMPDIR/end"
    flock "$lock" sh -c "echo held; read -r _ < '$BATS_TEST_TMPDIR/end'" > "$BATS_TEST_TMPDIR/held" 3>&- &
    for _ in {1..200}; do
        if grep -q held "$BATS_TEST_TMPDIR/held"; then break; fi
        sleep 0.05
    done
    # Half a minute of patience, on a faster clock.
    refused 3 'locked by another process' faketime -f '+0 x40' bulla --cacert "$REGISTRY_CA" verify "$REF"
    echo > "$BATS_TEST_TMPDIR/end"
    wait
    run bulla verify "$REF"
    expect 0 '^valid'
}

@test "many at once: one collection, new releases meanwhile, no state goes back or breaks" {
    release 2
    bulla verify "$REF"
    local i pids=()
    for i in 1 2 3 4 5 6; do
        (for _ in 1 2 3 4; do bulla verify "$REF" > "$BATS_TEST_TMPDIR/out.$i" 2>&1 || exit; done) 3>&- &
        pids+=($!)
    done
    for i in 3 4 5; do release "$i"; done
    for i in "${pids[@]}"; do wait "$i" || { tail "$BATS_TEST_TMPDIR"/out.*; false; }; done
    run bulla verify "$REF"
    expect 0 '^valid'
    [[ $(find "$BULLA_HOME/trust" -name timestamp.json -exec jq .signed.version {} +) == 5 ]]
}
