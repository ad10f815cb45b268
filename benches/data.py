#!/usr/bin/env python3
"""Creates the data for the benchmarks. Existing data is kept.

    data.py [--dir DIR] [media] [db] [small]        DIR: target/bench-data; all three unless named

    media.tar   264 MB          CVAT's data volume: JPEG frames, chunks of JPEGs stored in zips, H.264 videos
    db.tar      488 MB          a stopped PostgreSQL cluster with CVAT-like annotation tables
    small/      300,000 files   of 1 to 20 KB: annotations as JSON, thumbnails as JPEG

The pictures come from Debian packages of photographs, the rest is generated from fixed seeds. With the same version of
ffmpeg the media are the same bytes every time; a cluster has its own times and identifier.
Needs Debian's apt-get and dpkg, ffmpeg, PostgreSQL 15, and root for the cluster's owner.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
POSTGRES = Path(os.environ.get("VOLTAR_TEST_POSTGRES", "/usr/lib/postgresql/15")) / "bin"

# Photographs, not drawings, because CVAT is used on camera images.
PHOTOS = {
    "lomiri-wallpapers-16.04": """
        Bridge_by_Sander_Klootwijk Dragonfly_by_Bolly Picture_0B_by_freespace Wine_by_Jakkub_Mede
        aitzgorri_by_Aitzol_Berasategi free_by_Peter_Nerlich friends_by_Aitzol_Berasategi greentock_by_Peter_Nerlich
        life_by_Aitzol_Berasategi picosdeeuropa_by_Aitzol_Berasategi seeding_by_Clements_Engelhardt
        sunset_by_Aitzol_Berasategi umang_by_Abhishek_Mudgal""",
    "lomiri-wallpapers-20.04": "Fossa_by_Jasper_Roks Infinite-Sea_by_Aury88 Kleiber_by_Lukas_Baubkus",
    "mate-backgrounds": """
        mate/nature/Blinds mate/nature/Dune mate/nature/Garden mate/nature/LadyBird mate/nature/RainDrops
        mate/nature/Storm mate/nature/TwoWings mate/nature/Wood mate/nature/YellowFlower""",
}


def run(*command, **options):
    return subprocess.run([str(part) for part in command], check=True, **options)


def ffmpeg(*arguments):
    # The output of x264 depends on the number of threads, so it is fixed.
    run("ffmpeg", "-nostdin", "-v", "error", "-y", *arguments)


def tar(archive, top, member, owner):
    run("tar", "-C", top, "--sort=name", "--format=gnu", "--numeric-owner", f"--owner={owner}", f"--group={owner}",
        "--mtime=2021-03-01 00:00Z", "-cf", archive, member)


def photos(work):
    """Yields the pictures in the packages, which are unpacked but not installed."""
    for package, names in PHOTOS.items():
        run("apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root", package, cwd=work)
        run("dpkg", "-x", next(work.glob(f"{package}_*.deb")), work / "photos")
        for name in names.split():
            yield work / "photos/usr/share/backgrounds" / f"{name}.jpg"


def chunks(frames, directory):
    """Writes the frames into zips of 36 without compression, like CVAT's chunks."""
    directory.mkdir()
    for number in range(0, len(frames), 36):
        with zipfile.ZipFile(directory / f"{number // 36}.zip", "w", zipfile.ZIP_STORED) as chunk:
            for at, frame in enumerate(frames[number:number + 36], start=number):
                # Only a name: `write` would add the current time.
                chunk.writestr(zipfile.ZipInfo(f"{at:06}.jpeg"), frame.read_bytes())


def manifest(task, names):
    lines = [{"version": "1.1"}, {"type": "images"}]
    lines += [{"name": name, "extension": ".jpg", "width": 1920, "height": 1080, "meta": {"related_images": []}}
              for name in names]
    (task / "manifest.jsonl").write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))


