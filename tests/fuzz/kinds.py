"""The kinds of inputs: each is a function from a random generator to a case."""

import json
import zlib
from collections.abc import Callable
from functools import cache
from random import Random
from typing import Any

import yaml
from hypothesis import strategies as st

from tests.fuzz import seeds
from tests.fuzz.case import Case
from tests.fuzz.finished import TWO_BOXES, WORDS, Files, folders, run_folder
from tests.fuzz.mutate import RUNS_CODE, Trees, hypothesis_examples, spoil_bytes, spoil_text, to_json

CHEAP = ("--workers", "0", "--set", "people.input_size=64", "--frames", "0:3", "--quiet")
SEEN = ("--boxes", "b.txt")
"""Spares the detector, half of the time that a small video takes; `make` adds the file."""
PLAIN = ("--no-overlay", "--format", "coco")


@cache
def _trees() -> Trees:
    return Trees(1)


def _spoilt_json(tree: Any, random: Random) -> bytes:
    """Spoil a tree, and now and then its text."""
    if random.random() < 0.15:
        return spoil_bytes(json.dumps(tree).encode(), random)
    if random.random() < 0.1:
        text = to_json(_trees().spoil(tree, random)).decode("utf-8", "surrogatepass")
        return text.encode(random.choice(["utf-8-sig", "utf-16", "utf-32", "utf-16-be"]), "surrogatepass")
    return to_json(_trees().spoil(tree, random, times=random.choice([1, 1, 1, 2, 6])))


def _infer(*words: str | bytes, random: Random, looks: float = 0.0, finds: float = 1.0) -> tuple[str | bytes, ...]:
    """A command line of `infer`; with an overlay in a share `looks` of all, and with a detector in a share `finds`."""
    seen = () if random.random() < finds else SEEN
    return ("infer", *words, *CHEAP, *seen, *(() if random.random() < looks else PLAIN))


def video(random: Random) -> tuple[tuple[str | bytes, ...], Files]:
    """A container that is damaged."""
    name = random.choice(sorted(seeds.videos()))
    data = spoil_bytes(seeds.videos()[name], random, list(seeds.videos().values()))
    if random.random() < 0.1:
        name = random.choice(["v.mp4", "v.avi", "v.mkv", "v.ts", "v.ogv", "v.wmv", "v.mpg", "v.gif"])
    more: tuple[str, ...] = random.choice([(), (), ("--decoder", "pyav"), ("--decoder", "decord"), ("--time", "0:1")])
    return _infer(name, *more, random=random, looks=0.3, finds=0.25), {name: data}


def pictures(random: Random) -> tuple[tuple[str | bytes, ...], Files]:
    """A folder of images of which one is damaged, or one image."""
    all_of_them = seeds.images()
    name = random.choice(sorted(all_of_them))
    data = spoil_bytes(all_of_them[name], random, list(all_of_them.values()))
    if random.random() < 0.3:
        return _infer(name, random=random, finds=0.25), {name: data}
    place = random.choice([0, 1, 2])
    suffix = name.rpartition(".")[2]
    files: Files = {f"seq/{number}.png": all_of_them["0.png"] for number in range(3)}
    files[f"seq/{place}.png"] = data if suffix == "png" or random.random() < 0.5 else None
    if files[f"seq/{place}.png"] is None:
        del files[f"seq/{place}.png"]
        files[f"seq/{place}.{suffix}"] = data
    return _infer("seq", random=random, finds=0.25), files


@cache
def _names() -> list[str]:
    hostile = st.sampled_from(
        [
            *(
                "-v.mp4",
                "--out",
                "a b.mp4",
                "[x].mp4",
                "[/red]x.mp4",
                "[bold]x.mp4",
                "{0}.mp4",
                "%(name)s.mp4",
                "\x1b[2J.mp4",
            ),
            *(
                "\x1b]0;t\x07.mp4",
                "a\nb.mp4",
                "\udcff\udcfe.mp4",
                "x" * 251 + ".mp4",
                "é" * 120 + ".mp4",
                ".mp4",
                "..mp4",
            ),
            *(
                "...mp4",
                "summary.json.mp4",
                "run.json.mp4",
                ".jmpose.mp4",
                "failures.json.mp4",
                "con.mp4",
                "a\u202eb.mp4",
            ),
            *(
                "~.mp4",
                "$HOME.mp4",
                "*.mp4",
                "a?.mp4",
                "a;b.mp4",
                "'.mp4",
                '".mp4',
                "=1+1.mp4",
                "http:.mp4",
                "a::b.mp4",
            ),
            *(
                "file:v.mp4",
                "\u2028.mp4",
                "\x85.mp4",
                "\x9b2J.mp4",
                "journal.jsonl.mp4",
                "x.mp4.partial",
                "@list.mp4",
                "\\.mp4",
            ),
        ]
    )
    letters = st.characters(codec="utf-8", exclude_characters="/\0") | st.sampled_from("[]{}-%*?\x1b\n\udc80\udcff~.")
    free = st.text(letters, min_size=1, max_size=30).map(lambda name: name + ".mp4")
    return hypothesis_examples(hostile | hostile | free, 300, 2)


