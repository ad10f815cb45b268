#!/usr/bin/env python3
"""Writes the seeds of the fuzz targets whose format Python can write: those in TARGETS below.

    fuzz/corpus.py [TARGET...]

Each seed is named for what it holds. The corpora of the codec's targets are what runs have found (`fuzz/run merge`)
and are not made here. A new target adds a function and an entry in TARGETS.
"""

import io
import json
import pathlib
import shutil
import sys
import tarfile
import zlib

HERE = pathlib.Path(__file__).resolve().parent


def info(name, type=tarfile.REGTYPE, link="", mode=0o644, mtime=1_600_000_000, size=0, **more):
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.mode, member.mtime, member.size = type, link, mode, mtime, size
    member.uname, member.gname = "root", "staff"
    for key, value in more.items():
        setattr(member, key, value)
    return member


def archive(members, format=tarfile.GNU_FORMAT, global_headers=None):
    """A stream without the zeros that fill the last record, but for the end-of-archive blocks."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format, pax_headers=global_headers) as tar:
        for member in members:
            content = b"x" * member.size
            tar.addfile(member, io.BytesIO(content))
    stream = out.getvalue().rstrip(b"\0")
    return stream + bytes(-len(stream) % 512 + 1024)


def header(member, format=tarfile.GNU_FORMAT, change=None):
    block = bytearray(member.tobuf(format, "utf-8", "surrogateescape")[-512:])
    if change:
        at, data = change
        block[at:at + len(data)] = data
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def blocks(data):
    return data + bytes(-len(data) % 512)


def pax(records, type=b"x"):
    data = b""
    for key, value in records:
        record = b" " + key + b"=" + value + b"\n"
        length = len(record) + 1
        while len(str(length)) + len(record) != length:
            length = len(str(length)) + len(record)
        data += str(length).encode() + record
    return header(info("PaxHeaders/x", type, size=len(data)), tarfile.USTAR_FORMAT) + blocks(data)


def tar_seeds():
    end = bytes(1024)
    tree = [
        info("srv/x", tarfile.DIRTYPE, mode=0o755),
        info("srv/x/file", size=700),
        info("srv/x/empty"),
        info("srv/x/setuid", mode=0o4755, size=512, uid=70, gid=70),
        info("srv/x/link", tarfile.SYMTYPE, "/etc/passwd", 0o777),
        info("srv/x/hard", tarfile.LNKTYPE, "srv/x/file"),
        info("srv/x/fifo", tarfile.FIFOTYPE),
        info("srv/x/null", tarfile.CHRTYPE, devmajor=1, devminor=3),
        info("srv/x/disk", tarfile.BLKTYPE, devmajor=259, devminor=1 << 20),
    ]
    yield "gnu", archive(tree)
    yield "ustar", archive(tree[:-1], tarfile.USTAR_FORMAT)
    yield "pax", archive(tree, tarfile.PAX_FORMAT)
    yield "empty", end
    yield "root_only", archive(tree[:1])
    long = "srv/x/" + "/".join(["d" * 60] * 4)
    long_members = [info(long, size=3), info("srv/x/l", tarfile.SYMTYPE, "t" * 300), info("srv/x/h", tarfile.LNKTYPE, long)]
    yield "gnu_long_names", archive(long_members)
    yield "pax_long_names", archive(long_members, tarfile.PAX_FORMAT)
    yield "ustar_prefix", archive([info(long[:200], size=1)], tarfile.USTAR_FORMAT)
    yield "pax_times", archive([info("srv/x/t", mtime=-1.25, size=1)], tarfile.PAX_FORMAT)
    yield "pax_global", archive([info("srv/x/g", size=1)], tarfile.PAX_FORMAT, {"mtime": "12.5", "comment": "global"})
    yield "pax_not_utf8", archive([info("srv/x/\udcff\udc80")], tarfile.PAX_FORMAT)
    yield "gnu_base256", archive([info("srv/x/b", mtime=-7, uid=3_000_000, gid=2**32 - 2)])
    yield "directory_by_slash", header(info("srv/x/d/", mode=0o755)) + end
    yield "dot_slash", archive([info("./srv/x/a", size=1), info("./srv//x/./b")])
    yield "dot_dot", archive([info("srv/x/../../etc/passwd", size=4)])
    yield "absolute", archive([info("/srv/x/a", size=4)])
    yield "elsewhere", archive([info("srv", tarfile.DIRTYPE), info("other/a")])
    yield "link_then_file", archive([info("srv/x/l", tarfile.SYMTYPE, "/etc"), info("srv/x/l/passwd", size=4)])
    yield "hard_link_outside", archive([info("srv/x/h", tarfile.LNKTYPE, "../etc/passwd")])
    yield "hard_link_with_size", header(info("srv/x/h", tarfile.LNKTYPE, "srv/x/a", size=0), change=(124, b"00000001000\0")) + end
    yield "control_characters", archive([info("srv/x/\x1b[2J\n\u202e", size=1)])
    inner = archive([info("srv/x/smuggled")])
    yield "pax_size_over_0", pax([(b"size", b"%d" % len(inner))]) + header(info("srv/x/o"), tarfile.USTAR_FORMAT) + inner + end
    yield "pax_size_0_over_512", pax([(b"size", b"0")]) + header(info("srv/x/o", size=512), tarfile.USTAR_FORMAT) + end
    yield "pax_empty_value", pax([(b"path", b"srv/x/p"), (b"path", b""), (b"uid", b"")]) + archive([info("srv/x/q")])
    yield "pax_malformed", header(info("x", b"x", size=9), tarfile.USTAR_FORMAT) + blocks(b"99 path=x") + end
    yield "pax_sparse", pax([(b"GNU.sparse.major", b"1")]) + archive([info("srv/x/s")])
    yield "gnu_sparse", header(info("srv/x/s", b"S")) + end
    map = b"%011o\0" % 0 * 2
    yield "gnu_sparse_by_slash", header(info("srv/x/s/", b"S"), change=(386, map + bytes(73) + map[:12])) + end
    yield "gnu_volume_label", header(info("label", b"V")) + archive([info("srv/x/a")])
    yield "gnu_multi_volume", header(info("srv/x/m", b"M", size=1)) + end
    yield "gnu_names", header(info("names", b"N", size=4)) + blocks(b"Rena") + end
    yield "size_negative", header(info("srv/x/a"), change=(124, b"\xff" * 12)) + end
    yield "size_huge", header(info("srv/x/a"), change=(124, b"77777777777\0")) + end
    yield "long_name_huge", header(info("././@LongLink", b"L"), change=(124, b"77777777777\0")) + end
    yield "owner_that_cannot_be", header(info("srv/x/a"), change=(108, b"\x80\0\0\0\xff\xff\xff\xff")) + end
    yield "octal_with_spaces", header(info("srv/x/a"), change=(100, b"   644 \0")) + end
    yield "v7", header(info("srv/x/a", size=3), change=(257, bytes(8))) + blocks(b"abc") + end
    yield "cut_in_content", archive([info("srv/x/a", size=2000)])[:1500]
    yield "no_end", archive([info("srv/x/a")])[:512]
    yield "one_zero_block", archive([info("srv/x/a")])[:1024]
    yield "trailing_bytes", archive([info("srv/x/a")]) + b"trailing"


def layout_seeds():
    one = '[[archive]]\nname = "db"\ncontainer = "web_db"\npath = "/var/lib/mysql"\n'
    yield "one", one
    yield "optional", one + "optional = true\n"
    yield "two", one + one.replace('"db"', '"html"').replace("mysql", "html")
    yield "same_name", one + one
    yield "comments", "# a layout\n\n" + one + "# end\n"
    yield "inline", 'archive = [{ name = "a", container = "c", path = "/a" }, { name = "b", container = "c", path = "/b" }]\n'
    yield "dotted", 'archive = [{ name = "a.b", container = "c.d", path = "/a//b/./c" }]\n'
    yield "literal_strings", "[[archive]]\nname = 'a'\ncontainer = 'c'\npath = '''/x'''\n"
    yield "escapes", '[[archive]]\nname = "\\u00e4\\t"\ncontainer = "\\U0001f600"\npath = "/\\\\x"\n'
    for name, path in [("root", "/"), ("dot_dot", "/a/../b"), ("relative", "a"), ("nul", "/a\\u0000"), ("empty", "")]:
        yield f"path_{name}", f'[[archive]]\nname = "a"\ncontainer = "c"\npath = "{path}"\n'
    for name, text in [("slash", "a/b"), ("hidden", ".a"), ("empty", ""), ("long", "n" * 201), ("longest", "n" * 200)]:
        yield f"name_{name}", f'[[archive]]\nname = "{text}"\ncontainer = "c"\npath = "/p"\n'
    yield "container_slash", one.replace("web_db", "web/db")
    yield "unknown_key", one + "other = 1\n"
    yield "unknown_table", one + "[other]\n"
    yield "wrong_type", one.replace('"db"', "1")
    yield "missing_path", '[[archive]]\nname = "a"\ncontainer = "c"\n'
    yield "duplicate_key", one + 'path = "/x"\n'
    yield "no_archive", "archive = []\n"
    yield "nothing", ""
    yield "no_toml", "<?xml version='1.0'?>"
    yield "open_string", '[[archive]]\nname = "a\n'
    yield "other_types", "[[archive]]\nname = 1979-05-27T07:32:00Z\ncontainer = 0x1f\npath = [1.5e3, inf, -nan]\n"


def changed(value):
    """Each text that `value` has as JSON when one thing in it, at any depth, is of another type or gone."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield {other: value[other] for other in value if other != key}
            for change in changed(inner):
                yield value | {key: change}
    elif isinstance(value, list):
        yield []
        for at, inner in enumerate(value):
            for change in changed(inner):
                yield value[:at] + [change] + value[at + 1:]
    yield from (other for other in (None, "", -1, "../\x1b[2J", {}) if other != value)


