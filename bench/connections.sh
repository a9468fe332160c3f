#!/usr/bin/env bash
# bench/connections.sh [BUILD-DIR] [SEED] [CONNECTIONS] [PUSHES] [MIB]: memory of bulla-registry when it is idle, under
# parallel pushes, and with thousands of idle TLS connections, each beside its budget. Exits 1 where one is missed.
set -euo pipefail
build=$(cd "${1:-build/release}" && pwd)
seed=${2:-1} connections=${3:-5000} pushes=${4:-100} mib=${5:-64}
PATH=$build/bin:$PATH
here=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=tests/support/registry.bash
source "$here/tests/support/registry.bash"

work=$(mktemp -d)
child=''
finish() {
    [[ -z $child ]] || { kill "$child" && wait "$child"; } 2> /dev/null || true
    registry_stop
    rm -rf "$work"
}
trap finish EXIT
command -v connections > /dev/null || { echo "build the target 'connections' first" >&2; exit 3; }
[[ $(ulimit -Hn) -ge $((connections + 4000)) ]] || echo "only $(ulimit -Hn) files may be open: fewer connections will fit" >&2

registry_init "$work/r"
sed -i 's/^  connectionsPerAddress: .*/  connectionsPerAddress: 8192/; s/^  idleTimeout: .*/  idleTimeout: 10m/' "$work/r/registry.yaml"
registry_start "$work/r"
status_file=/proc/$REGISTRY_PID/status
missed=0

memory() { # FIELD: in MB
    awk -v f="$1:" '$1 == f { printf "%.1f", $2 / 1024 }' "$status_file"
}

report() { # WHAT VALUE UNIT BUDGET
    local verdict=ok
    awk -v v="$2" -v b="$4" 'BEGIN { exit !(v <= b) }' || { verdict=MISSED missed=1; }
    printf '%-46s %10s %-3s (budget %s) %s\n' "$1" "$2" "$3" "$4" "$verdict"
}

fresh_peak() { # the kernel's memory of the largest resident size begins anew
    echo 5 > "/proc/$REGISTRY_PID/clear_refs" 2> /dev/null || true
}

echo "seed $seed"
# Idle is after some work, a second later.
for _ in 1 2 3 4 5; do registry_curl -o /dev/null /v2/; done
printf '{}' > "$work/blob"
BATS_TEST_TMPDIR=$work push_image bench/app v1 > /dev/null
sleep 1
report 'idle, resident' "$(memory VmRSS)" MB 20
report 'idle, anonymous' "$(memory RssAnon)" MB 6

header="Basic $(printf '%s:%s' "$REGISTRY_USER" "$REGISTRY_PASSWORD" | base64 -w 0)"
fresh_peak
connections 127.0.0.1 "$REGISTRY_PORT" push "$pushes" $((mib << 20)) "$seed" bench/push "$header" > "$work/pushed" || true
grep "^pushed $pushes of" "$work/pushed" || { cat "$work/pushed"; missed=1; }
report "$pushes parallel pushes of $mib MiB, peak resident" "$(memory VmHWM)" MB 96
sleep 2
printf '%-46s %10s MB\n' 'afterwards, resident' "$(memory VmRSS)"

fresh_peak
mkfifo "$work/in"
connections 127.0.0.1 "$REGISTRY_PORT" idle "$connections" "$seed" < "$work/in" > "$work/idle" &
child=$!
exec 6> "$work/in"
for _ in $(seq 1200); do grep -q '^open' "$work/idle" && break; sleep 0.1; done
grep "^open $connections\$" "$work/idle" || { cat "$work/idle"; missed=1; }
report "$connections idle TLS connections, resident" "$(memory VmRSS)" MB 600
echo ask >&6
for _ in $(seq 100); do grep -q '^median' "$work/idle" && break; sleep 0.1; done
report "$connections idle, an answer on one of them (median)" "$(awk '/^median/ { print $2 }' "$work/idle")" ms 50
report "$connections idle, the slowest of 200" "$(awk '/^median/ { print $4 }' "$work/idle")" ms 50
[[ $(awk '/^median/ { print $6 }' "$work/idle") == 0 ]] || { echo 'some were not answered'; missed=1; }
start=$EPOCHREALTIME
[[ $(registry_status /healthz) == 200 ]]
report "$connections idle, a new connection's answer" "$(awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", (b - a) * 1000 }')" ms 50
exec 6>&-
wait "$child" || true
child=''
sleep 2
printf '%-46s %10s MB\n' 'after they left, resident' "$(memory VmRSS)"
exit "$missed"