def names(random: Random) -> tuple[tuple[str | bytes, ...], Files]:
    """Files and folders whose names are odd; named, found in a folder, or by a pattern."""
    files: Files = {}
    good, bad = seeds.videos()["v.mp4"], b"a film about nothing"
    for number in range(random.choice([1, 1, 2, 4])):
        name = random.choice(_names())
        if len(name.encode("utf-8", "surrogateescape")) <= 255:
            files[f"in/{name}"] = good if number == 0 and random.random() < 0.3 else bad
    inner = random.choice(_names())[:40].removesuffix(".mp4").replace("/", "_").strip(".") or "x"
    if random.random() < 0.3:
        files[f"in/{inner}/v.mp4"] = bad
    how = random.randrange(4)
    if how == 0:
        words: list[str] = [str(name) for name in files]
    elif how == 1:
        words = ["in/*.mp4"]
    elif how == 2:
        words = [random.choice(_names())]  # not there, or an option
    else:
        words = ["in"]
    more: tuple[str, ...] = random.choice([(), (), ("--log-json",), ("--format", "csv,posetrack18,coco")])
    return ("infer", *words, *CHEAP, *SEEN, *PLAIN, *more), files


def lists(random: Random) -> tuple[tuple[str | bytes, ...], Files]:
    """Lists of videos whose lines are odd."""
    lines = [
        *(
            "v.mp4",
            "/v.mp4",
            "../v.mp4",
            "./v.mp4",
            "in/",
            "*.mp4",
            "**",
            "list.txt",
            "",
            "# v.mp4",
            "v.mp4 # x",
            '"v.mp4"',
        ),
        *(
            "/dev/zero",
            "/proc/self/mem",
            "/dev/tty",
            "fifo",
            ".",
            "..",
            "~",
            "-",
            "--out",
            "file://v.mp4",
            "file:///etc/hosts",
        ),
        *(
            "http://127.0.0.1:9/x.mp4",
            "http://",
            "https://[::1",
            "s3://",
            "local://v.mp4",
            "memory://a",
            "data:,x",
            "zip://a::b",
        ),
        *("simplecache::file://v.mp4", "ftp://127.0.0.1:9/a", "http://127.0.0.1:9/" + "a" * 3000, "git://x", "abc://x"),
        *("v.mp4\0", "v\udcff.mp4", "\x1b[31mv.mp4", "v.mp4\t", "x" * 5000, "http://user:pass@127.0.0.1:9/x.mp4"),
    ]
    chosen = random.choices(lines, k=random.choice([1, 1, 3, 8]))
    text = "\n".join(chosen).encode("utf-8", "surrogateescape")
    if random.random() < 0.3:
        text = spoil_bytes(text, random)
    elif random.random() < 0.1:
        text = "\n".join(chosen).encode(random.choice(["utf-16", "utf-8-sig", "utf-32"]), "replace")
    files: Files = {"list.txt": text, "in/a.mp4": b"nothing", "v.mp4": b"a film" if random.random() < 0.7 else None}
    if random.random() < 0.3:
        files["v.mp4"] = seeds.videos()["v.mp4"]
    word = "list.txt" if random.random() < 0.7 else chosen[0].replace("\0", "")
    more = ("--set", "run.fetch_timeout_s=2", "--set", "run.max_listed=20000")
    return ("infer", word, *CHEAP, *SEEN, *PLAIN, *more), files


