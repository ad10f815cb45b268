"""Complete backups and restores in each format, against what else an administrator would use, on volumes of an engine."""

import os
import shlex
import shutil

import measure
from commands import DB, MEDIA, SMALL, empty, fill, has_engine, mountpoint, stack, warm
from compare import codecs
from measure import MB, once, table

# The wanted speed relative to other commands, and the largest length relative to that of `gzip -6` or `zstd -3`.
FASTER = {
    ("backup", "media", "bz2"): {"bzip2": 9, "lbzip2": 3, "pbz2": 1.9},
    ("backup", "db", "bz2"): {"bzip2": 6, "lbzip2": 1.7, "pbz2": 1.4},
    ("verify", "media", "bz2"): {"pbz2": 1.6},
    ("verify", "db", "bz2"): {"pbz2": 1.6},
    ("backup", "media", "gz"): {"tar -z": 10, "pigz": 4.5, "igzip": 0.9},
    ("backup", "db", "gz"): {"tar -z": 7, "pigz": 3.2},
    ("backup", "media + db", "zst"): {"zstd": 2, "borg": 1.1, "restic": 2.2},
    ("backup", "small", "gz"): {"tar -z": 4, "restic": 1},
    ("backup", "small", "zst"): {"restic": 1},
    ("restore", "media", "gz"): {"igzip": 1},
    ("restore", "db", "gz"): {"igzip": 1},
    ("restore", "media + db", "gz"): {"tar -z": 5, "igzip": 1},
}
RESTIC = {**os.environ, "RESTIC_PASSWORD": "x"}
BORG = {**os.environ, "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes"}
LONGER = {"media": {"gz": 1.010}, "db": {"gz": 1.005}, "media + db": {"zst": 1.01}}


def shell(line, directory):
    return once(["bash", "-euo", "pipefail", "-c", line], cwd=directory)


class Formats:
    def __init__(self, bench, title, archives):
        self.bench, self.title, self.archives = bench, title, archives
        self.scratch = bench.scratch / title.replace(" ", "")
        self.scratch.mkdir()
        self.only = ",".join(archive.name for archive in archives)

    def tar(self):
        """A command that writes the trees as an archive."""
        return f"tar --sort=name --numeric-owner -cf - {' '.join(f'-C {mountpoint(one)} .' for one in self.archives)}"

    def voltar(self, *arguments):
        environment = {**os.environ, "VOLTAR_STATE_DIR": str(self.scratch / "state")}
        return once([self.bench.voltar, *arguments, "--only", self.only], cwd=self.scratch, env=environment)

    def backup(self, suffix, peers):
        """`peers`: commands that compress standard input, or None for one that reads the trees itself, by name."""
        def run(name, command):
            out = self.scratch / f"{name.replace(' ', '')}.out"
            for archive in self.archives:
                warm(mountpoint(archive))
            if out.is_dir():
                shutil.rmtree(out)
            if callable(command):
                return command(out)
            return shell(f"{self.tar()} | {command} >{out}; sync {out}", self.scratch)

        def ours(out):
            return self.voltar("backup", "--format", suffix, out)

        commands = {**peers, "voltar": ours}
        took = measure.best(self.bench.rounds or 2, {
            name: lambda name=name, command=command: run(name, command) for name, command in commands.items()})
        lengths = {name: length(self.scratch / f"{name.replace(' ', '')}.out") for name in commands}
        self.report("backup", suffix, took, lengths)

    def guides(self, suffix, compress):
        """Makes the archives as the guide's commands do."""
        guides = self.scratch / f"guides.{suffix}"
        guides.mkdir()
        for archive in self.archives:
            shell(f"tar --sort=name --numeric-owner -C {mountpoint(archive)} --transform 's,^\\.,{archive.path[1:]},' "
                  f"-cf - . | {compress} >{guides / archive.name}.tar.{suffix}", self.scratch)
        return guides

    def verify(self, suffix, compress, peers):
        """`peers`: commands that decompress standard input."""
        guides = self.guides(suffix, compress)

        def run(command):
            warm(guides)
            if command is None:
                return once([self.bench.voltar, "verify", guides])
            return shell(f"for archive in {guides}/*; do {command} <$archive >/dev/null; done", self.scratch)

        self.compare("verify", suffix, peers, run)

    def restore(self, suffix, compress, peers):
        """`peers`: commands that decompress standard input."""
        guides = self.guides(suffix, compress)

        def run(command):
            for archive in self.archives:
                empty(archive)
            warm(guides)
            if command is None:
                return self.voltar("restore", guides)
            lines = [f"{command} <{guides / archive.name}.tar.{suffix} "
                     f"| tar -C {mountpoint(archive)} --strip-components {archive.strip} -xf -" for archive in self.archives]
            return shell("; ".join([*lines, f"sync -f {mountpoint(self.archives[0])}"]), self.scratch)

        self.compare("restore", suffix, peers, run)

    def compare(self, what, suffix, peers, run):
        took = measure.best(self.bench.rounds or 2, {
            name: lambda command=command: run(command) for name, command in {**peers, "voltar": None}.items()})
        self.report(what, suffix, took, {})

    def report(self, what, suffix, took, lengths):
        wanted = FASTER.get((what, self.title, suffix), {})
        base = next(iter(lengths), None)
        rows = []
        for name, one in took.items():
            faster = one.seconds / took["voltar"].seconds
            row = [name, f"{one.seconds:.2f}", f"{one.cpu:.2f}", f"{one.peak:.0f}"]
            row += [f"{lengths[name] / MB:.1f}", f"{lengths[name] / lengths[base]:.4f}"] if lengths else [None, None]
            rows.append([*row, f"{faster:.2f} ×", wanted.get(name) and f"≥ {wanted[name]} ×"])
            if name in wanted:
                self.bench.at_least(f"{what} {self.title} .{suffix} against {name}", faster, wanted[name])
        table(f"{what} {self.title} as .{suffix}",
              ["", "seconds", "CPU s", "peak MB", "MB written", "of the first's", "voltar is", "wanted"], rows)
        self.bench.memory(f"{what} {self.title} .{suffix}", took["voltar"].peak)
        bound = LONGER.get(self.title, {}).get(suffix)
        if lengths and bound:
            self.bench.at_most(f"{what} {self.title} .{suffix}: length against {base}",
                               lengths["voltar"] / lengths[base], bound, digits=4)


