"""voltar's codec against other programs that read and write bzip2."""

import subprocess
from dataclasses import dataclass

import measure
from bench import Bench
from measure import MB, once, table

# The wanted speed of voltar's codec relative to other programs, on two cores, and the largest length of its archive
# relative to that of `bzip2 -9`.
FASTER = {
    ("compress", "media"): {"bzip2": 8, "lbzip2": 3, "pbz2": 1.9},
    ("compress", "db"): {"bzip2": 6, "lbzip2": 1.7, "pbz2": 1.2},
    ("decompress", "media"): {"bzip2": 6.5, "lbzip2": 2.7, "pbz2": 1.3},
    ("decompress", "db"): {"bzip2": 5.2, "lbzip2": 2.2, "pbz2": 1.1},
    ("decompress own", "media"): {"pbz2": 1.8},
    ("decompress own", "db"): {},
}
LONGER = {"media": 1.01, "db": 1.005}


@dataclass(frozen=True)
class Codec:
    name: str
    compress: list
    decompress: list


def codecs(bench: Bench):
    threads, pbz2, driver = bench.threads, bench.pbz2, bench.driver
    return {
        "bzip2": Codec("bzip2 -9", ["bzip2", "-9"], ["bzip2", "-d"]),
        "pbzip2": Codec(f"pbzip2 -p{threads}", ["pbzip2", "-9c", f"-p{threads}"], ["pbzip2", "-dc", f"-p{threads}"]),
        "lbzip2": Codec(f"lbzip2 -n{threads}", ["lbzip2", "-9", f"-n{threads}"], ["lbzip2", "-d", f"-n{threads}"]),
        "pbz2": Codec(f"pbz2 -n{threads}", [pbz2, "-9", f"-n{threads}"], [pbz2, "-d", f"-n{threads}"]),
        "voltar": Codec(f"voltar -j{threads}", [driver, "compress", threads], [driver, "decompress", threads]),
    }


def archive(bench, codec, name):
    """The archive of the data that a codec writes. Those of the other programs are kept with the data."""
    source = bench.data(name)
    target = (bench.scratch if codec == "voltar" else bench.directory) / f"{name}.{codec}.bz2"
    if not target.exists() or target.stat().st_mtime < source.stat().st_mtime:
        measure.progress(f"{codec} writes {target}")
        part = target.with_suffix(".part")
        once(codecs(bench)[codec].compress, source, part)
        part.rename(target)
        measure.progress()
    return target


def yields(command, source, expected):
    """Whether the output of `command` for the file `source` equals the file `expected`."""
    with open(source, "rb") as stdin:
        first = subprocess.Popen([str(part) for part in command], stdin=stdin, stdout=subprocess.PIPE)
        second = subprocess.run(["cmp", "-", expected], stdin=first.stdout)
        first.stdout.close()
        return first.wait() == 0 and second.returncode == 0


def report(bench, title, key, size, measured, archives=None):
    """Prints a table and records whether voltar reaches the wanted ratios."""
    names, ours = codecs(bench), measured["voltar"]
    bzip2_size = archives["bzip2"].stat().st_size if archives else 0
    rows = []
    for codec, one in measured.items():
        faster, bound = one.seconds / ours.seconds, FASTER[key].get(codec)
        row = [names[codec].name, f"{one.seconds:.2f}", f"{size / one.seconds / MB:.1f}", f"{one.cpu:.2f}", f"{one.peak:.0f}"]
        if archives:
            length = archives[codec].stat().st_size
            row += [f"{length / MB:.2f}", f"{length / size:.4f}", f"{length / bzip2_size:.4f}"]
        rows.append([*row, f"{faster:.2f} ×", bound and f"≥ {bound} ×"])
        if bound:
            bench.at_least(f"{' '.join(key)}: voltar against {codec}", faster, bound)
    bench.memory(f"{' '.join(key)}", ours.peak)
    sizes = ["MB written", "ratio", "of bzip2's"] if archives else []
    table(title, ["", "seconds", "MB/s", "CPU s", "peak MB", *sizes, "voltar is", "wanted"], rows)


def compress(bench, name):
    source = bench.data(name)
    archives = {codec: archive(bench, codec, name) for codec in codecs(bench)}
    bench.correct(f"compress {name}: bzip2 -d reads it", yields(["bzip2", "-d"], archives["voltar"], source))
    measured = measure.best(bench.rounds or 3, {
        codec: lambda one=one: once(one.compress, source) for codec, one in codecs(bench).items()})
    size = source.stat().st_size
    report(bench, f"compress {source.name}, {size / MB:.1f} MB", ("compress", name), size, measured, archives)
    longer = archives["voltar"].stat().st_size / archives["bzip2"].stat().st_size
    bench.at_most(f"compress {name}: length against bzip2 -9", longer, LONGER[name], digits=4)


def decompress(bench, name):
    source = bench.data(name)
    size = source.stat().st_size
    archives = {codec: archive(bench, codec, name) for codec in codecs(bench)}
    ours = codecs(bench)["voltar"]
    for codec in ("bzip2", "voltar"):
        bench.correct(f"decompress {name}: voltar reads {codec}'s", yields(ours.decompress, archives[codec], source))

    measured = measure.best(bench.rounds or 3, {
        codec: lambda one=one: once(one.decompress, archives["bzip2"]) for codec, one in codecs(bench).items()})
    report(bench, f"decompress {source.name} from bzip2 -9, {size / MB:.1f} MB", ("decompress", name), size, measured)

    measured = measure.best(bench.rounds or 3, {
        codec: lambda codec=codec, one=one: once(one.decompress, archives[codec])
        for codec, one in codecs(bench).items() if codec != "bzip2"})
    report(bench, f"decompress {source.name}, each from its own archive", ("decompress own", name), size, measured)