_YAML = (
    "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n"
    "d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n"
    "g: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f]\nh: &h [*g,*g,*g,*g,*g,*g,*g,*g,*g]\ni: [*h,*h,*h,*h,*h,*h,*h,*h,*h]\n",
    "people: &p\n  max_people: *p\n",
    "&a people: {<<: *a}\n",
    "<<: [&x {people: {}}, *x]\n",
    f"people: !!python/object/apply:eval [{RUNS_CODE!r}]\n",
    f"!!python/object/new:eval [{RUNS_CODE!r}]\n",
    "people: " + "[" * 20_000,
    "people: " + "{a: " * 3000,
    "- " * 5000 + "x",
    "? " * 3000,
    "&a [*a]\n",
    "people: 0x" + "f" * 20_000,
    "people: {max_people: " + "1" * 5000 + "}\n",
    "people: 1:1:1:1:1:1:1:1\ndecode: 2001-99-99\n",
    "---\n---\n...\n%YAML 9.9\n--- x",
    "people: !!set {a, b}\npose: !!binary xxx\n",
    "people: !!timestamp x\n",
    "people:\n\t max_people: 1\n",
    "people: |\n" + " x" * 10_000,
    "\0",
    "\ufeffpeople: {}\n",
    "1: 2\nnull: 3\n? [a, b]\n: c\n",
    "people: {detector: !!float nan, min_box_score: .nan, max_people: .inf}\n",
    "true: {no: yes}\n",
    "people: {? {a: b} : c}\n",
    "people: !!int 'x'\n",
    "people: {max_people: 0b" + "1" * 30_000 + "}\n",
    "pose: {batch: 12e03, smooth_cutoff_hz: 1_0.0_0}\n",
    "people: {max_people: 190:20:30}\n",
    "people: {detector: '" + "x" * 100_000 + "'}\n",
)


def _spoilt_yaml(tree: Any, random: Random) -> bytes:
    kind = random.randrange(5)
    if kind == 0:
        text = random.choice(_YAML)
        return spoil_bytes(text.encode(), random) if random.random() < 0.2 else text.encode()
    if kind == 1:
        return spoil_text(yaml.safe_dump(tree), random)
    if kind == 2:
        return yaml.safe_dump(tree).encode() + random.choice(_YAML).encode()
    return _spoilt_json(tree, random)  # YAML, or nearly so


def settings(random: Random) -> tuple[tuple[str | bytes, ...], Files]:
    """A file of settings, or settings on the command line."""
    tree = seeds.settings()
    if random.random() < 0.7:
        tree = {key: tree[key] for key in random.sample(sorted(tree), 3)}
    files: Files = {"v.mp4": seeds.videos()["v.mp4"] if random.random() < 0.3 else b"nothing"}
    if random.random() < 0.3:
        return _infer("v.mp4", "--set", _assignment(seeds.settings(), random), random=random, finds=0.5), files
    files["s.yaml"] = _spoilt_yaml(tree, random)
    return _infer("v.mp4", "--config", "s.yaml", random=random, finds=0.5), files


def _assignment(tree: dict[str, Any], random: Random) -> str:
    section = random.choice([key for key, inner in tree.items() if isinstance(inner, dict)])
    key = random.choice(sorted(tree[section]))
    value = to_json(_trees().value(random)).decode("utf-8", "replace")
    if random.random() < 0.3:
        value = random.choice(_YAML)
    place = (
        f"{section}.{key}" if random.random() < 0.8 else random.choice([section, ".", "a.b", f"{section}..{key}", key])
    )
    return f"{place}={value}"[: 1 << 16].replace("\0", "")


def boxes(random: Random) -> tuple[tuple[str | bytes, ...], Files]:
    """Own boxes."""
    kind = random.choice(["posetrack18", "coco", "coco-results", "mot"])
    tree = seeds.poses()[kind]
    name = "boxes.txt" if kind == "mot" else "boxes.json"
    data = spoil_text(tree, random) if kind == "mot" else _spoilt_json(tree, random)
    return _infer("v.mp4", "--boxes", name, random=random), {name: data, "v.mp4": seeds.videos()["v.mp4"]}


def results(random: Random) -> tuple[tuple[str | bytes, ...], Files]:
    """A folder of results whose own files are damaged; the same command again, or another one."""
    files: Files = {"v.mp4": seeds.videos()["v.mp4"], **random.choice(folders())}
    for _ in range(random.choice([1, 1, 2])):
        name = random.choice(
            [name for name in files if name not in ("v.mp4", "b.txt", "out/v/keypoints.coco.json") and files[name]]
        )
        data = files[name] or b""
        if str(name).endswith("journal.jsonl"):
            files[name] = _spoilt_journal(data, random)
        elif str(name).endswith(".json") and random.random() < 0.8:
            files[name] = _spoilt_json(json.loads(data), random) if _is_json(data) else spoil_bytes(data, random)
        elif str(name).endswith(".records") and random.random() < 0.6:
            files[name] = _spoilt_records(data, random)
        else:
            files[name] = spoil_bytes(data, random)
        if random.random() < 0.1:
            files[name] = None  # a folder in its place
    more: tuple[str, ...] = random.choice([(), (), (), ("--retry-failed",), ("--overwrite",), ("--verify-hash",)])
    return (*WORDS, *more), files


