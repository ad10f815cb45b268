"""Inputs that are slow to compress or to decompress: none may take much longer than typical data of volumes."""

import random
import tarfile

import measure
from bench import Bench
from compare import codecs, yields
from measure import MB, once, table

SIZE = 24_000_000
BOUND = 4
# The size of a `bzip2 -9` block after the initial run-length encoding.
BLOCK = 899_980

PERIODS = [*range(2, 10), 15, 16, 17, 31, 32, 63, 64, 65, 100, 127, 128, 129, 200, 255, 256, 257, 258, 259, 299, 300]
LONG_PERIODS = [1_000, 4_096, 65_536, BLOCK // 9, BLOCK // 3, *(BLOCK // 2 + off for off in (-1, 0, 1)),
                *(BLOCK + off for off in range(-2, 3)), 900_000, 2 * BLOCK]


def repeated(piece):
    return (piece * (SIZE // len(piece) + 1))[:SIZE]


def period(length):
    return repeated(random.Random(length).randbytes(length))


def fibonacci():
    shorter, longer = b"b", b"a"
    while len(longer) < SIZE:
        shorter, longer = longer, longer + shorter
    return longer[:SIZE]


def thue_morse():
    word, other = b"a", bytes.maketrans(b"ab", b"ba")
    while len(word) < SIZE:
        word += word.translate(other)
    return word[:SIZE]


def de_bruijn(letters, length):
    """Every word of `length` letters once: the Lyndon words of dividing lengths, in order (Fredricksen, Maiorana)."""
    sequence, word = bytearray(), [-1]
    while word:
        word[-1] += 1
        if length % len(word) == 0:
            sequence += bytes(word)
        period = len(word)
        while len(word) < length:
            word.append(word[-period])
        while word and word[-1] == letters - 1:
            word.pop()
    return repeated(bytes(sequence))


def runs(lengths):
    """Runs that the initial run-length encoding expands or splits."""
    rng = random.Random(4)
    pieces = (bytes([rng.randrange(256)]) * rng.choice(lengths) for _ in range(SIZE // min(lengths)))
    return b"".join(pieces)[:SIZE]


def nearly_periodic(length):
    """A period with some changed bytes: repeats are long, but none extends to the end."""
    rng, content = random.Random(length), bytearray(period(length))
    for _ in range(SIZE // 50_000):
        content[rng.randrange(SIZE)] ^= 1
    return bytes(content)


def jpeg(bench):
    """One picture repeated, as from a camera on a still scene."""
    with tarfile.open(bench.data("media")) as media:
        pictures = (member for member in media if member.name.endswith("preview.jpeg"))
        return repeated(media.extractfile(next(pictures)).read())


def cases(bench):
    yield "zeros", lambda: bytes(SIZE)
    yield "one byte", lambda: b"\xff" * SIZE
    for length in range(2, 301) if bench.thorough else PERIODS:
        yield f"period {length}", lambda length=length: period(length)
    for length in LONG_PERIODS:
        yield f"period {length:,}", lambda length=length: period(length)
    for length in (1, 7, 1_000, 100_000):
        yield f"period {length:,} with errors", lambda length=length: nearly_periodic(length)
    yield "Fibonacci word", fibonacci
    yield "Thue-Morse word", thue_morse
    yield "de Bruijn, 2 letters", lambda: de_bruijn(2, 24)
    yield "de Bruijn, 256 letters", lambda: de_bruijn(256, 3)
    yield "runs of 4", lambda: runs([4])
    yield "runs of 3 to 5", lambda: runs([3, 4, 5])
    yield "runs of 255 to 260", lambda: runs(range(255, 261))
    yield "all bytes in order", lambda: repeated(bytes(range(256)))
    yield "random bytes", lambda: random.Random(0).randbytes(SIZE)
    yield "one JPEG, repeated", lambda: jpeg(bench)


def times(bench, source):
    """Nanoseconds per byte to compress and to decompress the file, the ratio, and whether the round trip succeeded."""
    ours, size = codecs(bench)["voltar"], source.stat().st_size
    archive = bench.scratch / "worst.bz2"
    once(ours.compress, source, archive)
    right = yields(ours.decompress, archive, source) and yields(["bzip2", "-d"], archive, source)
    measured = measure.best(bench.rounds or 2, {
        "compress": lambda: once(ours.compress, source), "decompress": lambda: once(ours.decompress, archive)})
    ratio = archive.stat().st_size / size
    archive.unlink()
    return *(one.seconds * 1e9 / size for one in measured.values()), ratio, right


def bounded(bench: Bench):
    results = {name: times(bench, bench.data(name)) for name in ("media", "db")}
    limits = [max(one[direction] for one in results.values()) for direction in (0, 1)]
    source = bench.scratch / "worst"
    for name, make in cases(bench):
        measure.progress(f"making {name}")
        source.write_bytes(make())
        results[name] = times(bench, source)
    source.unlink()

    rows, worst = [], [(0, ""), (0, "")]
    for name, (*speeds, ratio, _) in results.items():
        row = [name, f"{ratio:.5f}"]
        for direction in (0, 1):
            relative = speeds[direction] / limits[direction]
            row += [f"{speeds[direction]:.2f}", f"{relative:.2f} ×"]
            worst[direction] = max(worst[direction], (relative, name))
        rows.append(row)
    table(f"bounded: {SIZE / MB:.0f} MB of each, against the slower of media and db, voltar -j{bench.threads}",
          ["", "ratio", "compress ns/B", "", "decompress ns/B", ""], rows)
    for (relative, name), what in zip(worst, ("compress", "decompress")):
        bench.at_most(f"bounded: {what}, worst is {name}", relative, BOUND)
    wrong = [name for name, (*_, right) in results.items() if not right]
    bench.correct(f"bounded: round trips, also through bzip2 -d {' '.join(wrong)}".rstrip(), not wrong)
