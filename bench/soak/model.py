"""What the registry acknowledged, and what may therefore be true of it.

A cell is one thing that a client can ask for: a blob in a repository, a manifest, a tag. It keeps the set of
states that the registry may show. An acknowledged change leaves one; a request whose answer never came leaves
the old and the new one, until the next read settles it. Each repository is changed by one client only, so that
a cell's history is a sequence; content is shared between all of them.
"""
import hashlib
import random
import threading
import time


def digest_of(data, algorithm="sha256"):
    return algorithm + ":" + hashlib.new(algorithm, data).hexdigest()


def intact(data, digest):
    return digest_of(data, digest.split(":", 1)[0]) == digest


class Contents:
    """Blobs made of a seed: the bytes need not be kept to be known."""

    def __init__(self, seed, count):
        self.seed, self.count = seed, count
        self.cache, self.lock = {}, threading.Lock()
        self.digests = {}

    def size(self, number):
        rng = random.Random(f"size {self.seed} {number}")
        kind = rng.random()
        if kind < 0.03:
            return rng.randrange(0, 2)
        if kind < 0.55:
            return rng.randrange(2, 16 << 10)
        if kind < 0.93:
            return rng.randrange(16 << 10, 512 << 10)
        return rng.randrange(512 << 10, 6 << 20)

    def data(self, number):
        with self.lock:
            if number in self.cache:
                return self.cache[number]
        data = random.Random(f"data {self.seed} {number}").randbytes(self.size(number))
        with self.lock:
            if sum(map(len, self.cache.values())) > 64 << 20:
                self.cache.clear()
            self.cache[number] = data
        return data

    def digest(self, number, algorithm):
        key = (number, algorithm)
        if key not in self.digests:
            self.digests[key] = digest_of(self.data(number), algorithm)
        return self.digests[key]


class Cell:
    __slots__ = ("possible", "changes", "touched")

    def __init__(self, state):
        self.possible = {state}
        self.changes = 0  # a copy taken at another count is of another history
        self.touched = 0.0

    def begin(self, state):
        """A change is about to be asked for."""
        before = set(self.possible)
        self.possible = self.possible | {state}
        self.changes += 1
        return before

    def settle(self, state):
        self.possible = {state}
        self.touched = time.monotonic()

    def sure(self, state):
        return self.possible == {state}


class Manifest:
    def __init__(self, data, media_type, children, subject=None, artifact_type=""):
        self.data, self.media_type = data, media_type
        self.children, self.subject, self.artifact_type = children, subject, artifact_type


class Repository:
    """The states of one repository. Only its owner changes it; others may copy it under the lock."""

    def __init__(self, name, lease_s):
        self.name, self.lease_s = name, lease_s
        self.lock = threading.Lock()
        self.blobs, self.manifests, self.tags = {}, {}, {}
        self.known = {}  # digest → Manifest, also of those that are gone

    def blob(self, digest):
        return self.blobs.setdefault(digest, Cell(False))

    def manifest(self, digest):
        return self.manifests.setdefault(digest, Cell(False))

    def tag(self, name):
        return self.tags.setdefault(name, Cell(None))

    def parents(self, child, state=True):
        """Manifests that may (state in possible) be there and that name the child."""
        return [d for d, cell in self.manifests.items() if state in cell.possible and child in self.known[d].children]

    def needed(self):
        """What manifests that are surely there name."""
        return {child for d, cell in self.manifests.items() if cell.sure(True) for child in self.known[d].children}

    def blob_states(self, digest, needed=None):
        """A blob that no manifest surely needs lives as long as its lease, of which half is promised."""
        cell = self.blobs[digest]
        states = set(cell.possible)
        if True in states and self.lease_s is not None and time.monotonic() - cell.touched > self.lease_s / 2 - 1:
            if digest not in (self.needed() if needed is None else needed):
                states.add(False)
        return states

    def sure_blobs(self):
        needed = self.needed()
        return [d for d in self.blobs if self.blob_states(d, needed) == {True}]

    def sure_manifests(self):
        return [d for d, cell in self.manifests.items() if cell.sure(True)]

    def begin_remove_manifest(self, digest):
        """Its tags go with it. Returns what end_remove_manifest needs."""
        tags = [name for name, cell in self.tags.items() if digest in cell.possible]
        before = {name: self.tags[name].begin(None) for name in tags}
        return self.manifests[digest].begin(False), before

    def end_remove_manifest(self, digest, before, done):
        own, tags = before
        if not done:
            self.manifests[digest].possible = own
        else:
            self.manifests[digest].settle(False)
        for name, states in tags.items():
            self.tags[name].possible = {None if s == digest else s for s in states} if done else states

    def observed_manifest(self, digest, there):
        self.manifests[digest].settle(there)
        if not there:
            for cell in self.tags.values():
                if digest in cell.possible:
                    cell.possible = {None if s == digest else s for s in cell.possible}

    def copy(self):
        """(kind, name) → (state, changes) of everything that is sure."""
        with self.lock:
            out, needed = {}, self.needed()
            for kind, cells in (("blob", self.blobs), ("manifest", self.manifests), ("tag", self.tags)):
                for name, cell in cells.items():
                    states = self.blob_states(name, needed) if kind == "blob" else cell.possible
                    if len(states) == 1:
                        out[kind, name] = (next(iter(states)), cell.changes)
            return out
