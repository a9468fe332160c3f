"""The trust store after a process ended between any two of its writes, or the power went.

trust_power.py TRUST RECORD COMMAND…: TRUST is a store from before, RECORD what a refresh then did to it
(tests/tools/disk_shim.c). For each point of the record the store is laid out as it may be found afterwards
(power_loss.py), and COMMAND, which must end with 0, is run on it.
"""
import os
import random
import subprocess
import sys

sys.path.insert(0, os.path.dirname(__file__))
from power_loss import Disk, lay_out, read_record  # noqa: E402


def main():
    trust, record, command = os.path.realpath(sys.argv[1]), sys.argv[2], sys.argv[3:]
    steps, disk, seen, failed = read_record(record, trust), Disk(trust), set(), 0
    disk.synced, disk.pending = dict(disk.now), {}  # what was there before is safe, folders too
    for point, step in enumerate(steps, 1):
        disk.step(*step)
        for kind, state in disk.states(random.Random(0)):
            key = hash(frozenset(state.items()))
            if step[0] == "send" or kind not in ("synced", "all") or key in seen:
                continue
            seen.add(key)
            lay_out(state, trust)
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            if done.returncode:
                failed += 1
                print(f"after step {point} ({' '.join(map(str, step[:4]))}), {kind}: {done.stdout[-500:]}")
                if failed == 3:
                    return 1
    print(f"{len(steps)} steps, {len(seen)} stores, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
