"""Running commands and measuring their time and memory."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass

MB = 1_000_000


@dataclass(frozen=True)
class Measured:
    seconds: float
    cpu: float  # seconds of all threads
    peak: float  # MB of memory


def once(command, source=os.devnull, target=os.devnull, **options):
    """Runs `command` with its input from one file and its output to another."""
    with open(source, "rb") as stdin, open(target, "wb") as stdout:
        begin = time.monotonic()
        process = subprocess.Popen([str(part) for part in command], stdin=stdin, stdout=stdout, **options)
        # Not `process.wait`, which does not return the resource usage.
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{process.args} failed with {process.returncode}")
    return Measured(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / MB)


def best(rounds, commands):
    """Runs each of `commands` (functions that return their measurements) once per round, so that a disturbance of the
    machine affects all of them. Returns the fastest times: disturbances only make a command slower."""
    measured = {name: [] for name in commands}
    for number in range(rounds):
        for name, command in commands.items():
            progress(f"round {number + 1} of {rounds}: {name}")
            measured[name].append(command())
    progress()
    return {name: Measured(min(one.seconds for one in all), min(one.cpu for one in all), max(one.peak for one in all))
            for name, all in measured.items()}


def progress(text=""):
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def table(title, head, rows):
    """Prints `rows`. The first column is aligned to the left, the others to the right."""
    rows = [["" if cell is None else str(cell) for cell in row + [None] * (len(head) - len(row))] for row in [head, *rows]]
    widths = [max(map(len, column)) for column in zip(*rows)]
    print(f"\n{title}\n")
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))]
        print("  " + "   ".join(cells).rstrip(), flush=True)