def video_task(photo, task, scratch, rng):
    """Writes a video task: a camera moves over the picture, with sensor noise, and CVAT extracts the frames."""
    (task / "raw").mkdir(parents=True)
    video, frames, length = task / "raw/video.mp4", scratch / "frames", 144
    frames.mkdir()
    # A fractional number of pixels per frame; otherwise the same blocks would repeat.
    right, down = rng.uniform(1.3, 4.3), rng.uniform(0.3, 1.7)
    ffmpeg("-i", photo, "-filter_complex",
           "scale=2000:1200:force_original_aspect_ratio=increase,format=yuv420p,"
           f"loop=loop={length}:size=1,setpts=N/25/TB,crop=1280:720:'n*{right:.3f}':'n*{down:.3f}',"
           f"noise=all_seed={rng.randrange(1 << 20)}:alls=5:allf=t",
           "-frames:v", length, "-c:v", "libx264", "-threads", "1", "-crf", "23", "-bitexact", video)
    ffmpeg("-i", video, "-q:v", rng.choice((3, 4, 5)), "-huffman", "default", "-threads", "1", "-bitexact",
           "-start_number", "0", frames / "%06d.jpeg")
    chunks(sorted(frames.iterdir()), task / "compressed")
    # The video that CVAT sends to a client.
    (task / "original").mkdir()
    ffmpeg("-i", video, "-c:v", "libx264", "-threads", "1", "-crf", "17", "-bitexact", task / "original/0.mp4")


def image_task(photo, task, scratch, rng):
    """Writes an image task: uploaded pictures, and chunks of them at a lower quality."""
    (task / "raw").mkdir(parents=True)
    frames = scratch / "frames"
    frames.mkdir()
    quality = rng.choice((2, 3))
    ffmpeg("-i", photo, "-filter_complex",
           "scale=2800:1600:force_original_aspect_ratio=increase,format=yuvj420p,loop=loop=24:size=1,setpts=N/25/TB,"
           "crop=1920:1080:'mod(n*331\\,iw-1920)':'mod(n*97\\,ih-1080)',"
           f"noise=all_seed={rng.randrange(1 << 20)}:alls=4:allf=t,split[a][b]",
           "-map", "[a]", "-frames:v", "24", "-q:v", quality, "-threads", "1", "-bitexact",
           "-start_number", "1000", task / "raw/DSC_%05d.jpg",
           "-map", "[b]", "-frames:v", "24", "-q:v", "6", "-huffman", "default", "-threads", "1", "-bitexact",
           "-start_number", "0", frames / "%06d.jpeg")
    chunks(sorted(frames.iterdir()), task / "compressed")
    manifest(task, sorted(path.name for path in (task / "raw").iterdir()))


def media(target, work):
    rng, data = random.Random(2021), work / "stage/home/django/data"
    for number, photo in enumerate(photos(work), start=1):
        task, scratch = data / "data" / str(number), work / "scratch"
        scratch.mkdir()
        (video_task if number % 2 else image_task)(photo, task, scratch, rng)
        ffmpeg("-i", photo, "-vf", "scale=256:256:force_original_aspect_ratio=decrease", "-bitexact", task / "preview.jpeg")
        shutil.rmtree(scratch)
    tar(target, work / "stage", "home/django/data", 1000)


