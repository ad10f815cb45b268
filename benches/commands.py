"""`voltar backup` and `voltar restore` against the commands of CVAT's backup guide, on volumes of a Docker engine."""

import fcntl
import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import measure
from bench import Bench
from data import ROOT, run
from measure import MB, Measured, once, table

# A label of all containers, by which the next run and the end-to-end tests find the leftovers of a killed one.
PROJECT = "voltar-bench"
LABEL = f"com.docker.compose.project={PROJECT}"


@dataclass(frozen=True)
class Archive:
    """One of the guide's archives: the container and path that it holds, and the data that the benchmark puts there."""

    name: str
    container: str
    path: str
    content: str

    @property
    def volume(self):
        return f"{PROJECT}_{self.name}"

    @property
    def strip(self):
        return self.path.count("/")

    # As the guide prints them.

    def backup(self, letter, suffix):
        return (f"docker run --rm --name temp_backup --volumes-from {self.container} -v $(pwd)/backup:/backup ubuntu "
                f"tar -c{letter}vf /backup/{self.name}.tar.{suffix} {self.path}")

    def restore(self, suffix):
        return (f"docker run --rm --name temp_backup --volumes-from {self.container} -v $(pwd):/backup ubuntu "
                f'bash -c "cd {self.path} && tar -xvf /backup/{self.name}.tar.{suffix} --strip {self.strip}"')


DB = Archive("cvat_db", "cvat_db", "/var/lib/postgresql/data", "db")
MEDIA = Archive("cvat_data", "cvat", "/home/django/data", "media")
SMALL = Archive("cvat_data", "cvat", "/home/django/data", "small")


def docker(*arguments):
    return subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True).stdout.strip()


def has_engine(title):
    """Whether an engine answers; says so if none does."""
    try:
        docker("version")
        return True
    except (OSError, subprocess.CalledProcessError):
        print(f"\n{title}: skipped: no Docker engine answers")
        return False


