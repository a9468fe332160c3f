"""The server under test: its process, and one client's connection to it."""
import base64
import http.client
import os
import signal
import socket
import ssl
import subprocess
import threading
import time


class Doubt(Exception):
    """The answer never came: the request may have been carried out or not."""


class Server:
    def __init__(self, folder, log, environment=None):
        self.folder, self.log = folder, log
        self.environment = {**os.environ, **(environment or {})}  # of the server, not of other commands
        self.config = os.path.join(folder, "registry.yaml")
        self.host, self.port = "127.0.0.1", 0
        self.process, self.generation = None, 0
        self.up = threading.Event()
        self.restarts = {"kill -9": 0, "SIGTERM": 0, "kill -9 while starting": 0}
        self.max_rss_kb = self.max_fds = self.max_threads = self.retries = 0
        self.max_start_ms = 0.0

    def init(self, password):
        self.command("init", self.folder, "--listen", "127.0.0.1:0", "--admin", "admin", "--password-stdin",
                     text=password, config=False)
        with socket.socket() as probe:  # the same port over all restarts
            probe.bind((self.host, 0))
            self.port = probe.getsockname()[1]
        with open(self.config, encoding="utf-8") as file:
            text = file.read().replace('"127.0.0.1:0"', f'"127.0.0.1:{self.port}"')
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(text)

    def command(self, *words, text="", config=True, check=True):
        tail = ["--config", self.config] if config else []
        done = subprocess.run(["bulla-registry", *words, *tail], input=text + "\n", text=True, check=False,
                              capture_output=True, timeout=300)
        if check and done.returncode:
            raise RuntimeError(f"bulla-registry {' '.join(words)}: status {done.returncode}: {done.stderr.strip()}")
        return done

    def try_start(self, wait_s=60.0):
        """False: it ended by itself (a signing service of the one before may still be ending)."""
        begun = time.monotonic()
        self.process = subprocess.Popen(["bulla-registry", "serve", "--config", self.config], text=True,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.log,
                                        env=self.environment)
        line = self.process.stdout.readline()
        if not line.startswith("listening on"):
            self.process.wait()
            return False
        self.max_start_ms = max(self.max_start_ms, (time.monotonic() - begun) * 1000)
        self.generation += 1
        self.up.set()
        return True

    def start(self):
        until = time.monotonic() + 15
        while not self.try_start():
            self.retries += 1
            if time.monotonic() > until:
                raise RuntimeError("the server does not start again: see its log")
            time.sleep(0.1)

    def end(self, number):
        self.up.clear()
        self.process.send_signal(number)
        status = self.process.wait(timeout=60)
        self.process.stdout.close()
        return status

    def kill(self):
        self.end(signal.SIGKILL)

    def stop(self):
        status = self.end(signal.SIGTERM)
        if status:
            raise RuntimeError(f"SIGTERM ended the server with status {status}")

    def sample(self):
        """Memory, descriptors and threads of the moment; the largest are kept."""
        try:
            pid = self.process.pid
            with open(f"/proc/{pid}/status", encoding="ascii") as file:
                fields = dict(line.split(":", 1) for line in file if ":" in line)
            fds = len(os.listdir(f"/proc/{pid}/fd"))
        except (OSError, AttributeError):
            return None
        rss, threads = int(fields.get("VmRSS", "0 kB").split()[0]), int(fields["Threads"])
        if fields["State"].strip()[0] == "Z":
            return None
        self.max_rss_kb, self.max_fds = max(self.max_rss_kb, rss), max(self.max_fds, fds)
        self.max_threads = max(self.max_threads, threads)
        return rss, fds, threads


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def __str__(self):
        return f"{self.status} {self.body[:300]!r}"


class Client:
    """One keep-alive connection; any failure of it is a Doubt."""

    def __init__(self, server, user, password):
        self.server = server
        self.context = ssl.create_default_context(cafile=os.path.join(server.folder, "ca.crt"))
        self.basic = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        self.connection, self.generation = None, 0

    def drop(self):
        if self.connection:
            self.connection.close()
        self.connection = None

    def connect(self):
        if self.connection and self.generation == self.server.generation:
            return
        self.drop()
        self.generation = self.server.generation
        self.connection = http.client.HTTPSConnection(self.server.host, self.server.port, timeout=60,
                                                      context=self.context)

    def request(self, method, path, body=None, headers=None, midway=None):
        """midway: called when half of the body has been sent; True breaks the request off."""
        try:
            self.connect()
            c = self.connection
            c.putrequest(method, path, skip_accept_encoding=True)
            c.putheader("Authorization", self.basic)
            for name, value in (headers or {}).items():
                c.putheader(name, value)
            if body is not None:
                c.putheader("Content-Length", str(len(body)))
            c.endheaders()
            if body:
                half = len(body) // 2
                c.send(memoryview(body)[:half])
                if midway and midway():
                    self.drop()
                    raise Doubt("broken off by the client")
                c.send(memoryview(body)[half:])
            response = c.getresponse()
            answer = Answer(response.status, response.headers, response.read())
        except (OSError, http.client.HTTPException, ssl.SSLError) as failure:
            self.drop()
            raise Doubt(str(failure)) from failure
        if answer.status == 503:  # refused while stopping
            self.drop()
            raise Doubt("503")
        return answer
