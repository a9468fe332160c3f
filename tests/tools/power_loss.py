"""Power loss, replayed: every state in which the disk may be found opens, with all that was acknowledged.

power_loss.py FOLDER SHIM [SEED]: runs a registry in FOLDER with the preloaded SHIM that records what it does to the
disk, asks it for one thing after the other, and notes at which point of the record each answer left. Then, for
each point of the record, disks are made that a power cut at that point may leave:
  synced    only what was synced: bytes of files by a sync of the file, names by a sync of their folder
  names     all names, of the bytes only what was synced
  all       everything (what kill -9 leaves)
  mixed     of each folder's names and of each file's writes any first part, the last write torn
Each is checked against what was acknowledged until then; some of them by a server started on it.
"""
import json
import os
import random
import shutil
import signal
import sqlite3
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../../bench/soak"))
from model import digest_of, intact  # noqa: E402
from server import Client, Server  # noqa: E402

OCTETS = {"Content-Type": "application/octet-stream"}
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


# --- the record

def read_record(path, root):
    """[(op, path, path2, offset, data)] with paths below root."""
    with open(path, "rb") as file:
        record = file.read()
    at, out = 0, []
    while at < len(record):
        end = record.index(b"\n", at)
        op, name, name2, offset, size = record[at:end].decode().split(" ")
        at = end + 1 + int(size)
        name, name2 = ("" if n == root else n.removeprefix(root + "/") for n in (name, name2))
        out.append((op, name, name2, int(offset), record[end + 1:at]))
    return out


class Inode:
    def __init__(self, data=b""):
        self.synced, self.now, self.pending = data, bytearray(data), []

    def write(self, offset, data):
        self.pending.append((offset, data))
        self.apply(self.now, offset, data)

    @staticmethod
    def apply(target, offset, data):
        if data is None:  # cut or stretched
            del target[offset:]
            target.extend(bytes(offset - len(target)))
            return
        if len(target) < offset:
            target.extend(bytes(offset - len(target)))
        target[offset:offset + len(data)] = data

    def sync(self):
        self.synced, self.pending = bytes(self.now), []

    def part(self, rng):
        """The first few of the writes that were not synced, the last of them perhaps torn at a sector."""
        out = bytearray(self.synced)
        n = rng.randrange(len(self.pending) + 1)
        for offset, data in self.pending[:n]:
            self.apply(out, offset, data)
        if n < len(self.pending) and self.pending[n][1] and rng.random() < 0.5:
            offset, data = self.pending[n]
            self.apply(out, offset, data[:rng.randrange(0, len(data) + 1, 512)])
        return bytes(out)


class Disk:
    """Names and files as the program sees them, and as they lie on the disk. A folder's value is None."""

    def __init__(self, folder):
        """Files that are there before are on the disk, but folders but the topmost need not be."""
        self.now = {}
        for top, folders, files in os.walk(folder):
            for name in folders:
                self.now[os.path.relpath(os.path.join(top, name), folder)] = None
            for name in files:
                with open(os.path.join(top, name), "rb") as file:
                    self.now[os.path.relpath(os.path.join(top, name), folder)] = Inode(file.read())
        self.synced = {path: inode for path, inode in self.now.items() if inode}
        self.pending = {}  # folder → [(name, inode, there)]
        for path, inode in self.now.items():
            if not inode:
                self.name(path, inode)

    def name(self, path, inode, there=True):
        self.pending.setdefault(os.path.dirname(path), []).append((path, inode, there))
        if there:
            self.now[path] = inode
        else:
            self.now.pop(path, None)

    def step(self, op, path, path2, offset, data):
        if path.endswith("-shm"):  # made anew at each start
            return
        if op == "create" and path not in self.now:
            self.name(path, Inode())
        elif op == "mkdir":
            self.name(path, None)
        elif op in ("write", "truncate"):
            if path not in self.now:
                self.name(path, Inode())
            self.now[path].write(offset, data if op == "write" else None)
        elif op == "sync":
            if self.now.get(path) is not None:
                self.now[path].sync()
            else:
                self.sync_folder(path)
        elif op in ("rename", "link"):
            inode = self.now.get(path)
            if op == "rename":
                self.name(path, inode, there=False)
            self.name(path2, inode)
        elif op == "unlink":
            self.name(path, None, there=False)

    @staticmethod
    def apply(names, changes):
        for path, inode, there in changes:
            if there:
                names[path] = inode
            else:
                names.pop(path, None)

    def sync_folder(self, folder):
        self.apply(self.synced, self.pending.pop(folder, []))

    def states(self, rng):
        """kind → {path: bytes or None}"""
        yield "synced", {p: i and i.synced for p, i in self.synced.items()}
        yield "names", {p: i and i.synced for p, i in self.now.items()}
        yield "all", {p: i and bytes(i.now) for p, i in self.now.items()}
        names = dict(self.synced)
        for changes in self.pending.values():
            self.apply(names, changes[:rng.randrange(len(changes) + 1)])
        yield "mixed", {p: i and i.part(rng) for p, i in names.items()}