@contextmanager
def stack(archives):
    """Creates volumes, and stopped containers with the names in the guide's commands."""
    # The lock of the end-to-end tests, whose containers have the same names.
    with open(Path(tempfile.gettempdir()) / "voltar-e2e.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        run(ROOT / "tests/e2e/images.sh")
        remove()
        try:
            for archive in archives:
                docker("volume", "create", archive.volume)
                docker("create", "--name", archive.container, "--label", LABEL,
                       "-v", f"{archive.volume}:{archive.path}", "ubuntu", "true")
            yield
        finally:
            remove()


def remove():
    for container in docker("ps", "--all", "--quiet", "--filter", f"label={LABEL}").split():
        docker("rm", "--force", container)
    for volume in docker("volume", "ls", "--quiet", "--filter", f"name=^{PROJECT}_").split():
        docker("volume", "rm", volume)


def mountpoint(archive):
    """The mountpoint of an archive's volume."""
    return Path(docker("volume", "inspect", "--format", "{{.Mountpoint}}", archive.volume))


def empty(archive):
    """Moves the tree out of the volume. Deleting it would slow down the next command: ext4 does not reuse inodes that
    were freed in the last minutes, but checks all of them again for each new file."""
    # In the volume's directory, so that it is removed with the volume.
    out = Path(tempfile.mkdtemp(prefix="emptied-", dir=mountpoint(archive).parent))
    for entry in mountpoint(archive).iterdir():
        entry.rename(out / entry.name)


def fill(bench, archive):
    content, target = bench.data(archive.content), mountpoint(archive)
    if content.is_dir():
        run("cp", "-r", f"{content}/.", target)
    else:
        run("tar", "-C", target, "--strip-components", archive.strip, "-xf", content)


def digest(archive):
    """A digest of a volume without its root, whose attributes `tar -x --strip` does not restore."""
    line = "ls -A | LC_ALL=C sort | tar --sort=name --numeric-owner -cf - -T - | sha256sum"
    return subprocess.run(["bash", "-c", line], cwd=mountpoint(archive), check=True, capture_output=True).stdout


def warm(path):
    """Reads everything below `path` into the page cache and writes dirty pages back, so that each command starts in the
    same state. (voltar drops what it has read from the page cache.)"""
    os.sync()
    run("sh", "-c", 'find "$0" -type f -print0 | xargs -0 cat >/dev/null', path)


def together(measured):
    """The measurements of several commands in sequence, combined."""
    return Measured(sum(one.seconds for one in measured), sum(one.cpu for one in measured),
                    max(one.peak for one in measured))


class Side:
    """The working directory of one side's commands, with its archives in `backup`."""

    def __init__(self, directory):
        self.directory, self.backup = directory, directory / "backup"
        self.backup.mkdir(parents=True)

    def clear(self):
        shutil.rmtree(self.backup)
        self.backup.mkdir()

    def length(self):
        return sum(path.stat().st_size for path in self.backup.iterdir()) / MB


class Comparison:
    """The two sides on one stack."""

    def __init__(self, bench: Bench, archives):
        self.bench, self.archives = bench, archives
        self.only = ",".join(archive.name for archive in archives)
        self.guide, self.ours = (Side(bench.scratch / self.only / side) for side in ("guide", "voltar"))
        self.rows = []

    def documented(self, lines, directory):
        return together([once(["bash", "-euo", "pipefail", "-c", line], cwd=directory) for line in lines])

    def voltar(self, *arguments):
        # Keeps its state on interrupted runs apart from the host's.
        environment = {**os.environ, "VOLTAR_STATE_DIR": str(self.ours.directory / "state")}
        return once([self.bench.voltar, *arguments, "--only", self.only], cwd=self.ours.directory, env=environment)

    def add(self, title, guide, ours, *lengths):
        self.rows.append([title, f"{guide.seconds:.2f}", f"{ours.seconds:.2f}", f"{ours.peak:.0f}",
                          f"{guide.seconds / ours.seconds:.2f} ×", *lengths])

    def backup(self, letter, suffix):
        def documented():
            prepare(self.guide)
            return self.documented([archive.backup(letter, suffix) for archive in self.archives], self.guide.directory)

        def voltar():
            prepare(self.ours)
            return self.voltar("backup", "--format", suffix)

        def prepare(side):
            side.clear()
            for archive in self.archives:
                warm(mountpoint(archive))

        took = measure.best(self.bench.rounds or 1, {"guide": documented, "voltar": voltar})
        self.bench.memory(f"backup {self.only} as .{suffix}", took["voltar"].peak)
        self.add(f"backup {self.only} as .{suffix}", took["guide"], took["voltar"],
                 f"{self.guide.length():.1f}", f"{self.ours.length():.1f}")

    def restore(self, suffix):
        before = {archive: digest(archive) for archive in self.archives}
        synced = []

        def into_empty_volumes(side, command):
            for archive in self.archives:
                empty(archive)
            warm(side.backup)
            took = command(side)
            for archive in self.archives:
                self.bench.correct(f"restore of {archive.name}.tar.{suffix}", digest(archive) == before[archive])
            return took

        def documented(side):
            took = self.documented([archive.restore(suffix) for archive in self.archives], side.backup)
            # The guide's commands leave writeback to the kernel, voltar syncs.
            synced.append(together([took, once(["sync"])]))
            return took

        def voltar(side):
            return self.voltar("restore", side.backup)

        took = measure.best(self.bench.rounds or 1, {
            "guide": lambda: into_empty_volumes(self.guide, documented),
            "voltar": lambda: into_empty_volumes(self.guide, voltar),
            "voltar, its own": lambda: into_empty_volumes(self.ours, voltar),
        })
        self.bench.memory(f"restore {self.only} from .{suffix}", max(took["voltar"].peak, took["voltar, its own"].peak))
        self.add(f"restore {self.only} from the guide's .{suffix}", took["guide"], took["voltar"])
        self.add(f"restore {self.only} from the guide's .{suffix}, and sync",
                 min(synced, key=lambda one: one.seconds), took["voltar"])
        self.add(f"restore {self.only}, each from its own .{suffix}", took["guide"], took["voltar, its own"])


def compare(bench, title, *archives):
    if not has_engine(title):
        return
    with stack(archives):
        for archive in archives:
            fill(bench, archive)
        # Each archive alone, and all in one run.
        comparisons = [Comparison(bench, chosen) for chosen in dict.fromkeys([*((one,) for one in archives), archives])]
        for comparison in comparisons:
            for letter, suffix in (("j", "bz2"), ("z", "gz")):
                comparison.backup(letter, suffix)
                comparison.restore(suffix)
        rows = [row for comparison in comparisons for row in comparison.rows]
    table(title, ["", "guide's seconds", "voltar's", "peak MB", "voltar is", "guide's MB", "voltar's"],
          rows)


def volumes(bench):
    compare(bench, "commands: media and db", DB, MEDIA)


def small_files(bench):
    compare(bench, "commands: 300,000 small files", SMALL)
