"""One client of the soak: changes its own repositories, reads those of others, believes nothing."""
import json
import random
import threading
import time

from model import Manifest, digest_of, intact
from server import Client, Doubt

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCTETS = {"Content-Type": "application/octet-stream"}


class Tally:
    """Counts of what was done, and the findings: what should not have happened."""

    def __init__(self):
        self.lock, self.counts, self.findings = threading.Lock(), {}, []

    def count(self, what, n=1):
        with self.lock:
            self.counts[what] = self.counts.get(what, 0) + n

    def finding(self, text):
        with self.lock:
            self.findings.append(text)
            if len(self.findings) <= 20:
                print("FINDING:", text, flush=True)


class Worker(threading.Thread):
    def __init__(self, soak, number):
        super().__init__(name=f"client {number}", daemon=True)
        self.soak, self.rng = soak, random.Random(f"client {soak.seed} {number}")
        self.tally, self.contents = soak.tally, soak.contents
        self.user, self.own = f"user{number}", soak.repositories[number]
        self.client = Client(soak.server, self.user, soak.password)
        self.seen_generation = 0
        self.sessions = []  # (repository, path, content, bytes acknowledged) of uploads left open

    # --- the loop

    def run(self):
        try:
            while not self.soak.over():
                self.turn()
        except Exception as failure:  # whatever it is, the soak did not pass
            self.tally.finding(f"{self.name} ended: {failure!r}")
            raise
        finally:
            self.client.drop()

    def turn(self):
        if self.seen_generation != self.soak.server.generation:
            self.after_restart()
            return
        operation = self.rng.choices(
            [self.push_blob, self.push_image, self.push_index, self.push_referrer, self.move_tag, self.delete_tag,
             self.delete_manifest, self.delete_blob, self.pull, self.pull_foreign, self.list_tags, self.list_referrers,
             self.resume, self.common],
            [14, 16, 4, 6, 8, 5, 5, 5, 14, 8, 4, 3, 5, 3])[0]
        repository = self.rng.choice(self.own)
        self.attempt(operation.__name__, lambda: operation(repository))

    def attempt(self, name, work):
        try:
            work()
            self.tally.count(name)
        except Doubt:
            self.tally.count("in doubt")
            self.soak.server.up.wait(60)
            time.sleep(0.02)

    def after_restart(self):
        """Settles what is in doubt, and looks again at some of what was acknowledged."""
        generation = self.soak.server.generation
        if not self.soak.server.up.wait(60):
            raise RuntimeError("the server stays down")
        try:
            for repository in self.own:
                self.check_repository(repository, sample=6)
        except Doubt:
            return
        self.tally.count("checks after a restart")
        self.seen_generation = generation

    def odd(self, what, answer):
        self.tally.finding(f"{self.user}: {what}: {answer}")

    # --- reading

    def check_repository(self, r, sample=None):
        """Every cell in doubt, and `sample` of the others (None: all)."""
        for cells, check in ((r.blobs, self.check_blob), (r.manifests, self.check_manifest), (r.tags, self.check_tag)):
            names = sorted(cells)
            settled = [n for n in names if len(cells[n].possible) == 1]
            if sample is not None:
                settled = self.rng.sample(settled, min(sample, len(settled)))
            for name in [n for n in names if len(cells[n].possible) > 1] + settled:
                check(r, name)
                self.tally.count("verified")

    def check_blob(self, r, digest):
        answer = self.client.request("GET", f"/v2/{r.name}/blobs/{digest}")
        if answer.status not in (200, 404):
            return self.odd(f"GET blob {r.name} {digest}", answer)
        there = answer.status == 200
        if there and not intact(answer.body, digest):
            self.tally.finding(f"{r.name}: blob {digest} has other bytes ({len(answer.body)})")
        with r.lock:
            if there not in r.blob_states(digest):
                self.tally.finding(f"{r.name}: blob {digest} is {'there' if there else 'gone'}, "
                                   f"may be {r.blob_states(digest)}")
            touched = r.blobs[digest].touched
            r.blobs[digest].settle(there)
            r.blobs[digest].touched = touched  # reading lends nothing
        return there

    def check_manifest(self, r, digest):
        answer = self.client.request("GET", f"/v2/{r.name}/manifests/{digest}")
        if answer.status not in (200, 404):
            return self.odd(f"GET manifest {r.name} {digest}", answer)
        there = answer.status == 200
        if there and (answer.body != r.known[digest].data or
                      answer.headers["Content-Type"] != r.known[digest].media_type):
            self.tally.finding(f"{r.name}: manifest {digest} is another one")
        with r.lock:
            if there not in r.manifests[digest].possible:
                self.tally.finding(f"{r.name}: manifest {digest} is {'there' if there else 'gone'}")
            r.observed_manifest(digest, there)
        return there

    def check_tag(self, r, name):
        answer = self.client.request("GET", f"/v2/{r.name}/manifests/{name}")
        if answer.status not in (200, 404):
            return self.odd(f"GET tag {r.name}:{name}", answer)
        found = digest_of(answer.body) if answer.status == 200 else None
        if found and answer.headers["Docker-Content-Digest"] != found:
            self.tally.finding(f"{r.name}:{name}: the digest in the header is not that of the bytes")
        with r.lock:
            if found not in r.tag(name).possible:
                self.tally.finding(f"{r.name}:{name} is {found}, may be {r.tag(name).possible}")
            r.tag(name).settle(found)
            if found in r.manifests:
                r.observed_manifest(found, True)
        return found

    def pull(self, r):
        tags = sorted(n for n, c in r.tags.items() if c.possible != {None})
        if not tags:
            return
        found = self.check_tag(r, self.rng.choice(tags))
        for child in sorted(r.known[found].children) if found else []:
            if child in r.blobs:
                self.check_blob(r, child)
            else:
                self.check_manifest(r, child)
        self.pull_range(r)

    def pull_range(self, r):
        sure = sorted(d for d in r.sure_blobs() if d in self.soak.numbers)
        if not sure:
            return
        digest = self.rng.choice(sure)
        data = self.contents.data(self.soak.numbers[digest])
        if len(data) < 2:
            return
        first = self.rng.randrange(len(data) - 1)
        last = self.rng.randrange(first, len(data))
        answer = self.client.request("GET", f"/v2/{r.name}/blobs/{digest}", headers={"Range": f"bytes={first}-{last}"})
        if answer.status == 404 and True in r.blob_states(digest) and False in r.blob_states(digest):
            return
        if answer.status != 206 or answer.body != data[first:last + 1]:
            self.tally.finding(f"{r.name}: range {first}-{last} of {digest} ({len(data)} bytes): {answer.status}")

    def pull_foreign(self, _):
        """What belongs to another client changes meanwhile: whatever is shown must be intact."""
        r = self.rng.choice(self.rng.choice(self.soak.repositories))
        with r.lock:
            tags, blobs = sorted(r.tags), sorted(r.blobs)
        if tags:
            answer = self.client.request("GET", f"/v2/{r.name}/manifests/{self.rng.choice(tags)}")
            if answer.status not in (200, 404):
                self.odd("GET manifest of another", answer)
            elif answer.status == 200 and not intact(answer.body, answer.headers["Docker-Content-Digest"]):
                self.tally.finding(f"{r.name}: a manifest has other bytes than its digest says")
        if blobs:
            digest = self.rng.choice(blobs)
            answer = self.client.request("GET", f"/v2/{r.name}/blobs/{digest}")
            if answer.status not in (200, 404):
                self.odd("GET blob of another", answer)
            elif answer.status == 200 and not intact(answer.body, digest):
                self.tally.finding(f"{r.name}: blob {digest} has other bytes")

    def list_tags(self, r):
        found, path = [], f"/v2/{r.name}/tags/list?n={self.rng.choice([2, 5, 100])}"
        for _ in range(1000):
            answer = self.client.request("GET", path)
            if answer.status == 404 and not found:
                break
            if answer.status != 200:
                return self.odd(f"tags of {r.name}", answer)
            found += json.loads(answer.body)["tags"] or []
            link = answer.headers.get("Link")
            if not link:
                break
            path = link[link.index("<") + 1:link.index(">")]
        with r.lock:
            for name, cell in r.tags.items():
                if (name in found) not in {state is not None for state in cell.possible}:
                    self.tally.finding(f"{r.name}: tag {name} is {'' if name in found else 'not '}listed, "
                                       f"may be {cell.possible}")
        return None

    def list_referrers(self, r):
        subjects = sorted({m.subject for m in r.known.values() if m.subject})
        if not subjects:
            return None
        subject = self.rng.choice(subjects)
        answer = self.client.request("GET", f"/v2/{r.name}/referrers/{subject}")
        if answer.status != 200:
            return self.odd(f"referrers of {subject}", answer)
        found = {entry["digest"] for entry in json.loads(answer.body)["manifests"]}
        for digest, m in r.known.items():
            if m.subject == subject and (digest in found) not in r.manifests[digest].possible:
                self.tally.finding(f"{r.name}: referrer {digest} is {'' if digest in found else 'not '}listed")
        return None

    # --- blobs in

    def midway(self):
        """Sometimes the server dies, or the client goes, in the middle of a body."""
        roll = self.rng.random()
        if roll < 0.006:
            self.soak.kill_now.set()
            time.sleep(self.rng.random() * 0.03)
        return 0.006 <= roll < 0.03

    def push_blob(self, r):
        number = self.rng.randrange(self.contents.count)
        algorithm = "sha512" if self.rng.random() < 0.2 else "sha256"
        self.put_blob(r, number, algorithm)

    def put_blob(self, r, number, algorithm="sha256"):
        """True where the blob is acknowledged to be in the repository."""
        digest = self.contents.digest(number, algorithm)
        self.soak.numbers[digest] = number
        with r.lock:
            cell = r.blob(digest)
        way = self.rng.choices([self.monolithic, self.post_put, self.chunked, self.mount], [3, 3, 3, 3])[0]
        with r.lock:
            before = cell.begin(True)
        done = way(r, number, digest)
        with r.lock:
            if done:
                cell.settle(True)
            else:
                cell.possible = before
        return done

    def monolithic(self, r, number, digest):
        answer = self.client.request("POST", f"/v2/{r.name}/blobs/uploads/?digest={digest}", self.contents.data(number),
                                     OCTETS, self.midway)
        return self.created("monolithic upload", answer, digest)

    def created(self, what, answer, digest):
        if answer.status != 201 or answer.headers["Docker-Content-Digest"] not in (None, digest):
            self.odd(what, answer)
            return False
        return True

    def session(self, r, query=""):
        answer = self.client.request("POST", f"/v2/{r.name}/blobs/uploads/{query}", b"")
        if answer.status == 429:  # too many left open by broken requests
            self.resume(r)
            return None
        if answer.status not in (201, 202):
            self.odd("upload", answer)
            return None
        return answer

    @staticmethod
    def with_digest(location, digest):
        return location + ("&" if "?" in location else "?") + "digest=" + digest

    def post_put(self, r, number, digest):
        answer = self.session(r)
        if not answer:
            return False
        answer = self.client.request("PUT", self.with_digest(answer.headers["Location"], digest),
                                     self.contents.data(number), OCTETS, self.midway)
        return self.created("PUT of a whole upload", answer, digest)

    def mount(self, r, number, digest):
        other = self.rng.choice(self.rng.choice(self.soak.repositories))
        answer = self.session(r, f"?mount={digest}&from={other.name}")
        if not answer:
            return False
        if answer.status == 201:
            self.tally.count("mounted")
            return self.created("mount", answer, digest)
        answer = self.client.request("PUT", self.with_digest(answer.headers["Location"], digest),
                                     self.contents.data(number), OCTETS, self.midway)
        return self.created("upload after a mount", answer, digest)

    def chunked(self, r, number, digest):
        answer = self.session(r)
        if not answer:
            return False
        upload = {"repository": r, "path": answer.headers["Location"], "number": number, "acknowledged": 0,
                  "ending": False}
        try:
            return self.send_chunks(upload, digest, 0)
        except Doubt:
            self.sessions.append((upload, digest))
            raise

    def send_chunks(self, upload, digest, at):
        data = self.contents.data(upload["number"])
        path = upload["path"]
        while at < len(data) and self.rng.random() < 0.7:
            end = self.rng.randrange(at + 1, len(data) + 1)
            headers = {**OCTETS, "Content-Range": f"{at}-{end - 1}"}
            answer = self.client.request("PATCH", path, data[at:end], headers, self.midway)
            if answer.status != 202:
                self.odd(f"PATCH {at}-{end - 1}", answer)
                return False
            path = upload["path"] = answer.headers["Location"]
            at = upload["acknowledged"] = end
        headers = {**OCTETS, "Content-Range": f"{at}-{len(data) - 1}"} if at < len(data) else OCTETS
        upload["ending"] = True
        answer = self.client.request("PUT", self.with_digest(path, digest), data[at:], headers, self.midway)
        return self.created("last chunk", answer, digest)

    def resume(self, _):
        """An upload that a restart or a lost connection interrupted goes on, or is cancelled."""
        if not self.sessions:
            return
        upload, digest = self.sessions[-1]
        r, done = upload["repository"], False
        with r.lock:
            before = r.blob(digest).begin(True)
        answer = self.status_of(upload)
        if answer.status == 204:
            done = self.go_on(upload, digest, answer)
        elif answer.status != 404 or not upload["ending"]:
            # 404 is right where the request whose answer was lost had ended the session.
            self.odd(f"status of an upload with {upload['acknowledged']} bytes", answer)
        self.sessions.pop()
        with r.lock:
            if done:
                r.blob(digest).settle(True)
            elif answer.status == 204:
                r.blob(digest).possible = before

    def status_of(self, upload):
        for _ in range(100):  # the server may not have noticed yet that the other connection is gone
            answer = self.client.request("GET", upload["path"])
            if answer.status != 409:
                return answer
            time.sleep(0.05)
        return answer

    def go_on(self, upload, digest, answer):
        have = int(answer.headers["Range"].split("-")[1]) + 1
        have = 0 if have == 1 and upload["acknowledged"] == 0 else have
        size = self.contents.size(upload["number"])
        if not upload["acknowledged"] <= have <= size:
            self.tally.finding(f"upload: {upload['acknowledged']} bytes of {size} acknowledged, the server has {have}")
        if self.rng.random() < 0.2 or have == 0:
            upload["ending"] = True
            gone = self.client.request("DELETE", upload["path"])
            if gone.status != 204:
                self.odd("cancel of an upload", gone)
            self.tally.count("cancelled")
            return False
        self.tally.count("resumed")
        return self.send_chunks(upload, digest, have)

    # --- manifests and tags

    def some_blobs(self, r, n):
        """Digests of n blobs that are acknowledged to be there; pushes what is missing."""
        sure = sorted(r.sure_blobs())
        chosen = self.rng.sample(sure, min(n, len(sure))) if self.rng.random() < 0.7 else []
        while len(chosen) < n:
            number = self.rng.randrange(self.contents.count)
            if not self.put_blob(r, number):
                return None
            chosen.append(self.contents.digest(number, "sha256"))
        return chosen

    def descriptor(self, r, digest, media_type):
        if digest in r.known:
            size = len(r.known[digest].data)
        else:
            size = self.contents.size(self.soak.numbers[digest])
        return {"mediaType": media_type, "digest": digest, "size": size}

    def put_manifest(self, r, m, name):
        """By tag or, where name is None, by digest."""
        algorithm = "sha512" if name is None and self.rng.random() < 0.3 else "sha256"
        digest = digest_of(m.data, algorithm)
        with r.lock:
            r.known[digest] = m
            lost = [d for d in m.children if d in r.blobs and r.blob_states(d) != {True}]
            lost += [d for d in m.children if d in r.manifests and not r.manifests[d].sure(True)]
            before = r.manifest(digest).begin(True)
            tag_before = r.tag(name).begin(digest) if name else None
        answer = self.client.request("PUT", f"/v2/{r.name}/manifests/{name or digest}", m.data,
                                     {"Content-Type": m.media_type})
        with r.lock:
            if answer.status == 201:
                r.manifest(digest).settle(True)
                if name:
                    r.tag(name).settle(digest)
                return True
            r.manifest(digest).possible = before
            if name:
                r.tag(name).possible = tag_before
            still = [d for d in m.children if d in r.blobs and False in r.blob_states(d)]
        if not (answer.status in (400, 404) and b"MANIFEST_BLOB_UNKNOWN" in answer.body and (lost or still)):
            self.odd(f"PUT manifest {r.name} {name or digest}", answer)
        return False

    def tag_name(self):
        return None if self.rng.random() < 0.3 else f"v{self.rng.randrange(12)}"

    def make_room(self, r):
        """The final check should not grow with the soak's length."""
        if len(r.sure_manifests()) > 60:
            self.delete_manifest(r)

    def push_image(self, r):
        self.make_room(r)
        blobs = self.some_blobs(r, self.rng.randrange(2, 5))
        if blobs:
            document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST,
                        "config": self.descriptor(r, blobs[0], OCI_CONFIG),
                        "layers": [self.descriptor(r, d, OCI_LAYER) for d in blobs[1:]]}
            self.put_manifest(r, Manifest(json.dumps(document).encode(), OCI_MANIFEST, set(blobs)), self.tag_name())

    def push_index(self, r):
        images = sorted(d for d in r.sure_manifests() if r.known[d].media_type == OCI_MANIFEST)
        if images:
            chosen = self.rng.sample(images, min(3, len(images)))
            document = {"schemaVersion": 2, "mediaType": OCI_INDEX,
                        "manifests": [self.descriptor(r, d, OCI_MANIFEST) for d in chosen]}
            self.put_manifest(r, Manifest(json.dumps(document).encode(), OCI_INDEX, set(chosen)), self.tag_name())

    def push_referrer(self, r):
        self.make_room(r)
        subjects = sorted(r.known)[-100:]
        blobs = self.some_blobs(r, 1)
        if not subjects or not blobs:
            return
        subject, kind = self.rng.choice(subjects), f"application/vnd.soak.{self.rng.randrange(3)}"
        document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": kind,
                    "config": self.descriptor(r, blobs[0], OCI_CONFIG),
                    "layers": [], "annotations": {"n": str(self.rng.randrange(1000))},
                    "subject": self.descriptor(r, subject, r.known[subject].media_type)}
        m = Manifest(json.dumps(document).encode(), OCI_MANIFEST, set(blobs), subject, kind)
        self.put_manifest(r, m, None)

    def move_tag(self, r):
        sure = sorted(d for d in r.sure_manifests() if d.startswith("sha256:"))
        if sure:
            digest = self.rng.choice(sure)
            self.put_manifest(r, r.known[digest], f"v{self.rng.randrange(12)}")

    # --- deletes

    def delete_tag(self, r):
        tags = sorted(n for n, c in r.tags.items() if c.possible != {None})
        if not tags:
            return
        name = self.rng.choice(tags)
        with r.lock:
            before = r.tag(name).begin(None)
        answer = self.client.request("DELETE", f"/v2/{r.name}/manifests/{name}")
        with r.lock:
            if answer.status == 202 or (answer.status == 404 and None in before):
                r.tag(name).settle(None)
                return
            r.tag(name).possible = before
        self.odd(f"DELETE tag {r.name}:{name} ({before})", answer)

    def delete_manifest(self, r):
        present = sorted(d for d, c in r.manifests.items() if c.possible != {False})
        if not present:
            return
        digest = self.rng.choice(present)
        with r.lock:
            before = r.begin_remove_manifest(digest)
        answer = self.client.request("DELETE", f"/v2/{r.name}/manifests/{digest}")
        with r.lock:
            done = answer.status == 202 or (answer.status == 404 and False in before[0])
            r.end_remove_manifest(digest, before, done)
            refused = answer.status in (403, 405, 409) and r.parents(digest)
        if not done and not refused:
            self.odd(f"DELETE manifest {r.name} {digest}", answer)

    def delete_blob(self, r):
        present = sorted(d for d, c in r.blobs.items() if c.possible != {False})
        if not present:
            return
        digest = self.rng.choice(present)
        with r.lock:
            states = r.blob_states(digest)
            before = r.blob(digest).begin(False)
        answer = self.client.request("DELETE", f"/v2/{r.name}/blobs/{digest}")
        with r.lock:
            if answer.status == 202 or (answer.status == 404 and False in states):
                needed = any(c.sure(True) and digest in r.known[d].children for d, c in r.manifests.items())
                r.blob(digest).settle(False)
                if answer.status == 202 and needed:
                    self.tally.finding(f"{r.name}: blob {digest} was deleted though a manifest needs it")
                return
            r.blob(digest).possible = before
            refused = answer.status in (403, 405, 409) and r.parents(digest)
        if not refused:
            self.odd(f"DELETE blob {r.name} {digest}", answer)

    def delete_all(self, r):
        """Indexes before what they name. Whatever is refused or forgotten stays as garbage would."""
        for _ in range(3):
            for digest in sorted(d for d, c in r.manifests.items() if c.possible != {False}):
                answer = self.client.request("DELETE", f"/v2/{r.name}/manifests/{digest}")
                if answer.status in (202, 404):
                    with r.lock:
                        r.observed_manifest(digest, False)
        for digest in sorted(d for d in r.manifests if True in r.manifests[d].possible):
            self.tally.finding(f"{r.name}: manifest {digest} cannot be deleted")
        self.client.drop()

    # --- where everybody works at once

    def common(self, _):
        """All clients change one repository: nothing is foreseen but that what is shown is intact."""
        name, number = "common/all", self.rng.randrange(12)
        digest, data = self.contents.digest(number, "sha256"), self.contents.data(number)
        self.client.request("POST", f"/v2/{name}/blobs/uploads/?digest={digest}", data, OCTETS)
        document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST,
                    "config": {"mediaType": OCI_CONFIG, "digest": digest, "size": len(data)},
                    "layers": [{"mediaType": OCI_LAYER, "digest": digest, "size": len(data)}]}
        body = json.dumps(document).encode()
        requests = [("PUT", "manifests/latest", body), ("DELETE", "manifests/" + digest_of(body), None),
                    ("DELETE", "blobs/" + digest, None), ("DELETE", "manifests/latest", None)]
        for method, path, sent in self.rng.sample(requests, 2):
            answer = self.client.request(method, f"/v2/{name}/{path}", sent, {"Content-Type": OCI_MANIFEST})
            if answer.status not in (201, 202, 400, 403, 404, 405, 409):
                self.odd(f"{method} {path}", answer)
        answer = self.client.request("GET", f"/v2/{name}/blobs/{digest}")
        if answer.status == 200 and answer.body != data:
            self.tally.finding(f"{name}: blob {digest} has other bytes")