def texts_of(documents):
    for name, document in documents.items():
        yield name, json.dumps(document)
        for number, change in enumerate(changed(document)):
            yield f"{name}_{number:03}", json.dumps(change)
    for name, text in [("nothing", ""), ("null", "null"), ("open", '{"Id":"'), ("deep", "[" * 200), ("twice", '{"Id":"a","Id":"b"}')]:
        yield name, text


LABELS = {
    "com.docker.compose.project": "cvat",
    "com.docker.compose.service": "cvat_db",
    "com.docker.compose.oneoff": "False",
    "com.docker.compose.depends_on": "redis:service_started:false",
}


def engine_seeds():
    yield from texts_of({
        "container": {
            "Id": "0123abcd", "Name": "/cvat_db", "Created": "2026-01-01T00:00:00.5Z",
            "State": {"Running": False, "Paused": False, "Restarting": True},
            "HostConfig": {
                "Links": ["/redis:/cvat/redis"], "VolumesFrom": ["web:ro"], "NetworkMode": "container:ffff",
                "AutoRemove": True, "Tmpfs": {"/run": "size=1m"},
                "Mounts": [{"Type": "volume", "Target": "/sub/", "VolumeOptions": {"Subpath": "a/b"}}],
            },
            "Config": {"Image": "postgres:15", "Env": ["PGDATA=/x"], "Labels": LABELS},
            "Mounts": [
                {"Type": "volume", "Name": "cvat_db", "Source": "/v/cvat_db/_data", "Destination": "/sub", "Driver": "local", "RW": True},
                {"Type": "bind", "Source": "/srv", "Destination": "/share", "RW": False},
            ],
        },
        "volume": {
            "Name": "cvat_cvat_db", "Driver": "local", "Mountpoint": "/var/lib/docker/volumes/cvat_cvat_db/_data",
            "Labels": {"com.docker.compose.project": "cvat", "com.docker.compose.volume": "cvat_db"},
            "Scope": "local", "Options": {"type": "nfs", "o": "addr=nas,rw", "device": ":/export"},
        },
    })


