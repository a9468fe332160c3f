"""Publications of trust metadata while the server is killed: what `bulla sign` said it did, holds."""
import json
import os
import random
import subprocess
import time

from model import Cell


class Signing:
    def __init__(self, soak):
        self.soak, self.rng = soak, random.Random(f"signing {soak.seed}")
        self.home = os.path.join(soak.folder, "home")
        self.tags = {}  # reference → Cell of "signed", and the digest
        self.ready = set()
        secret = os.path.join(soak.folder, "passphrase")
        with open(os.open(secret, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as file:
            file.write("a passphrase for the soak\n")
        self.environment = {**os.environ, "BULLA_HOME": self.home, "BULLA_PASSPHRASE_FILE": secret,
                            "BULLA_POLICY": os.path.join(soak.folder, "policy.json"),
                            "REGISTRY_AUTH_FILE": os.path.join(soak.folder, "auth.json")}

    def bulla(self, *words, text=""):
        return subprocess.run(["bulla", "--cacert", os.path.join(self.soak.server.folder, "ca.crt"), *words],
                              input=text, text=True, capture_output=True, env=self.environment, check=False, timeout=120)

    def must(self, *words, text=""):
        """Of a server that runs, or nobody's: tried again while the server comes and goes."""
        for _ in range(20):
            done = self.bulla(*words, text=text)
            if done.returncode == 0:
                return done.stdout
            time.sleep(0.3)
        raise RuntimeError(f"bulla {' '.join(words)}: {done.stderr.strip()}")

    def prepare(self):
        host = f"127.0.0.1:{self.soak.server.port}"
        with self.soak.calm:
            self.must("login", host, "--username", "admin", "--password-stdin", text=self.soak.password)
            self.must("key", "generate", "key")
            keyid = json.loads(self.must("key", "show", "key", "--json"))["keyid"]
            self.must("policy", "allow", host, "--root-key", keyid)
        self.host = host

    def run(self):
        try:
            self.prepare()
            while not self.soak.over():
                self.publish()
                time.sleep(self.rng.random())
        except Exception as failure:
            self.soak.tally.finding(f"signing: {failure}")

    def publish(self):
        """One more tag of a collection; each step may meet a server that is gone."""
        number = len(self.tags)
        repository = f"{self.host}/signed/{self.rng.choice(['one', 'two'])}"
        ref = f"{repository}:v{number}"
        root = os.path.join(self.soak.folder, "rootfs")
        os.makedirs(root, exist_ok=True)
        with open(os.path.join(root, "text"), "w", encoding="ascii") as file:
            file.write(f"text {number}\n")
        self.must("import", root, f"image:v{number}", "--cmd", '["/text"]')
        if not self.tried("push", f"store:image:v{number}", ref):
            return
        if repository not in self.ready and not self.begin_collection(repository):
            return
        cell = self.tags.setdefault(ref, Cell(False))
        before = cell.begin(True)
        done = self.bulla("sign", ref, "--key", "key")
        if done.returncode == 0:
            cell.settle(True)
            self.soak.tally.count("signed")
        elif done.returncode == 1:
            cell.possible = before
            self.soak.tally.finding(f"sign {ref}: {done.stderr.strip()}")
        else:
            self.soak.tally.count("signing in doubt")

    def begin_collection(self, repository):
        done = self.bulla("trust", "init", repository, "--root-key", "key", "--targets-key", "key")
        if done.returncode and "exist" not in done.stderr and "already" not in done.stderr:
            return False
        self.ready.add(repository)
        return True

    def tried(self, *words):
        return any(self.bulla(*words).returncode == 0 for _ in range(5))

    def check_all(self):
        for ref, cell in self.tags.items():
            done = self.bulla("verify", ref)
            if (done.returncode == 0) not in cell.possible or done.returncode not in (0, 1, 3):
                self.soak.tally.finding(f"verify {ref}: status {done.returncode}, may be signed: {cell.possible}: "
                                        f"{done.stderr.strip()}")
            self.soak.tally.count("signatures verified")