# Like CVAT's engine_* tables: manual shapes, tracks of many small steps, few different attributes, an index on every
# foreign key. The numbers of rows make the cluster 488 MB.
SHAPES, TRACKS = 530_000, 13_000
SQL = """
CREATE TABLE engine_task (id serial PRIMARY KEY, name varchar(256) NOT NULL, created_date timestamptz NOT NULL,
    updated_date timestamptz NOT NULL, status varchar(32) NOT NULL, dimension varchar(2), owner_id int);
CREATE TABLE engine_job (id serial PRIMARY KEY, task_id int, status varchar(32) NOT NULL, stage varchar(32));
CREATE TABLE engine_label (id serial PRIMARY KEY, task_id int, name varchar(64), color varchar(8));
CREATE TABLE engine_labeledshape (id bigserial PRIMARY KEY, frame int, label_id int, job_id int, "group" int,
    source varchar(16), type varchar(16), occluded boolean, z_order int, points text);
CREATE TABLE engine_labeledshapeattributeval (id bigserial PRIMARY KEY, spec_id int, value varchar(4096), shape_id bigint);
CREATE TABLE engine_labeledtrack (id bigserial PRIMARY KEY, frame int, label_id int, job_id int, "group" int,
    source varchar(16));
CREATE TABLE engine_trackedshape (id bigserial PRIMARY KEY, type varchar(16), occluded boolean, z_order int, points text,
    track_id bigint, frame int, outside boolean);
CREATE TABLE engine_trackedshapeattributeval (id bigserial PRIMARY KEY, spec_id int, value varchar(4096), shape_id bigint);

SELECT setseed(0.2021);
INSERT INTO engine_task (name, created_date, updated_date, status, dimension, owner_id)
    SELECT 'Kreuzung ' || n, timestamptz '2021-03-01 08:00Z' + n * interval '7.3 hours',
        timestamptz '2021-03-02 08:00Z' + n * interval '7.9 hours', 'annotation', '2d', 1 + n % 5
    FROM generate_series(1, 400) n;
INSERT INTO engine_job (task_id, status, stage)
    SELECT 1 + n / 4, (ARRAY['annotation', 'validation', 'completed'])[1 + n % 3], 'annotation'
    FROM generate_series(0, 1599) n;
INSERT INTO engine_label (task_id, name, color)
    SELECT 1 + n / 6, (ARRAY['car', 'person', 'bicycle', 'truck', 'traffic light', 'lane'])[1 + n % 6],
        '#' || lpad(to_hex(n * 7919 % 16777216), 6, '0')
    FROM generate_series(0, 2399) n;

-- Polygons by hand: neighbouring points lie near each other.
INSERT INTO engine_labeledshape (frame, label_id, job_id, "group", source, type, occluded, z_order, points)
    SELECT n % 200, 1 + n % 2400, 1 + n / 200 % 1600, 0, 'manual', 'polygon', n % 7 = 0, 0,
        (SELECT string_agg(round((x + cos(at) * (60 + 30 * random()))::numeric, 2) || ',' ||
                           round((y + sin(at) * (60 + 30 * random()))::numeric, 2), ',')
            FROM generate_series(1, 5 + n % 12) at)
    FROM (SELECT n, random() * 1800 AS x, random() * 1000 AS y FROM generate_series(1, {shapes}) n) shape;
INSERT INTO engine_labeledshapeattributeval (spec_id, value, shape_id)
    SELECT 1 + n % 3, CASE n % 3 WHEN 0 THEN 'false' WHEN 1 THEN 'true' ELSE 'model ' || n % 40 END, 1 + n / 2
    FROM generate_series(0, 2 * {shapes} - 1) n;

-- Rectangles that move: coordinates with all their digits, as interpolation leaves them, and stretches without motion.
INSERT INTO engine_labeledtrack (frame, label_id, job_id, "group", source)
    SELECT n % 100, 1 + n % 2400, 1 + n % 1600, 0, 'manual' FROM generate_series(1, {tracks}) n;
INSERT INTO engine_trackedshape (type, occluded, z_order, points, track_id, frame, outside)
    SELECT 'rectangle', frame % 17 = 0, 0, concat_ws(',',
            round((x + moved * dx)::numeric, 2), round((y + moved * dy)::numeric, 2),
            round((x + w + moved * dx)::numeric, 2), round((y + h + moved * dy)::numeric, 2)),
        track, frame, frame = 59
    FROM (SELECT track, random() * 1500 AS x, random() * 800 AS y, random() * 300 AS w, random() * 200 AS h,
            random() * 4 - 2 AS dx, random() - 0.5 AS dy FROM generate_series(1, {tracks}) track) tracks,
        LATERAL (SELECT frame, least(frame, 20 + track % 20) AS moved FROM generate_series(0, 59) frame) frames;
INSERT INTO engine_trackedshapeattributeval (spec_id, value, shape_id)
    SELECT 1, CASE WHEN n % 11 < 9 THEN 'false' ELSE 'true' END, 1 + n * 4 FROM generate_series(0, {tracks} * 15 - 1) n;

CREATE INDEX ON engine_labeledshape (job_id);
CREATE INDEX ON engine_labeledshape (label_id);
CREATE INDEX ON engine_labeledshapeattributeval (shape_id);
CREATE INDEX ON engine_labeledshapeattributeval (spec_id);
CREATE INDEX ON engine_labeledtrack (job_id);
CREATE INDEX ON engine_labeledtrack (label_id);
CREATE INDEX ON engine_trackedshape (track_id);
CREATE INDEX ON engine_trackedshapeattributeval (shape_id);
CREATE INDEX ON engine_trackedshapeattributeval (spec_id);

-- Freed rows, as in a database that is worked with.
UPDATE engine_labeledshape SET z_order = 1 WHERE id % 20 = 0;
DELETE FROM engine_labeledshapeattributeval WHERE id % 25 = 0;
VACUUM ANALYZE;
CHECKPOINT;
"""