def data_root_seeds():
    config = {
        "ID": "0123abcd", "Name": "/cvat_db", "Created": "2026-01-01T00:00:00.5Z",
        "HostnamePath": "/var/lib/docker/containers/0123abcd/hostname",
        "State": {"Running": True, "Paused": False, "Restarting": False, "Pid": 1},
        "Config": {"Image": "postgres:15", "Env": ["PGDATA=/x"], "Labels": LABELS},
        "MountPoints": {
            "/sub": {"Type": "volume", "Name": "cvat_db", "Source": "", "Destination": "/sub", "Driver": "local", "RW": True,
                     "Spec": {"Type": "volume", "VolumeOptions": {"Subpath": "a/b"}}},
            "/share": {"Type": "bind", "Source": "/srv", "Destination": "/share", "RW": False, "Spec": {}},
        },
    }
    host = {"Links": ["/redis:/cvat/redis"], "VolumesFrom": ["web:ro"], "NetworkMode": "container:ffff", "PidMode": "",
            "IpcMode": "private", "AutoRemove": False, "Tmpfs": {"/run": "size=1m"}}
    for name, text in texts_of({"config": config}):
        yield name, text
    for name, text in texts_of({"host_config": host}):
        yield f"with_{name}", json.dumps(config) + "\0" + text
    yield from texts_of({"options": {"MountType": "nfs", "MountOpts": "addr=nas,rw", "MountDevice": ":/export"}})