def _is_json(data: bytes) -> bool:
    try:
        json.loads(data)
    except ValueError:
        return False
    return True


def _spoilt_journal(data: bytes, random: Random) -> bytes:
    """Spoil entries and give them valid checksums."""
    lines = data.splitlines()
    at = random.randrange(len(lines))
    if random.random() < 0.2:
        return spoil_bytes(data, random)
    text = _spoilt_json(json.loads(lines[at].partition(b" ")[2]), random).replace(b"\n", b" ")
    lines[at] = b"%08x %s" % (zlib.crc32(text), text)
    if random.random() < 0.2:
        lines.insert(at, random.choice(lines))
    return b"\n".join(lines) + b"\n"


def _spoilt_records(data: bytes, random: Random) -> bytes:
    """Spoil one record and give it a valid checksum."""
    import struct

    head = struct.Struct("<4sIQ")
    records, at = [], 0
    while at + head.size <= len(data):
        _, _, length = head.unpack_from(data, at)
        records.append(data[at + head.size : at + head.size + length])
        at += head.size + length
    chosen = random.randrange(len(records))
    payload = records[chosen]
    (length,) = struct.unpack_from("<I", payload)
    if random.random() < 0.7:
        text = _spoilt_json(json.loads(payload[4 : 4 + length]), random)
        records[chosen] = struct.pack("<I", len(text)) + text + payload[4 + length :]
    else:
        records[chosen] = spoil_bytes(payload, random)
    if random.random() < 0.2:
        random.shuffle(records)
    return b"".join(head.pack(b"JMR1", zlib.crc32(record), len(record)) + record for record in records)


_TARGETS = ("posetrack17", "posetrack18", "posetrack21", "coco", "coco-results", "csv", "mot")


def convert(random: Random) -> tuple[tuple[str | bytes, ...], Files]:
    """A pose file of any format into any other."""
    name, data = _spoilt_poses(random)
    to = "mot" if name.endswith(".txt") and random.random() < 0.7 else random.choice(_TARGETS)
    if random.random() < 0.2:
        return ("convert", "in", "out", "--to", to), {f"in/{name}": data, "in/other.json": b"[]"}
    return ("convert", name, "out", "--to", to), {name: data, "out": None}


def _spoilt_poses(random: Random, kinds: tuple[str, ...] = ()) -> tuple[str, bytes]:
    kind = random.choice(kinds or tuple(seeds.poses()))
    tree = seeds.poses()[kind]
    if kind == "mot":
        return "000001_clip.txt", spoil_text(tree, random)
    return "000001_clip.json", _spoilt_json(tree, random)


_OF_PROTOCOL = {
    "posetrack17": ("posetrack17", "posetrack18"),
    "posetrack18": ("posetrack18",),
    "posetrack21": ("posetrack21",),
    "coco": ("coco", "coco-results"),
    "mot": ("mot", "posetrack18"),
}


def evaluate(random: Random) -> tuple[tuple[str | bytes, ...], Files]:
    """Ground truth or predictions that are damaged."""
    protocol = random.choice(sorted(_OF_PROTOCOL))
    kinds = _OF_PROTOCOL[protocol]
    files: Files = {}
    is_truth = random.random() < 0.5
    for folder in ("gt", "pred"):
        spoilt = (folder == "gt") == is_truth
        kind = kinds[0] if folder == "gt" else random.choice(kinds)
        if spoilt:
            name, data = _spoilt_poses(random, (kind,))
        else:
            tree = seeds.poses()[kind]
            name, data = (
                ("000001_clip.txt", tree.encode()) if kind == "mot" else ("000001_clip.json", json.dumps(tree).encode())
            )
        files[f"{folder}/{name}"] = data
    words = ["eval", "--gt", "gt", "--pred", "pred", "--protocol", protocol, "--out", "out", "--replicates", "100"]
    if random.random() < 0.25:
        words += ["--pred", "gt"]
    if random.random() < 0.2:
        files |= seeds.frames_of_poses()
        words += ["--html", "--images", "."]
    words += random.choice([[], [], ["--hota", "standard"], ["--box-tracking"], ["--track-threshold", "auto"]])
    return tuple(words), files


