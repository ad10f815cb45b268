"""Backups after a first one, of which little has changed since, against restic and borg, and how long containers are
stopped."""

import json
import os
import random

import measure
from commands import LABEL, PROJECT, SMALL, docker, fill, has_engine, mountpoint, stack, warm
from formats import BORG, RESTIC
from measure import once, table

# The wanted speed relative to restic's, and the memory in MB that changes may take more than a full archive.
NOTHING_CHANGED, LITTLE_CHANGED, MORE_MEMORY = 1, 1 / 1.2, 100
CHANGES = ["--full-every", "365d"]


class Nights:
    def __init__(self, bench):
        self.bench, self.scratch, self.number = bench, bench.scratch / "nights", 0
        self.scratch.mkdir()
        once(["restic", "-q", "-r", self.scratch / "restic", "init"], env=RESTIC)
        once(["borg", "init", "-e", "none", self.scratch / "borg"], env=BORG)

    def restic(self):
        return once(["restic", "-q", "-r", self.scratch / "restic", "backup", mountpoint(SMALL)], env=RESTIC)

    def borg(self):
        self.number += 1
        archive = f"{self.scratch / 'borg'}::{self.number}"
        return once(["borg", "create", "-C", "lz4", archive, mountpoint(SMALL)], env=BORG)

    def voltar(self, *options, into="sets", output=os.devnull):
        environment = {**os.environ, "VOLTAR_STATE_DIR": str(self.scratch / "state")}
        command = [self.bench.voltar, "backup", "--into", self.scratch / into, "--format", "zst", "--only", SMALL.name]
        return once([*command, *options], target=output, cwd=self.scratch, env=environment)

    def change(self):
        """Writes new content to one file of a hundred."""
        self.number += 1
        files = sorted(path for path in mountpoint(SMALL).rglob("*") if path.is_file())
        for path in random.Random(self.number).sample(files, len(files) // 100):
            path.write_bytes(os.urandom(path.stat().st_size))

    def night(self, title, rounds, before=lambda: None, wanted=None):
        """Measures each tool after `before`, whose changes all of them find. Returns the memory of voltar."""
        tools = {"restic": self.restic, "borg": self.borg, "voltar": lambda: self.voltar("--quiet", *CHANGES)}
        took = []
        for _ in range(rounds):
            before()
            warm(mountpoint(SMALL))
            took.append(measure.best(1, tools))
        best = {name: min((one[name] for one in took), key=lambda one: one.seconds) for name in took[0]}
        ours = best["voltar"]
        rows = [[name, f"{one.seconds:.2f}", f"{one.cpu:.2f}", f"{one.peak:.0f}", f"{one.seconds / ours.seconds:.2f} ×"]
                for name, one in best.items()]
        table(title, ["", "seconds", "CPU s", "peak MB", "voltar is"], rows)
        if wanted:
            self.bench.at_least(f"{title}: against restic", best["restic"].seconds / ours.seconds, round(wanted, 2))
        return max(one["voltar"].peak for one in took)

    def downtime(self, rounds):
        """Measures how long a container is stopped, as voltar reports it."""
        docker("run", "--detach", "--name", f"{PROJECT}-app", "--label", LABEL, "--network", "none",
               "-v", f"{SMALL.volume}:{SMALL.path}", "ubuntu", "bash", "-c", "trap 'exit 0' TERM; sleep infinity & wait")
        ways = {"--stop": [], "--stop --two-pass": ["--two-pass"], "--stop, changes": CHANGES}
        rows = []
        for name, options in ways.items():
            stopped, whole = [], []
            for _ in range(rounds):
                self.change()
                warm(mountpoint(SMALL))
                output = self.scratch / "events"
                into = "sets" if options is CHANGES else "full"
                took = self.voltar("--stop", "--json", *options, into=into, output=output)
                events = [json.loads(line) for line in output.read_text().splitlines()]
                stopped += [event["seconds"] for event in events if event.get("event") == "downtime"]
                whole.append(took.seconds)
            rows.append([name, f"{min(stopped):.2f}", f"{min(whole):.2f}"])
        table("one container is stopped, 1 % changed", ["", "downtime, s", "in all, s"], rows)


def small(bench):
    if not has_engine("nights-small"):
        return
    rounds = bench.rounds or 2
    with stack([SMALL]):
        fill(bench, SMALL)
        nights = Nights(bench)
        full = nights.night("small, first backup as .zst", 1)
        nights.night("small, nothing changed", rounds, wanted=NOTHING_CHANGED)
        changes = nights.night("small, 1 % changed", rounds, nights.change, LITTLE_CHANGED)
        bench.at_most("small, 1 % changed: memory beyond that of a full", changes - full, MORE_MEMORY, "MB", 0)
        nights.downtime(rounds)