def lay_out(state, folder):
    """Folders only where something is in them; a file whose folder is lost is lost with it."""
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder, mode=0o700)
    for path, data in state.items():
        parts = path.split("/")
        if data is None or not all("/".join(parts[:n]) in state for n in range(1, len(parts))):
            continue
        place = os.path.join(folder, path)
        os.makedirs(os.path.dirname(place), mode=0o700, exist_ok=True)
        with open(place, "wb") as file:
            file.write(data)


# --- what was asked for

class Facts:
    """(kind, repository, name) → history of (from, until, state): `from` is the point at which the answer left, `until`
    that at which a request for something else began."""

    def __init__(self):
        self.histories = {}

    def begin(self, key, at):
        history = self.histories.setdefault(key, [])
        if history and history[-1][1] is None:
            history[-1][1] = at

    def settle(self, key, at, state):
        self.histories.setdefault(key, []).append([at, None, state])

    def at(self, point):
        return {key: entry[2] for key, history in self.histories.items() for entry in history
                if entry[0] <= point and (entry[1] is None or point < entry[1])}


class Asking:
    def __init__(self, folder, shim):
        self.record = os.path.join(folder, "record")
        self.root = os.path.join(folder, "registry/data")
        self.log = open(os.path.join(folder, "log"), "ab")
        self.server = Server(os.path.join(folder, "registry"), self.log,
                             {"LD_PRELOAD": shim, "DISK_SHIM_ROOT": self.root, "DISK_SHIM_LOG": self.record})
        self.facts, self.marks = Facts(), []  # marks: (key, state, record's length before, after)

    def ask(self, changes, method, path, body=None, headers=None, status=201):
        """changes: {key: state} that a right answer acknowledges."""
        before = os.path.getsize(self.record)
        answer = self.client.request(method, path, body, headers)
        if answer.status != status:
            raise RuntimeError(f"{method} {path}: {answer}")
        self.marks.append((changes, before, os.path.getsize(self.record)))
        return answer

    def blob(self, repository, data, algorithm="sha256"):
        digest = digest_of(data, algorithm)
        self.ask({("blob", repository, digest): True}, "POST", f"/v2/{repository}/blobs/uploads/?digest={digest}", data,
                 OCTETS)
        return digest

    def chunked(self, repository, data, algorithm):
        digest, path = digest_of(data, algorithm), f"/v2/{repository}/blobs/uploads/"
        path = self.ask({}, "POST", path, b"", status=202).headers["Location"]
        half = len(data) // 2
        path = self.ask({}, "PATCH", path, data[:half], {**OCTETS, "Content-Range": f"0-{half - 1}"},
                        status=202).headers["Location"]
        self.ask({("blob", repository, digest): True}, "PUT", f"{path}?digest={digest}", data[half:], OCTETS)
        return digest

    def manifest(self, repository, tag, config, layers):
        document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST,
                    "config": {"mediaType": "application/json", "digest": config[0], "size": len(config[1])},
                    "layers": [{"mediaType": "application/x", "digest": d, "size": len(b)} for d, b in layers]}
        body = json.dumps(document).encode()
        digest = digest_of(body)
        self.ask({("manifest", repository, digest): True, ("tag", repository, tag): digest}, "PUT",
                 f"/v2/{repository}/manifests/{tag}", body, {"Content-Type": OCI_MANIFEST})
        return digest

    def delete(self, changes, path):
        self.ask(changes, "DELETE", path, status=202)

    def everything(self, rng):
        app = "acme/app"
        blobs = [rng.randbytes(n) for n in (10, 5000, 70000, 600000)]
        digests = [self.blob(app, data) for data in blobs]
        big = rng.randbytes(300000)
        self.chunked(app, big, "sha512")
        self.blob(app, b"")
        pairs = list(zip(digests, blobs))
        first = self.manifest(app, "v1", pairs[0], pairs[1:3])
        second = self.manifest(app, "v1", pairs[0], pairs[2:])  # the tag moves
        self.manifest(app, "v2", pairs[1], pairs[3:])
        self.ask({("blob", "acme/other", digests[2]): True}, "POST",
                 f"/v2/acme/other/blobs/uploads/?mount={digests[2]}&from={app}", b"")
        self.delete({("tag", app, "v2"): None}, f"/v2/{app}/manifests/v2")
        self.delete({("manifest", app, first): False}, f"/v2/{app}/manifests/{first}")
        self.delete({("blob", "acme/other", digests[2]): False}, f"/v2/acme/other/blobs/{digests[2]}")
        self.chunked("acme/other", blobs[1], "sha256")  # is here already, in the other repository
        self.delete({("manifest", app, second): False, ("tag", app, "v1"): None}, f"/v2/{app}/manifests/{second}")
        self.manifest(app, "v3", pairs[2], pairs[:1])

    def run(self, rng):
        self.server.init("a password")
        for n in range(0, 256, 6):  # made by one who was killed before he could sync them
            os.makedirs(os.path.join(self.root, "blobs/sha256", f"{n:02x}"), mode=0o700)
        shutil.copytree(self.root, self.root + ".before")
        self.server.start()
        self.client = Client(self.server, "admin", "a password")
        self.client.request("GET", "/v2/")
        self.everything(rng)
        self.client.drop()
        self.server.stop()
        steps = read_record(self.record, self.root)
        self.place_marks(steps)
        return steps

    def place_marks(self, steps):
        """From bytes of the record to its steps; an answer left with the first message of its request."""
        with open(self.record, "rb") as file:
            record = file.read()
        starts, at = {}, 0
        for number, step in enumerate(steps):
            starts[at] = number
            at = record.index(b"\n", at) + 1 + len(step[4])
        starts[at] = len(steps)
        for changes, before, after in self.marks:
            left = next(n for n in range(starts[before], starts[after]) if steps[n][0] == "send")
            for key, state in changes.items():
                self.facts.begin(key, starts[before])
                self.facts.settle(key, left, state)


