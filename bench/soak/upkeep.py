"""What an operator does meanwhile: collecting garbage, scrubbing, verifying the audit log. Then the tools' own verdicts
on what the soak left, and a last collection after which nothing may be left that nothing needs."""
import json
import os
import random
import sqlite3
import struct
import time

from model import digest_of, intact

LEASE_S = 8
LATER_S = 3 * 86400


class Upkeep:
    def __init__(self, soak):
        self.soak, self.rng = soak, random.Random(f"upkeep {soak.seed}")
        self.stable = None  # what the last backup must hold: (repository, kind, name) → state
        self.help = soak.server.command("--help", config=False).stdout

    def has(self, command):
        return f"\n  {command} " in self.help

    def configure(self):
        """Garbage is collected all the time, and soon. Returns the length of leases."""
        if not self.has("gc"):
            return None
        with open(self.soak.server.config, encoding="utf-8") as file:
            text = file.read()
        changed = text.replace("  interval: 5m\n  lease: 24h\n", f"  interval: 1s\n  lease: {LEASE_S}s\n")
        if changed == text:
            raise RuntimeError("the configuration's part 'gc' is not as expected")
        with open(self.soak.server.config, "w", encoding="utf-8") as file:
            file.write(changed)
        return LEASE_S

    def command(self, *words):
        """Beside a server that may be gone at any moment."""
        done = self.soak.server.command(*words, check=False)
        self.soak.tally.count(f"{words[0]} from outside")
        if done.returncode == 3 and "garbage collection removes blobs faster" in done.stderr:
            self.soak.tally.count("backups given up")  # leases of seconds are not what they are made for
        elif done.returncode:
            self.soak.tally.finding(f"bulla-registry {' '.join(words)}: status {done.returncode}: {done.stderr.strip()}")
        return done

    def run(self):
        while not self.soak.over():
            if self.has("gc"):
                self.command("gc", *self.rng.choice([[], [], ["--dry-run"]]))
            if self.has("scrub") and self.rng.random() < 0.1:
                self.command("scrub")
            if self.has("audit") and self.rng.random() < 0.2:
                self.command("audit", "verify")
            if self.has("backup") and self.rng.random() < 0.15:
                self.back_up()
            time.sleep(self.rng.uniform(0.3, 2))

    # --- backups

    def everything(self):
        """What surely holds now. Of blobs only those that a manifest needs: leases may end before the restore."""
        out = {}
        for repository in (r for own in self.soak.repositories for r in own):
            states = repository.copy()
            with repository.lock:
                needed = repository.needed()
            out |= {(repository, *key): entry for key, entry in states.items()
                    if key[0] != "blob" or not entry[0] or key[1] in needed}
        return out

    def folder(self):
        return os.path.join(self.soak.folder, "backup")

    def back_up(self):
        before = self.everything()
        done = self.command("backup", self.folder(), *self.rng.choice([[], ["--copy"], ["--verify"]]))
        if done.returncode == 0:
            after = self.everything()
            self.stable = {key: entry[0] for key, entry in before.items() if after.get(key) == entry}

    def check_backup(self):
        """The main server is stopped; the last backup takes its place for a while."""
        if not self.has("backup"):
            return
        if not self.stable:
            self.back_up()
        server = self.soak.server
        plain = server.config
        server.config = os.path.join(server.folder, "restored.yaml")
        with open(plain, encoding="utf-8") as file:
            text = file.read()
        with open(server.config, "w", encoding="utf-8") as file:
            file.write(text.replace("dataDir: data\n", "dataDir: restored\n"))
        self.command("restore", self.folder())
        server.start()
        client, wrong = self.soak.workers[0].client, 0
        for (repository, kind, name), state in self.stable.items():
            answer = client.request("GET", f"/v2/{repository.name}/{'blobs' if kind == 'blob' else 'manifests'}/{name}")
            shown = answer.status == 200
            if shown and kind != "tag" and not intact(answer.body, name):
                shown = "damaged"
            if kind == "tag":
                shown = digest_of(answer.body) if shown else None
            wrong += shown != state
            if shown != state and wrong < 5:
                self.soak.tally.finding(f"restored: {repository.name} {kind} {name} is {shown}, not {state}")
        print(f"  restored: {len(self.stable)} objects that did not change during the last backup, {wrong} wrong",
              flush=True)
        client.drop()
        server.stop()
        server.config = plain

    # --- after the work; the server runs

    def final_checks(self):
        for words in (["scrub"], ["audit", "verify"]):
            if self.has(words[0]):
                self.command(*words)
        if not self.has("gc"):
            return
        time.sleep(LEASE_S + 1)
        done = self.command("gc", "--json")
        print(f"  gc: {json.loads(done.stdout or '{}')}", flush=True)

    def empty(self):
        """Everything is deleted, and three days go by: what is left on the disk is what signatures need."""
        if not self.has("gc"):
            return
        for worker in self.soak.workers:
            for repository in worker.own:
                worker.delete_all(repository)
        self.soak.server.stop()
        shim = self.soak.shim()
        if not shim:
            return
        control = os.path.join(self.soak.folder, "control")
        with open(control, "wb") as file:
            file.write(struct.pack("<iiq", 0, 0, LATER_S))
        environment = dict(self.soak.server.environment)
        self.soak.server.environment |= {"LD_PRELOAD": shim, "DISK_SHIM_CONTROL": control,
                                         "DISK_SHIM_ROOT": os.path.join(self.soak.server.folder, "data")}
        self.soak.server.start()
        try:
            self.wait_until_clean()
        finally:
            self.soak.server.stop()
            self.soak.server.environment = environment

    def left(self):
        data = os.path.join(self.soak.server.folder, "data")
        files = {f"{algorithm}:{name}" for algorithm in ("sha256", "sha512")
                 for place in ("blobs", "aside") if os.path.isdir(os.path.join(data, place, algorithm))
                 for _, _, names in os.walk(os.path.join(data, place, algorithm)) for name in names}
        db = sqlite3.connect(os.path.join(data, "index.db"), timeout=10)
        needed = {row[0] for row in db.execute(
            "SELECT digest FROM link UNION SELECT digest FROM manifest")}
        recorded = {row[0] for row in db.execute("SELECT digest FROM blob")}
        own = {row[0] for row in db.execute(
            "SELECT m.digest FROM manifest m JOIN repository r ON r.id = m.repository WHERE r.name LIKE 'client%'"
            " UNION SELECT l.digest FROM link l JOIN repository r ON r.id = l.repository WHERE r.name LIKE 'client%'")}
        db.close()
        # What a kill left between a file's name and its record is for the walk, long after a start.
        return files & (recorded | needed), needed, own, len(files - recorded - needed)

    def wait_until_clean(self):
        for _ in range(300):
            files, needed, own, unrecorded = self.left()
            if files == needed and not own:
                print(f"  emptied: {len(files)} files are left, all of them needed; {unrecorded} never recorded", flush=True)
                return
            time.sleep(0.1)
        self.soak.tally.finding(f"garbage stays: {len(files - needed)} files that no repository has, {len(needed - files)} "
                                f"missing, {len(own)} left in emptied repositories; such as {sorted(files - needed)[:3]}")