def training(random: Random) -> tuple[tuple[str | bytes, ...], Files]:
    """Settings of a training run, checked."""
    files: Files = {"t.yaml": _spoilt_yaml(seeds.training(), random), **seeds.data_set()}
    return ("train", "t.yaml", "--check", "--out", "out"), files


def training_data(random: Random) -> tuple[tuple[str | bytes, ...], Files]:
    """The data of a training run, checked."""
    files: Files = {"t.yaml": yaml.safe_dump(seeds.training()).encode(), **seeds.data_set()}
    name = random.choice([name for name in files if name != "t.yaml"])
    data = files[name] or b""
    annotations = str(name).endswith(".json")
    files[name] = _spoilt_json(json.loads(data), random) if annotations else spoil_bytes(data, random)
    return ("train", "t.yaml", "--check", "--out", "out", "-q"), files


def model(random: Random) -> tuple[tuple[str | bytes, ...], Files]:
    """A pose model in a file, its JSON, or a folder of transformers, of which one is damaged."""
    if random.random() < 0.5:
        given, place = seeds.model(), "m/tiny.safetensors"
    else:
        given, place = seeds.folder_of_vitpose(), "m"
    files = _spoilt_weights({f"m/{name}": data for name, data in given.items()}, random)
    how = random.randrange(5)
    if how == 0:
        settings_too = yaml.safe_dump(seeds.training()).encode()
        return ("train", "t.yaml", "--check", "--init", place), files | {"t.yaml": settings_too, **seeds.data_set()}
    option = "--temporal" if how == 1 else "--model"
    files["v.mp4"] = seeds.videos()["v.mp4"]
    return _infer("v.mp4", option, place, *SEEN, random=random), files


def detector(random: Random) -> tuple[tuple[str | bytes, ...], Files]:
    """A detector in a file, its JSON, or a folder of transformers, of which one is damaged."""
    if random.random() < 0.6:
        given, place = random.choice(seeds.detectors()), "d/tiny.safetensors"
    else:
        given, place = seeds.folder_of_detector(), "d"
    files = _spoilt_weights({f"d/{name}": data for name, data in given.items()}, random)
    return _infer("v.mp4", "--detector", place, random=random), files | {"v.mp4": seeds.videos()["v.mp4"]}


def _spoilt_weights(given: dict[str, bytes], random: Random) -> Files:
    files: Files = dict(given)
    described = [name for name in files if str(name).endswith(".json")]
    name = random.choice([*described, *files])
    data = files[name] or b""
    if str(name).endswith(".json"):
        files[name] = _spoilt_json(json.loads(data), random)
    elif random.random() < 0.6:
        files[name] = _spoilt_safetensors(data, random)
    else:
        files[name] = spoil_bytes(data, random)
    if random.random() < 0.1:
        del files[name]
    return files


def _spoilt_safetensors(data: bytes, random: Random) -> bytes:
    """Spoil the head of a file of tensors, or the description that is in it."""
    length = int.from_bytes(data[:8], "little")
    tree = json.loads(data[8 : 8 + length])
    about = tree.get("__metadata__", {})
    described = [key for key, text in about.items() if text.startswith("{")]
    if described and random.random() < 0.7:
        about[described[0]] = _spoilt_json(json.loads(about[described[0]]), random).decode("utf-8", "replace")
        head = json.dumps(tree).encode()
    else:
        head = _spoilt_json(tree, random)
    size = len(head) if random.random() < 0.9 else random.choice([0, 1, 1 << 20, 1 << 62, (1 << 64) - 1])
    return size.to_bytes(8, "little") + head + data[8 + length :]


def pickles(random: Random) -> tuple[tuple[str | bytes, ...], Files]:
    """Checkpoints of other projects: damaged, or with code in them."""
    data = random.choice(seeds.evil_checkpoints())
    if random.random() < 0.5:
        data = spoil_bytes(seeds.checkpoint(), random)
    name = random.choice(["x.pt", "x.pth", "yolo26n.pt", "x.safetensors", "x.bin"])
    files: Files = {name: data, "v.mp4": b"nothing"}
    how = random.randrange(4)
    if how == 0:
        return ("models", "convert", name, "out", "--keypoints", "coco17", "--input", "64x32"), files
    if how == 1:
        return _infer("v.mp4", "--model", name, random=random), files
    if how == 2:
        return _infer("v.mp4", *random.choice([("--detector", name), ("--temporal", name), ()]), random=random), files
    settings_too = yaml.safe_dump(seeds.training()).encode()
    return ("train", "t.yaml", "--check", "--init", name), files | {"t.yaml": settings_too, **seeds.data_set()}