def sets_seeds():
    index = "voltar-index 1 1764190000.123456789\0"
    line = "f 644 0 0 5 1.000000000 2.000000000 17 1 " + "ab" * 32 + " a\0"
    yield "index", index + line + "end 1\0"
    yield "index_empty", index + "end 0\0"
    yield "index_kinds", (
        index
        + "d 755 0 0 0 -1.000000005 2.000000000 2 3 - \0"
        + line
        + "l 777 1 2 0 1.000000000 2.000000000 18 1 - a-b\0../target\0"
        + "c 600 0 0 1,3 1.000000000 2.000000000 19 1 - c\0? d\0end 5\0"
    )
    record = {"file": "one.tar.gz", "bytes": 3, "sha256": "ab" * 32}
    archive = {
        "name": "one", "path": "srv", "sources": ["data"], "format": "gz", "xattrs": False, "members": 2,
        "stream_bytes": 10240, "postgres": None, "archive": record, "index": None, "base": None, "gone": None,
    }  # fmt: skip
    changes = dict(
        archive, name="two", archive=dict(record, file="two.changes.tar.gz"), gone=dict(record, file="two.gone"),
        base={"set": "2026-11-25T02-00-00Z", "archive": record},
    )  # fmt: skip
    container = {
        "name": "web", "service": None, "image": "nginx", "image_id": "", "stopped": "2026-11-25T02:00:01Z", "started": None,
    }  # fmt: skip
    yield "manifest", json.dumps({
        "version": 1, "voltar": "0.1.0", "started": "2026-11-25T02:00:00Z", "completed": "2026-11-25T02:00:09Z",
        "host": "h", "engine": "e", "layout": "l", "project": None, "containers": [container], "downtime_seconds": 1.5,
        "archives": [archive, changes], "warnings": ["w"], "warning_count": 1,
    })  # fmt: skip


def records_seeds():
    root = {"uid": 999, "gid": 999, "mode": 0o700, "mtime_seconds": 1_600_000_000, "mtime_nanoseconds": 5}
    identity = {"id": {"device": 64769, "inode": 131}, "born": 1_600_000_000_000_000_005}
    yield from texts_of({
        "restore_record": {"version": 1, "boot": "7d0c6c50-0e8e-4f4c-9a8b-1f0b3c2d1e0f", "swapped": False, "trees": [
            {"archive": "cvat_data", "path": "/var/lib/docker/volumes/a/_data", "way": "exchange", "phase": "exchange",
             "live": identity, "name": ".voltar-restore-83-0123456789abcdef", "staging": identity, "tree": None,
             "keep": ".voltar-previous-20260101T000000Z", "root_before": root, "root_after": root}]},
        "stop_record": {"version": 1, "engine": "unix:///var/run/docker.sock", "stopped_at": "2026-01-01T00:00:00Z",
                        "pid": 7, "containers": [{"id": "0123abcd", "name": "cvat_db", "started": "2026-01-01T00:00:00.5Z",
                                                 "requested_at": "2026-01-02T00:00:00Z"}]},
        "lock_record": {"version": 1, "by": "voltar backup, process 7", "mounts": [identity["id"]]},
    })


def inflate_seeds():
    text = b"to be or not to be, that is the question: " * 40 + bytes(range(256)) * 3
    for level in (0, 1, 6, 9):
        for name, strategy in (("", zlib.Z_DEFAULT_STRATEGY), ("_fixed", zlib.Z_FIXED), ("_huffman", zlib.Z_HUFFMAN_ONLY)):
            encoder = zlib.compressobj(level, zlib.DEFLATED, -15, 8, strategy)
            stream = encoder.compress(text[:700]) + encoder.flush(zlib.Z_FULL_FLUSH) + encoder.compress(text) + encoder.flush()
            yield f"stream_{level}{name}", b"\0\0\0\0" + stream
            yield f"damaged_{level}{name}", b"\x02\0\0\x80" + stream
    for level in range(13):
        yield f"content_{level}", bytes([5, 20, level, 0]) + text
        yield f"damaged_content_{level}", bytes([7, 20, level, 128]) + text


TARGETS = {
    "inflate": inflate_seeds,
    "tar": tar_seeds, "layout": layout_seeds, "engine": engine_seeds, "data_root": data_root_seeds, "records": records_seeds,
    "sets": sets_seeds,
}


def main():
    for target in sys.argv[1:] or TARGETS:
        directory = HERE / "corpus" / target
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        for name, seed in TARGETS[target]():
            (directory / name).write_bytes(seed if isinstance(seed, bytes) else seed.encode())


main()
