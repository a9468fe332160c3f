# Power loss: whatever the disk kept of what was not synced, everything acknowledged is there afterwards.

setup_file() {
    # The preloaded library must come before the sanitizer's.
    export ASAN_OPTIONS=${ASAN_OPTIONS:-}:verify_asan_link_order=0 PYTHONDONTWRITEBYTECODE=1
    export TOOLS=$BATS_TEST_DIRNAME/../tools
    timeout 300 python3 "$TOOLS/power_loss.py" "$BATS_FILE_TMPDIR" "$BULLA_BUILD/bin/disk-shim.so" \
        > "$BATS_FILE_TMPDIR/verdict" || true
}

@test "each disk that a power cut may leave opens, with all that was acknowledged and takes more" {
    output=$(< "$BATS_FILE_TMPDIR/verdict")
    echo "$output"
    [[ $output =~ ([0-9]+)\ steps,\ ([0-9]+)\ disks,\ ([0-9]+)\ of\ them\ served ]]
    ((BASH_REMATCH[1] > 200 && BASH_REMATCH[2] > 800 && BASH_REMATCH[3] >= 10))
    [[ $output == *" 15 things acknowledged;"*" 0 findings"* ]]
}

@test "before the answer: bytes synced, then the name, then its folder, then the index" {
    # The first push: its steps up to the first message that follows the index's sync.
    python3 - "$TOOLS" "$BATS_FILE_TMPDIR" << 'EOF'
import os, re, sys
sys.path.insert(0, sys.argv[1])
from power_loss import read_record
folder = os.path.realpath(sys.argv[2])
steps = [" ".join(s[:3]) for s in read_record(folder + "/record", folder + "/registry/data")]
order = [r"write uploads/\w{32} -", r"sync uploads/\w{32} -", r"rename uploads/\w{32} blobs/sha256/..",
         r"sync blobs/sha256/.. -", r"write index.db-wal -", r"sync index.db-wal -", r"send - -"]
at = 0
for pattern in order:
    while at < len(steps) and not re.match(pattern, steps[at]):
        assert pattern == order[0] or not re.match(order[-1], steps[at]), f"answered before {pattern}"
        at += 1
    assert at < len(steps), f"no {pattern}"
EOF
}