def length(path):
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def restic(formats):
    def run(out):
        once(["restic", "-q", "-r", out, "init"], env=RESTIC)
        paths = [mountpoint(archive) for archive in formats.archives]
        return once(["restic", "-q", "-r", out, "backup", *paths], env=RESTIC)
    return run


def borg(formats):
    def run(out):
        once(["borg", "init", "-e", "none", out], env=BORG)
        paths = [mountpoint(archive) for archive in formats.archives]
        return once(["borg", "create", "-C", "lz4", f"{out}::one", *paths], env=BORG)
    return run


def bz2(bench):
    peers = {name: codec for name, codec in codecs(bench).items() if name != "voltar"}
    compress = {name: shlex.join(map(str, codec.compress)) for name, codec in peers.items()}
    decompress = {name: shlex.join(map(str, peers[name].decompress)) for name in ("lbzip2", "pbz2")}
    if not has_engine("formats-bz2"):
        return
    with stack([MEDIA, DB]):
        for title, archive in (("media", MEDIA), ("db", DB)):
            fill(bench, archive)
            one = Formats(bench, title, [archive])
            one.backup("bz2", compress)
            one.verify("bz2", compress["bzip2"], decompress)


def gz_and_zst(bench):
    threads = bench.threads
    gz = {"tar -z": "gzip -6", "pigz": f"pigz -p{threads} -6", "libdeflate-gzip": "libdeflate-gzip -6",
          "igzip": f"igzip -T{threads} -1"}
    ungz = {"tar -z": "gzip -d", "igzip": "igzip -dc"}
    if not has_engine("formats-gz"):
        return
    with stack([MEDIA, DB]):
        for title, archive in (("media", MEDIA), ("db", DB)):
            fill(bench, archive)
            one = Formats(bench, title, [archive])
            one.backup("gz", gz)
            one.restore("gz", gz["tar -z"], ungz)
        both = Formats(bench, "media + db", [MEDIA, DB])
        both.restore("gz", gz["tar -z"], ungz)
        both.backup("zst", {"zstd": f"zstd -q -T{threads} -3", "restic": restic(both), "borg": borg(both)})


def small(bench):
    if not has_engine("formats-small"):
        return
    with stack([SMALL]):
        fill(bench, SMALL)
        one = Formats(bench, "small", [SMALL])
        one.backup("gz", {"tar -z": "gzip -6", "restic": restic(one)})
        one.backup("zst", {"zstd": f"zstd -q -T{bench.threads} -3", "restic": restic(one), "borg": borg(one)})
