"""Mixed work on a registry that is killed again and again; then: is everything there that was acknowledged?

Called by soak.sh. Exit status: 0 everything held, 1 findings, 2 wrong usage, 3 could not run.
"""
import argparse
import os
import random
import shutil
import sqlite3
import sys
import tempfile
import threading
import time

from model import Contents, Repository, intact
from server import Client, Doubt, Server
from signing import Signing
from upkeep import Upkeep
from worker import Tally, Worker


class Soak:
    def __init__(self, options, folder):
        self.options, self.seed, self.folder = options, options.seed, folder
        self.password = "a password for the soak"
        self.tally, self.contents = Tally(), Contents(options.seed, 100)
        self.log = open(os.path.join(folder, "log"), "ab")
        self.server = Server(os.path.join(folder, "registry"), self.log)
        self.numbers = {}  # digest → number of the content
        self.kill_now = threading.Event()
        self.until = 0.0
        self.calm = threading.Lock()  # held while nobody may end the server

    @staticmethod
    def shim():
        """The library that sets the server's clock; None where the tests' tools are not built."""
        path = os.path.join(os.environ.get("BULLA_BUILD", ""), "bin/disk-shim.so")
        return path if os.path.exists(path) else None

    def over(self):
        return time.monotonic() > self.until

    def prepare(self):
        self.server.init(self.password)
        self.upkeep = Upkeep(self)
        self.lease_s = self.upkeep.configure()
        self.repositories = [[Repository(f"client{n}/{name}", self.lease_s) for name in ("app", "base", "deep/er")]
                             for n in range(self.options.clients)]
        for n in range(self.options.clients):
            self.server.command("user", "add", f"user{n}", "--password-stdin", text=self.password)
            self.server.command("grant", "add", f"user{n}", "*", "pull,push,delete")
        self.server.start()
        self.workers = [Worker(self, n) for n in range(self.options.clients)]
        self.signing = Signing(self)

    # --- ends of the server

    def restart(self, rng):
        """Not while somebody needs it calm; the pause is as short as an eager supervisor's."""
        with self.calm:
            kind = rng.choices(["kill -9", "SIGTERM", "kill -9 while starting"], [8, 1, 1])[0]
            if kind == "SIGTERM":
                self.server.stop()
            else:
                self.server.kill()
            if kind == "kill -9 while starting":
                time.sleep(rng.random() * 0.2)
                threading.Timer(rng.random() * 0.15, self.end_starting).start()
                if self.server.try_start():
                    self.server.kill()
            time.sleep(rng.random() * 0.2)
            self.server.start()
            self.server.restarts[kind] += 1
            self.kill_now.clear()

    def end_starting(self):
        try:
            self.server.process.kill()
        except OSError:
            pass

    def chaos(self):
        rng = random.Random(f"chaos {self.seed}")
        try:
            while not self.over():
                time.sleep(0.5)
                wait_s = min(rng.uniform(0, 2 * self.options.kill_every), self.until - time.monotonic())
                self.kill_now.wait(max(0.0, wait_s))
                if not self.over():
                    self.restart(rng)
        except Exception as failure:
            self.tally.finding(f"restarting: {failure}")
            self.until = 0.0

    def watch(self):
        while not self.over():
            self.server.sample()
            if self.server.up.is_set() and self.server.process.poll() not in (None, -9, 0):
                self.tally.finding(f"the server ended by itself: status {self.server.process.returncode}")
            time.sleep(0.1)

    def run(self):
        self.until = time.monotonic() + self.options.seconds
        helpers = [threading.Thread(target=work, daemon=True) for work in
                   (self.chaos, self.watch, self.upkeep.run, self.signing.run)]
        for thread in [*self.workers, *helpers]:
            thread.start()
        for thread in [*self.workers, *helpers]:
            thread.join(self.options.seconds + 300)
            if thread.is_alive():
                self.tally.finding(f"{thread.name} does not end")
        if not self.server.up.is_set() or self.server.process.poll() is not None:
            self.server.start()

    # --- after the work

    def verify_all(self, when):
        """Every cell of the model, over HTTP, in parallel."""
        def check(worker):
            try:
                for repository in worker.own:
                    worker.check_repository(repository)
                    worker.list_tags(repository)
                worker.client.drop()
            except Doubt as failure:
                self.tally.finding(f"{when}: no answer though nobody ended the server: {failure}")
        before = self.tally.counts.get("verified", 0)
        threads = [threading.Thread(target=check, args=(worker,)) for worker in self.workers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.signing.check_all()
        print(f"  {when}: {self.tally.counts.get('verified', 0) - before} objects verified", flush=True)

    def check_at_rest(self):
        """Idle again, it holds no more than idle needs."""
        for worker in self.workers:
            worker.client.drop()
        for _ in range(50):
            sample = self.server.sample()
            if sample and sample[1] < 120 and sample[2] < 16:
                break
            time.sleep(0.1)
        else:
            self.tally.finding(f"idle, the server keeps (KiB, descriptors, threads) {sample}")
        if self.options.max_rss_mb and self.server.max_rss_kb > self.options.max_rss_mb << 10:
            self.tally.finding(f"the server had {self.server.max_rss_kb >> 10} MiB resident")
        if self.server.max_fds > 400:
            self.tally.finding(f"the server had {self.server.max_fds} descriptors")

    def check_storage(self):
        """The files of a stopped registry: each is what its name says, each that is needed is there."""
        data = os.path.join(self.server.folder, "data")
        n = 0
        for algorithm in ("sha256", "sha512"):
            for folder, _, names in os.walk(os.path.join(data, "blobs", algorithm)):
                for name in names:
                    with open(os.path.join(folder, name), "rb") as file:
                        if not intact(file.read(), f"{algorithm}:{name}"):
                            self.tally.finding(f"file {folder}/{name} has other bytes than its name says")
                    n += 1
        db = sqlite3.connect(os.path.join(data, "index.db"))
        for check in ("integrity_check", "foreign_key_check"):
            rows = db.execute(f"PRAGMA {check}").fetchall()
            if rows not in ([], [("ok",)]):
                self.tally.finding(f"index: {check}: {rows[:3]}")
        for (digest,) in db.execute("SELECT digest FROM link UNION SELECT digest FROM manifest"):
            algorithm, name = digest.split(":")
            if not os.path.exists(os.path.join(data, "blobs", algorithm, name[:2], name)):
                self.tally.finding(f"the index names {digest}, which has no file")
        db.close()
        print(f"  storage: {n} files re-hashed", flush=True)

    def check_sweep(self):
        """Old upload files are gone after a start, others stay."""
        uploads = os.path.join(self.server.folder, "data", "uploads")
        left = os.listdir(uploads)
        for name in left:
            os.utime(os.path.join(uploads, name), (1, 1))
        self.server.start()
        for _ in range(100):
            if not os.listdir(uploads):
                break
            time.sleep(0.1)
        else:
            self.tally.finding(f"uploads/ is not empty after sweeping: {os.listdir(uploads)[:5]}")
        print(f"  uploads/: {len(left)} files swept", flush=True)

    def check_log(self):
        self.log.flush()
        with open(self.log.name, encoding="utf-8", errors="replace") as file:
            text = file.read()
        for pattern in ("AddressSanitizer", "runtime error", "LeakSanitizer", "Assertion", "stack smashing"):
            if pattern in text:
                at = text.index(pattern)
                self.tally.finding(f"log: {text[max(0, at - 100):at + 300]}")

    def final_checks(self):
        self.verify_all("after the last restart")
        self.check_at_rest()
        self.server.stop()
        self.check_storage()
        self.check_sweep()
        self.upkeep.final_checks()
        self.verify_all("after sweeping and collecting")
        self.server.stop()
        self.check_storage()
        self.upkeep.check_backup()
        self.server.start()
        self.upkeep.empty()
        self.check_storage()
        self.check_log()

    def table(self, elapsed):
        counts, server = self.tally.counts, self.server
        print(f"\n  seed {self.seed}, {elapsed:.0f} s, {self.options.clients} clients")
        rows = sorted(counts.items(), key=lambda item: -item[1])
        rows += list(server.restarts.items()) + [
            ("starts tried again", server.retries), ("slowest start, ms", round(server.max_start_ms)),
            ("max. resident, MiB", server.max_rss_kb >> 10), ("max. descriptors", server.max_fds),
            ("max. threads", server.max_threads), ("findings", len(self.tally.findings))]
        for name, value in rows:
            print(f"  {name.replace('_', ' '):<32} {value:>10}")


def parse():
    parser = argparse.ArgumentParser(prog="soak.sh", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=600, help="length of the mixed work (default 600)")
    parser.add_argument("--seed", type=int, help="of the choice of operations (default: a random one, printed)")
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--kill-every", type=float, default=4.0, help="mean seconds between ends of the server")
    parser.add_argument("--max-rss-mb", type=int, default=96, help="bound of the server's memory; 0: none")
    parser.add_argument("--keep", action="store_true", help="keep the folder with registry and log")
    options = parser.parse_args()
    if options.seed is None:
        options.seed = random.randrange(1 << 32)
    return options


def main():
    options = parse()
    folder = tempfile.mkdtemp(prefix="bulla-soak.")
    soak = Soak(options, folder)
    print(f"soak: seed {options.seed}, {options.seconds} s, in {folder}", flush=True)
    started = time.monotonic()
    try:
        soak.prepare()
        soak.run()
        soak.final_checks()
        soak.table(time.monotonic() - started)
    finally:
        if soak.server.process and soak.server.process.poll() is None:
            soak.server.end(15)
        soak.log.close()
        if soak.tally.findings:
            with open(soak.log.name, encoding="utf-8", errors="replace") as file:
                print("last of the log:", "".join(line for line in file if ": info: request " not in line)[-2000:])
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)
    for finding in soak.tally.findings[:50]:
        print("FINDING:", finding)
    print("soak: everything acknowledged is there and intact" if not soak.tally.findings
          else f"soak: {len(soak.tally.findings)} findings (seed {options.seed})")
    return 1 if soak.tally.findings else 0


if __name__ == "__main__":
    sys.exit(main())
