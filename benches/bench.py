"""The state that all sections of `run` share: paths, options and verdicts."""

from dataclasses import dataclass, field
from pathlib import Path

import data

# The memory limit in the README: 64 MB for each worker, and 100 MB more.
MB_PER_WORKER, MB_BESIDE = 64, 100


@dataclass
class Bench:
    directory: Path  # the data
    scratch: Path
    threads: int
    rounds: int | None  # None: the section's default
    thorough: bool
    voltar: Path
    driver: Path  # benches/codec.rs
    pbz2: Path
    verdicts: list = field(default_factory=list)

    def data(self, name):
        return data.make(name, self.directory)

    def at_least(self, what, value, bound, unit="×"):
        self.verdicts.append((what, f"{value:.2f} {unit}", f"≥ {bound} {unit}", value >= bound))

    def at_most(self, what, value, bound, unit="×", digits=2):
        self.verdicts.append((what, f"{value:.{digits}f} {unit}", f"≤ {bound} {unit}", value <= bound))

    def memory(self, what, peak):
        self.at_most(f"{what}: memory", peak, MB_PER_WORKER * self.threads + MB_BESIDE, "MB", 0)

    def correct(self, what, right):
        self.verdicts.append((what, "right" if right else "WRONG", "right", right))