# --- checks

def check_files(folder, facts):
    """What the index and the files say, without the server."""
    db = sqlite3.connect(os.path.join(folder, "index.db"))
    found = [] if db.execute("PRAGMA integrity_check").fetchall() == [("ok",)] else ["the index is damaged"]
    for (kind, repository, name), state in facts.items():
        where = {"blob": "link t ON t.digest = ?2", "manifest": "manifest t ON t.digest = ?2",
                 "tag": "tag t ON t.name = ?2"}[kind]
        row = db.execute(f"SELECT t.digest FROM repository r JOIN {where} AND t.repository = r.id WHERE r.name = ?1",
                         (repository, name)).fetchone()
        shown = (row[0] if row else None) if kind == "tag" else row is not None
        if shown != state:
            found.append(f"{kind} {repository} {name} is {shown}, acknowledged: {state}")
        if row:
            algorithm, name = row[0].split(":")
            place = os.path.join(folder, "blobs", algorithm, name[:2], name)
            try:
                with open(place, "rb") as file:
                    whole = intact(file.read(), row[0])
            except FileNotFoundError:
                whole = False
            if not whole:
                found.append(f"{kind} {repository} {row[0]} has not its bytes")
    db.close()
    return found


def check_served(server, facts):
    """The same, asked from a server that was started on it."""
    server.start()
    client, found = Client(server, "admin", "a password"), []
    for (kind, repository, name), state in facts.items():
        answer = client.request("GET", f"/v2/{repository}/{'blobs' if kind == 'blob' else 'manifests'}/{name}")
        shown = answer.status == 200
        if kind == "tag" and shown:
            shown = digest_of(answer.body)
        elif kind == "tag":
            shown = None
        elif shown and not intact(answer.body, name):
            shown = "wrong"
        if shown != state:
            found.append(f"served: {kind} {repository} {name} is {shown}, acknowledged: {state}")
    data = b"pushed after the power came back"
    digest = digest_of(data)
    if client.request("POST", f"/v2/after/all/blobs/uploads/?digest={digest}", data, OCTETS).status != 201:
        found.append("served: takes nothing new")
    client.drop()
    server.stop()
    return found


def main():
    folder, shim = os.path.realpath(sys.argv[1]), os.path.realpath(sys.argv[2])
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else random.randrange(1 << 32)
    rng = random.Random(seed)
    asking = Asking(folder, shim)
    try:
        steps = asking.run(rng)
    finally:
        if asking.server.process and asking.server.process.poll() is None:
            asking.server.end(signal.SIGKILL)
    plain = Server(asking.server.folder, asking.log)
    plain.port = asking.server.port
    disk, found, n, n_served = Disk(asking.root + ".before"), [], 0, 0
    points = range(1, len(steps) + 1)
    served = set(rng.sample(points, min(10, len(points))))
    started = time.monotonic()
    for point in points:
        disk.step(*steps[point - 1])
        facts = asking.facts.at(point)
        for kind, state in disk.states(rng):
            lay_out(state, asking.root)
            now = check_files(asking.root, facts)
            n += 1
            if point in served and kind in ("synced", "mixed") and not now:
                lay_out(state, asking.root)
                now = check_served(plain, facts)
                n_served += 1
            found += [f"after step {point} ({' '.join(map(str, steps[point - 1][:4]))}), {kind}: {text}" for text in now]
    print(f"seed {seed}: {len(steps)} steps, {n} disks, {n_served} of them served; {len(asking.facts.histories)} things "
          f"acknowledged; {time.monotonic() - started:.1f} s; {len(found)} findings")
    print(*found[:20], sep="\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