def resumed(random: Random) -> tuple[tuple[str | bytes, ...], Files]:
    """A run folder of training that is damaged, resumed."""
    files: Files = {**run_folder(), **seeds.data_set()}
    name = random.choice([name for name in files if str(name).startswith("run/")])
    data = files[name] or b""
    if str(name).endswith(".yaml"):
        files[name] = _spoilt_yaml(seeds.training(), random)
    elif str(name).endswith(".json") and random.random() < 0.8:
        files[name] = _spoilt_json(json.loads(data), random)
    else:
        files[name] = spoil_bytes(data, random)
    return ("train", "--resume", "--out", "run", "--set", "data.workers=0"), files


def words(random: Random) -> tuple[tuple[str | bytes, ...], Files]:
    """Command lines that are wrong."""
    parts = (
        *(
            "infer",
            "eval",
            "convert",
            "train",
            "models",
            "show",
            "check",
            "pull",
            "list",
            "--json",
            "--out",
            "out",
            "v.mp4",
        ),
        *(
            "--frames",
            "--time",
            "--fps",
            "--shard",
            "--devices",
            "--device",
            "--format",
            "--keypoints",
            "--workers",
            "--gt",
        ),
        *(
            "--model",
            "--detector",
            "--temporal",
            "--set",
            "--batch",
            "--max-people",
            "--precision",
            "--to",
            "--protocol",
        ),
        *(
            "0",
            "-1",
            "1e999",
            "nan",
            "5:1",
            ":",
            "a:b",
            "0/0",
            "9/2",
            "1/0",
            "cuda:99",
            "mps",
            "coco,coco",
            ",",
            "fp16",
            "=",
        ),
        *(
            "nano",
            "a/b",
            "../x",
            "http://127.0.0.1:9/a",
            "\x1b[31m",
            "[bold]",
            "\udcff",
            "",
            " ",
            "9" * 400,
            "--",
            "-",
            "-q",
        ),
    )
    first = random.choice([["infer", "v.mp4"], ["eval"], ["models"], ["convert"], ["train"], []])
    chosen = [*first, *random.choices(parts, k=random.randint(1, 5))]
    if chosen[0] == "infer":
        chosen += [*CHEAP[:4], "--no-overlay"]
    return tuple(chosen), {"v.mp4": b"nothing"}


KINDS: dict[str, tuple[Callable[[Random], tuple[tuple[str | bytes, ...], Files]], int]] = {
    "video": (video, 22),
    "pictures": (pictures, 12),
    "names": (names, 12),
    "lists": (lists, 12),
    "settings": (settings, 20),
    "boxes": (boxes, 16),
    "results": (results, 14),
    "convert": (convert, 28),
    "evaluate": (evaluate, 16),
    "training": (training, 8),
    "training-data": (training_data, 4),
    "resumed": (resumed, 4),
    "model": (model, 12),
    "detector": (detector, 8),
    "pickles": (pickles, 6),
    "words": (words, 6),
}
"""Each kind's function, and its share of 200 inputs."""


def make(kind: str, seed: int, number: int) -> Case:
    """Make input `number` of a kind; the same for the same seed."""
    random = Random(f"{kind}/{seed}/{number}")
    chosen, files = KINDS[kind][0](random)
    if SEEN[1] in chosen:
        files = {SEEN[1]: TWO_BOXES} | files
    writes = ("run",) if kind == "resumed" else ("out",)
    if kind == "words":  # any of them may be taken for OUT
        writes += tuple(word for word in map(str, chosen) if word.isalnum())
    return Case(kind, f"{seed}/{number}", chosen, files, writes=writes)


def shares(inputs: int) -> dict[str, int]:
    """How many inputs of each kind make up so many together."""
    whole = sum(share for _, share in KINDS.values())
    counts = {kind: max(1, round(inputs * share / whole)) for kind, (_, share) in KINDS.items()}
    counts["video"] += inputs - sum(counts.values())
    return {kind: max(0, count) for kind, count in counts.items()}
