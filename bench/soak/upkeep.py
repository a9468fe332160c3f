"""What an operator does meanwhile: collecting garbage, backing up. Then the tools' own verdicts."""
import random
import time


class Upkeep:
    def __init__(self, soak):
        self.soak, self.rng = soak, random.Random(f"upkeep {soak.seed}")
        self.help = soak.server.command("--help", config=False).stdout

    def has(self, command):
        return f"\n  {command} " in self.help or f"\n  {command}\n" in self.help

    def configure(self):
        return None

    def run(self):
        while not self.soak.over():
            time.sleep(0.5)

    def final_checks(self):
        pass