def db(target, work):
    # PostgreSQL does not run as root, and its user must be able to search the directory.
    os.chmod(work, 0o711)
    cluster = work / "stage/var/lib/postgresql/data"
    cluster.mkdir(parents=True)
    shutil.chown(cluster, "postgres", "postgres")

    def server(program, *arguments, **options):
        # A Unix socket's path is limited in length, and a build directory may exceed that.
        environment = {**os.environ, "PGHOST": socket, "PGUSER": "root", "PGOPTIONS": "-c client_min_messages=warning"}
        run(POSTGRES / program, *arguments, user="postgres", group="postgres", extra_groups=[], cwd="/", env=environment,
            stdout=subprocess.DEVNULL, **options)

    with tempfile.TemporaryDirectory() as socket:
        shutil.chown(socket, "postgres", "postgres")
        server("initdb", "-D", cluster, "--username=root", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync")
        settings = {"listen_addresses": "", "unix_socket_directories": socket, "fsync": "off", "autovacuum": "off",
                    "max_parallel_workers_per_gather": 0, "max_wal_size": "64MB"}
        server("pg_ctl", "-D", cluster, "-w", "-s", "-l", Path(socket) / "log", "start", "-o",
               " ".join(f"-c {name}='{value}'" for name, value in settings.items()))
        try:
            server("createdb", "cvat")
            server("psql", "-q", "-v", "ON_ERROR_STOP=1", "cvat", input=SQL.format(shapes=SHAPES, tracks=TRACKS), text=True)
        finally:
            server("pg_ctl", "-D", cluster, "-w", "-s", "-m", "fast", "stop")
    tar(target, work / "stage", "var/lib/postgresql/data", 70)


def annotations(rng):
    """The shapes of a frame as CVAT's API returns them, about as long as a JPEG thumbnail."""
    shapes, size, wanted = [], 0, 1000 * 20 ** rng.random()
    while size < wanted:
        points = [round(rng.uniform(0, 1080), 2) for _ in range(2 * rng.randint(3, 12))]
        shape = json.dumps({"type": "polygon", "occluded": rng.random() < 0.1, "z_order": 0, "label_id": rng.randint(1, 9),
                            "group": 0, "source": "manual", "points": points, "attributes": []})
        shapes.append(shape)
        size += len(shape)
    return f'{{"version":0,"tags":[],"shapes":[{",".join(shapes)}],"tracks":[]}}'


def small(target, work):
    rng, frames, thumbnails = random.Random(7), 200_000, 100_000
    for directory in range(0, frames, 500):
        annotated = target / "annotations" / f"{directory // 500:03}"
        annotated.mkdir(parents=True)
        for number in range(directory, directory + 500):
            (annotated / f"{number:06}.json").write_text(annotations(rng))
    pictures = list(photos(work))
    each = thumbnails // len(pictures)
    for number, photo in enumerate(pictures):
        directory = target / "thumbnails" / f"{number:02}"
        directory.mkdir(parents=True)
        edge = 96 + 8 * (number % 16)
        ffmpeg("-i", photo, "-filter_complex",
               "scale=1600:1000:force_original_aspect_ratio=increase,format=yuvj420p,"
               f"loop=loop={each}:size=1,setpts=N/25/TB,"
               f"crop={edge}:{edge}:'mod(n*331\\,iw-{edge})':'mod(n*97\\,ih-{edge})'",
               "-frames:v", each, "-q:v", "2", "-huffman", "default", "-threads", "1", "-bitexact", directory / "%06d.jpeg")


MAKERS = {"media": ("media.tar", media), "db": ("db.tar", db), "small": ("small", small)}


def make(name, directory):
    """Returns the path of `name` below `directory`, and creates the data if it is missing."""
    file, maker = MAKERS[name]
    target = Path(directory) / file
    if not target.exists():
        print(f"creating {target} …", flush=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=directory, prefix=f".{name}-") as work:
            maker(Path(work) / file, Path(work))
            os.rename(Path(work) / file, target)
    return target


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", type=lambda path: Path(path).resolve(), default=ROOT / "target/bench-data")
    parser.add_argument("names", nargs="*", metavar="NAME")
    arguments = parser.parse_args()
    for name in set(arguments.names) - set(MAKERS):
        parser.error(f"there is no {name}")
    for name in arguments.names or MAKERS:
        make(name, arguments.dir)


if __name__ == "__main__":
    main()
