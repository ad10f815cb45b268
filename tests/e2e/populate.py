#!/usr/bin/env python3
"""Fills the volumes of the test stack with what CVAT would have put there, and with what breaks archivers.

    populate.py media DIR [--megabytes N]   what `cvat_data` holds, owned by 1000:1000; the oddities need root
    populate.py sql [--megabytes N]         SQL on stdout: annotation tables of about N MB, for psql
    populate.py small DIR --files N         N small files, for benches

Deterministic: the same arguments make the same bytes. Python's standard library only.
"""

import argparse
import os
import random
import socket
import stat
import struct
import sys
import zlib

MB = 1_000_000


class Jpeg:
    """Writes real baseline JPEGs (grey, Annex K's Huffman tables) with random coefficients: decodable, and about as
    compressible as photographs are, which is to say hardly."""

    DC_BITS = [0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0]
    DC_VALUES = list(range(12))
    AC_BITS = [0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 0x7D]
    AC_VALUES = bytes.fromhex(
        "01020300041105122131410613516107227114328191a1082342b1c11552d1f02433627282090a161718191a25262728292a3435363738"
        "393a434445464748494a535455565758595a636465666768696a737475767778797a838485868788898a92939495969798999aa2a3a4a5"
        "a6a7a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae1e2e3e4e5e6e7e8e9eaf1f2f3f4f5f6f7f8f9fa"
    )

    def __init__(self, rng):
        self.rng = rng
        self.dc = self.codes(self.DC_BITS, self.DC_VALUES)
        self.ac = self.codes(self.AC_BITS, self.AC_VALUES)
        # Coding each block anew would be slow in Python; a picture draws its blocks from a large stock.
        self.stock = [self.block() for _ in range(20_000)]

    @staticmethod
    def codes(bits, values):
        table, code, at = {}, 0, 0
        for length, count in enumerate(bits, start=1):
            for _ in range(count):
                table[values[at]] = format(code, f"0{length}b")
                code, at = code + 1, at + 1
            code <<= 1
        return table

    @staticmethod
    def amplitude(value):
        size = abs(value).bit_length()
        return size, format(value if value > 0 else value + (1 << size) - 1, f"0{size}b") if size else ""

    def block(self):
        size, bits = self.amplitude(int(self.rng.gauss(0, 12)))
        coded, run = [self.dc[size], bits], 0
        for at in range(1, self.rng.randint(6, 30)):
            value = int(self.rng.gauss(0, 14 / (1 + at / 4)))
            if value == 0:
                run += 1
                continue
            while run > 15:
                coded.append(self.ac[0xF0])
                run -= 16
            size, bits = self.amplitude(value)
            coded.append(self.ac[run << 4 | size] + bits)
            run = 0
        coded.append(self.ac[0])
        return "".join(coded)

    def picture(self, width, height):
        scan = "".join(self.rng.choices(self.stock, k=(width // 8) * (height // 8)))
        scan += "1" * (-len(scan) % 8)
        scan = int(scan, 2).to_bytes(len(scan) // 8, "big").replace(b"\xff", b"\xff\x00")

        def segment(marker, payload):
            return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload

        return b"".join((
            b"\xff\xd8",
            segment(0xE0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0"),
            segment(0xDB, bytes([0] + [min(255, 4 + 2 * i) for i in range(64)])),
            segment(0xC0, struct.pack(">BHHBBBB", 8, height, width, 1, 1, 0x11, 0)),
            segment(0xC4, bytes([0x00] + self.DC_BITS + self.DC_VALUES)),
            segment(0xC4, bytes([0x10] + self.AC_BITS) + self.AC_VALUES),
            segment(0xDA, bytes([1, 1, 0, 0, 63, 0])),
            scan,
            b"\xff\xd9",
        ))


def stored_zip(names_and_contents):
    """A zip without compression, as CVAT's chunks are. (zipfile would write the time of day.)"""
    body, directory = b"", b""
    for name, content in names_and_contents:
        common = struct.pack("<HHHHHIIIHH", 20, 0, 0, 0, 0x21, zlib.crc32(content), len(content), len(content), len(name), 0)
        directory += struct.pack("<I", 0x02014B50) + b"\x14\0" + common + struct.pack("<HHHII", 0, 0, 0, 0, len(body)) + name
        body += struct.pack("<I", 0x04034B50) + common + name + content
    count = len(names_and_contents)
    return body + directory + struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, count, count, len(directory), len(body), 0)


class Tree:
    """Makes entries below a directory; names are bytes, owner is 1000:1000 unless said otherwise."""

    def __init__(self, root):
        self.root = os.fsencode(root)
        self.directories = {}

    def at(self, name):
        return os.path.join(self.root, name if isinstance(name, bytes) else name.encode())

    def finish(self, path, mode=None, owner=(1000, 1000), mtime=None):
        if os.geteuid() == 0:
            os.chown(path, *owner, follow_symlinks=False)
        if mode is not None:
            os.chmod(path, mode)
        if mtime is not None:
            os.utime(path, ns=(mtime, mtime), follow_symlinks=False)

    def directory(self, name, mode=0o755, mtime=1_600_000_000_000_000_000, **attributes):
        path = self.at(name)
        os.makedirs(path, exist_ok=True)
        self.finish(path, mode, **attributes)
        # Everything put into a directory later changes its time.
        self.directories[path] = mtime

    def file(self, name, content, mode=0o644, mtime=1_600_000_000_123_456_789, **attributes):
        path = self.at(name)
        with open(path, "wb") as out:
            out.write(content)
        self.finish(path, mode, mtime=mtime, **attributes)

    def symlink(self, name, target, **attributes):
        os.symlink(target, self.at(name))
        self.finish(self.at(name), mtime=1_500_000_000_000_000_001, **attributes)

    def special(self, name, kind, mode, device=0, **attributes):
        os.mknod(self.at(name), kind | 0o600, device)
        self.finish(self.at(name), mode, mtime=1_400_000_000_000_000_000, **attributes)

    def done(self):
        # The deepest first: setting a directory's own time changes no other's, but order costs nothing.
        for path in sorted(self.directories, key=len, reverse=True):
            mtime = self.directories[path]
            os.utime(path, ns=(mtime, mtime))


def media(root, size):
    rng = random.Random(2021)
    tree = Tree(root)
    os.makedirs(tree.root, exist_ok=True)
    tree.directory(".", mode=0o2775, mtime=1_610_000_000_999_999_999)

    # Tasks as CVAT lays them out: raw frames, zipped chunks, a preview, a manifest.
    jpeg, written, task = Jpeg(rng), 0, 0
    while written < size:
        task += 1
        for directory in ("raw", "compressed", "original"):
            tree.directory(f"data/{task}/{directory}", mode=0o2755)
        frames = []
        for number in range(8):
            # A few kilobytes to half a megabyte.
            edge = rng.choice((160, 320, 640, 1280))
            picture = jpeg.picture(edge, edge * 3 // 4)
            frames.append((b"%06d.jpeg" % number, picture))
            tree.file(f"data/{task}/raw/frame_{number:06}.jpg", picture, mtime=1_600_000_000_000_000_000 + written * 1001)
            written += len(picture)
        # The chunks are coded anew at another quality: no bytes in common with the raw frames.
        chunk = stored_zip([(name, jpeg.picture(320, 240)) for name, _ in frames])
        tree.file(f"data/{task}/compressed/0.zip", chunk)
        written += len(chunk)
        tree.file(f"data/{task}/preview.jpeg", frames[0][1][:20_000])
        tree.file(f"data/{task}/manifest.jsonl", b"".join(b'{"name":"frame_%06d","extension":".jpg"}\n' % n for n in range(8)))
    for directory in ("data", *(f"data/{n}" for n in range(1, task + 1))):
        tree.directory(directory)

    oddities(tree, rng)
    tree.done()


def oddities(tree, rng):
    tree.directory("odd", mode=0o2770)
    tree.directory("odd/empty", mtime=-86_400_000_000_001)
    tree.directory("odd/sticky", mode=0o1777, owner=(0, 0))
    # In a directory with setgid, GNU tar and cp leave that bit on a directory of mode 0: it has the bit from the start.
    tree.directory("odd/locked", mode=0o2000)
    tree.file("odd/empty-file", b"")
    tree.file("odd/exactly-512", bytes(512))
    tree.file("odd/513", rng.randbytes(513))
    tree.file("odd/locked-file", b"nobody may read this but root", mode=0o000)
    tree.file("odd/open-file", b"everybody may", mode=0o777)
    tree.file("odd/setuid", b"#!/bin/true\n", mode=0o4755, owner=(33, 33))
    tree.file("odd/setgid", b"#!/bin/true\n", mode=0o2711)
    tree.file("odd/before-1970", b"old", mtime=-1_500_000_001)
    tree.file("odd/epoch", b"zero", mtime=0)
    tree.file("odd/after-2106", b"far", mtime=5_000_000_000_000_000_007)
    tree.file("odd/next-nanosecond", b"precise", mtime=1_600_000_000_999_999_999)

    tree.file("odd/one", b"three names, one file\n", mode=0o640)
    for name in ("odd/two", "odd/empty/three"):
        os.link(tree.at("odd/one"), tree.at(name))
    # Links from a directory that sorts before the file's own.
    tree.file("odd/zz-last", b"met first under another name\n")
    os.link(tree.at("odd/zz-last"), tree.at("data/aa-first"))

    tree.symlink("odd/to-relative", "one")
    tree.symlink("odd/to-parent", "../data/1/preview.jpeg")
    tree.symlink("odd/to-absolute", "/etc/passwd")
    tree.symlink("odd/to-nothing", "no/such/file")
    tree.symlink("odd/to-directory", "empty")
    tree.symlink("odd/to-itself", "to-itself", owner=(33, 33))
    tree.symlink("odd/to-far", "far/" * 40 + "away")
    os.link(tree.at("odd/to-nothing"), tree.at("odd/to-nothing-too"), follow_symlinks=False)

    tree.special("odd/fifo", stat.S_IFIFO, 0o620)
    tree.special("odd/socket", stat.S_IFSOCK, 0o755)
    if os.geteuid() == 0:
        try:
            tree.special("odd/null", stat.S_IFCHR, 0o666, os.makedev(1, 3), owner=(0, 0))
            tree.special("odd/block", stat.S_IFBLK, 0o660, os.makedev(259, 70_000), owner=(0, 6))
        except PermissionError:
            print("populate.py: no device nodes: not permitted here", file=sys.stderr)

    # Two megabytes of hole, data, hole, data, hole.
    with open(tree.at("odd/sparse"), "wb") as out:
        for offset in (1_000_000, 1_500_000):
            out.seek(offset)
            out.write(rng.randbytes(5000))
        out.truncate(2_097_152)
    tree.finish(tree.at("odd/sparse"), 0o644, mtime=1_600_000_000_000_000_000)

    names = [
        "n" * 99, "n" * 100, "n" * 101, "n" * 255, "Straßenbäume", "日本語の名前", b"latin1-\xe4\xf6\xfc", b"\xff\xfe\x80", "with\nnewline",
        "tab\tand blank ", "back\\slash", "-rf", "*", "esc\x1b[31m", "quote'\"", "._", "...", "A", "a", "a.", "a-b", "a b",
    ]
    tree.directory("odd/names")
    for number, name in enumerate(names):
        name = name if isinstance(name, bytes) else name.encode()
        tree.file(b"odd/names/" + name, b"name %d" % number)
    # The member names' lengths go through 100 (the header's field) and through 255, one by one.
    tree.directory("odd/lengths")
    base = len("home/django/data/odd/lengths/")
    for length in range(97, 104):
        tree.file("odd/lengths/" + "l" * (length - base), b"")
        tree.symlink("odd/lengths/" + "s" * (length - base), "t" * length)
    deep = "odd/lengths"
    for _ in range(5):
        deep += "/" + "d" * 60
        tree.directory(deep)
        tree.file(deep + "/leaf", deep.encode())
    os.link(tree.at(deep + "/leaf"), tree.at("odd/linked-from-the-deep"))
    # Directories made along the way get their attributes anew: linking changed their times.
    tree.directory("odd/empty", mtime=-86_400_000_000_001)


SQL = """
-- In the manner of CVAT's engine_* tables: shapes are text, tracks are many small rows.
CREATE TABLE engine_task (id serial PRIMARY KEY, name text NOT NULL, created timestamptz NOT NULL, owner_id int);
CREATE TABLE engine_job (id serial PRIMARY KEY, task_id int REFERENCES engine_task, status text NOT NULL);
CREATE TABLE engine_label (id serial PRIMARY KEY, task_id int REFERENCES engine_task, name text, color text);
CREATE TABLE engine_labeledshape (
    id bigserial PRIMARY KEY, job_id int REFERENCES engine_job, label_id int REFERENCES engine_label, frame int,
    type text, occluded boolean, z_order int, points text);
CREATE TABLE engine_attributeval (id bigserial PRIMARY KEY, shape_id bigint, spec_id int, value text);

SELECT setseed(0.2021);
INSERT INTO engine_task (name, created, owner_id)
    SELECT 'Aufgabe №' || n, timestamptz '2021-03-01 00:00+00' + n * interval '7 hours', n % 5 FROM generate_series(1, {tasks}) n;
INSERT INTO engine_job (task_id, status) SELECT 1 + n % {tasks}, (ARRAY['annotation','validation','completed'])[1 + n % 3]
    FROM generate_series(1, {tasks} * 4) n;
INSERT INTO engine_label (task_id, name, color) SELECT 1 + n % {tasks}, 'label ' || n, '#' || lpad(to_hex(n * 7919 % 16777216), 6, '0')
    FROM generate_series(1, {tasks} * 5) n;
INSERT INTO engine_labeledshape (job_id, label_id, frame, type, occluded, z_order, points)
    SELECT 1 + n % ({tasks} * 4), 1 + n % ({tasks} * 5), n / 20, (ARRAY['rectangle','polygon','polyline'])[1 + n % 3], n % 7 = 0, n % 4,
        (SELECT string_agg(round((random() * 1920)::numeric, 2)::text, ',') FROM generate_series(1, 4 + n % 24))
    FROM generate_series(1, {shapes}) n;
INSERT INTO engine_attributeval (shape_id, spec_id, value)
    SELECT n, n % 9, CASE n % 3 WHEN 0 THEN 'true' WHEN 1 THEN 'false' ELSE 'Wert ' || n END FROM generate_series(1, {shapes}) n;
CREATE INDEX ON engine_labeledshape (job_id, frame);
-- Freed rows and a bloated table, as in a database that is worked with.
UPDATE engine_labeledshape SET z_order = z_order + 1 WHERE id % 10 = 0;
DELETE FROM engine_attributeval WHERE id % 25 = 0;
VACUUM ANALYZE;
"""


def sql(size):
    # One shape takes about 350 bytes with its index entries and its attribute.
    shapes = max(100, size // 350)
    print(SQL.format(tasks=max(2, shapes // 2000), shapes=shapes))


def small(root, files):
    rng = random.Random(7)
    os.makedirs(root, exist_ok=True)
    for number in range(files):
        directory = os.path.join(root, f"{number // 1000:04}")
        if number % 1000 == 0:
            os.makedirs(directory)
        with open(os.path.join(directory, f"annotation_{number:07}.xml"), "wb") as out:
            out.write(b"<shape points='%s'/>\n" % rng.randbytes(rng.randint(20, 600)).hex().encode())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("media", "sql"):
        command = commands.add_parser(name)
        command.add_argument("--megabytes", type=float, default=1)
        if name == "media":
            command.add_argument("dir")
    command = commands.add_parser("small")
    command.add_argument("dir")
    command.add_argument("--files", type=int, required=True)
    args = parser.parse_args()
    os.umask(0)
    if args.command == "media":
        media(args.dir, int(args.megabytes * MB))
    elif args.command == "sql":
        sql(int(args.megabytes * MB))
    else:
        small(args.dir, args.files)


if __name__ == "__main__":
    main()
