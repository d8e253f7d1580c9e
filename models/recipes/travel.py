"""Take the training data to a machine with a GPU, in a few small archives, and unpack them there.

`python models/recipes/travel.py pack --data ../shared/data --out runs/travel --part-mb 50`
`python models/recipes/travel.py unpack runs/travel/part-*.zip --data data`

Packed are the pictures that are learnt from and validated on, compressed anew as AVIF, with the labels that the
recipes made of them (`nano_data.py`, `person_nano_data.py`, `ablation_data.py`), so that no teacher is needed there but
that of `reid-nano`. Unpacking cuts the patches again. Pictures keep their names, whatever their format is.
"""

import argparse
import io
import json
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from nano_data import PATCH_HEIGHT, PATCH_WIDTH, SETS, Person, cut, folders_of, people_of, read_rgb
from person_nano_data import add_plain

TEACHER = "teachers/osnet_x0_25_msmt17.pth"
ANNOTATIONS = (
    "coco_persons/train.json",
    "coco_persons/val.json",
    "lspet/lspet.json",
    "people_more/boxes.json",
)
VALIDATION = "coco_persons/val"  # as it is: what is scored is not compressed anew
PEOPLE, DETECTOR, VIDEOS = Path("runs/people"), Path("runs/person-nano/data"), Path("runs/ablation/data")


class Parts:
    """Archives of limited size, opened one after the other.

    Args:
        folder: Gets `part-0.zip`, `part-1.zip` and so on.
        most: Bytes of one; a single file may be larger.
    """

    def __init__(self, folder: Path, most: int) -> None:
        self._folder, self._most = folder, most
        self._size, self._open = most, list[zipfile.ZipFile]()

    def add(self, name: str, content: bytes) -> None:
        """Add a file; text is deflated, pictures are small already."""
        if self._size + len(content) > self._most or not self._open:
            self.close()
            number = len(self._open)
            self._open.append(zipfile.ZipFile(self._folder / f"part-{number}.zip", "w"))
            self._size = 0
        is_text = name.endswith((".json", ".txt", ".npz"))
        self._open[-1].writestr(name, content, zipfile.ZIP_DEFLATED if is_text else zipfile.ZIP_STORED)
        self._size += self._open[-1].getinfo(name).compress_size

    def close(self) -> None:
        """Finish the last archive."""
        if self._open:
            self._open[-1].close()


def main() -> None:
    """Pack or unpack."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    packing = commands.add_parser("pack")
    packing.add_argument("--out", type=Path, default=Path("runs/travel"))
    packing.add_argument("--part-mb", type=float, default=50, help="largest size of an archive")
    packing.add_argument("--quality", type=int, default=42, help="of AVIF, 0 to 100")
    unpacking = commands.add_parser("unpack")
    unpacking.add_argument("parts", type=Path, nargs="+")
    for command in (packing, unpacking):
        command.add_argument("--data", type=Path, default=Path("../shared/data"))
        command.add_argument("--workers", type=int, default=2, help="processes")
    args = parser.parse_args()
    with ProcessPoolExecutor(args.workers) as pool:
        if args.command == "pack":
            args.out.mkdir(parents=True, exist_ok=True)
            pack(args.data, Parts(args.out, round(1e6 * args.part_mb)), pool, quality=args.quality)
        else:
            for part in args.parts:
                with zipfile.ZipFile(part) as archive:
                    archive.extractall(args.data)
            unpack(args.data, pool)


def pack(data: Path, parts: Parts, pool: ProcessPoolExecutor, *, quality: int) -> None:
    """Write the archives: `data`'s layout, and below `made` what the recipes made."""
    for name in (*ANNOTATIONS, TEACHER):
        parts.add(name, (data / name).read_bytes())
    for picture in sorted((data / VALIDATION).iterdir()):
        parts.add(f"{VALIDATION}/{picture.name}", picture.read_bytes())
    for file in sorted((data / "person_boxes/labels/train").glob("*.txt")):
        parts.add(file.relative_to(data).as_posix(), file.read_bytes())
    sources: dict[str, str] = json.loads((DETECTOR / "sources.json").read_text())
    needed = {data / name for name in sources.values()} | {person.image for _, person in labelled_people(data)}
    pictures = {file.relative_to(data).as_posix(): file for file in sorted(needed)}
    for label in sorted((DETECTOR / "labels/train").glob("*.txt")):
        parts.add(f"made/detector/{label.name}", label.read_bytes())
        frame = DETECTOR / "images/train" / f"{label.stem}.jpg"
        if label.stem not in sources and not label.stem.startswith("plain_"):
            pictures[f"made/frames/{frame.name}"] = frame
    parts.add("made/sources.json", json.dumps(sources).encode())
    for labels in sorted(PEOPLE.glob("*/labels.npz")):
        parts.add(f"made/people/{labels.parent.name}.npz", labels.read_bytes())
    for file in sorted(file for part in ("clips", "train", "val") for file in (VIDEOS / part).rglob("*")):
        if file.is_file():
            parts.add(f"made/videos/{file.relative_to(VIDEOS)}", file.read_bytes())
    compressed = pool.map(compress, pictures.values(), [quality] * len(pictures), chunksize=16)
    for name, content in zip(pictures, compressed, strict=True):
        parts.add(name, content)
    parts.close()
    print(f"{len(pictures)} pictures", flush=True)


def labelled_people(data: Path) -> Iterator[tuple[str, Person]]:
    """Yield folder below `PEOPLE` and person of all people that have labels there, by sets."""
    for source in SETS:
        folders = [f for f in folders_of(source) if (PEOPLE / f / "labels.npz").is_file()]
        if folders:
            people = [*people_of(source, data)]
            for folder in folders:
                with np.load(PEOPLE / folder / "labels.npz") as labels:
                    rows = labels["rows"]
                yield from ((folder, people[row]) for row in rows)


def compress(picture: Path, quality: int) -> bytes:
    """Read a picture and return it as AVIF, or as it is where that is smaller."""
    buffer = io.BytesIO()
    Image.fromarray(read_rgb(picture)).save(buffer, "AVIF", quality=quality, speed=7, max_threads=1)
    original = picture.read_bytes()
    return min(buffer.getvalue(), original, key=len)


def unpack(data: Path, pool: ProcessPoolExecutor) -> None:
    """Write `runs/people`, the data of the detector and the videos, as the recipes would have."""
    made = data / "made"
    for labels in (made / "people").glob("*.npz"):
        (PEOPLE / labels.stem).mkdir(parents=True, exist_ok=True)
        shutil.move(labels, PEOPLE / labels.stem / "labels.npz")
    shutil.copytree(made / "videos", VIDEOS, dirs_exist_ok=True)
    cut_patches([*labelled_people(data)], pool)
    for folder in ("images/train", "labels/train"):
        (DETECTOR / folder).mkdir(parents=True, exist_ok=True)
    sources = json.loads((made / "sources.json").read_text())
    frames = {file.stem: file for file in (made / "frames").glob("*.jpg")}
    labels = [file for file in sorted((made / "detector").glob("*.txt")) if not file.stem.startswith("plain_")]
    files = [data / sources[label.stem] if label.stem in sources else frames[label.stem] for label in labels]
    for label in labels:
        shutil.copy(label, DETECTOR / "labels/train")
    targets = [DETECTOR / "images/train" / f"{label.stem}.jpg" for label in labels]
    [*pool.map(as_jpeg, files, targets, chunksize=32)]
    add_plain(DETECTOR)
    print(f"{len(labels)} pictures for the detector", flush=True)


def cut_patches(people: Sequence[tuple[str, Person]], pool: ProcessPoolExecutor) -> None:
    """Cut the patches of all folders."""
    for folder in dict.fromkeys(folder for folder, _ in people):
        chosen = [person for name, person in people if name == folder]
        shape = (len(chosen), PATCH_HEIGHT, PATCH_WIDTH, 3)
        path = PEOPLE / folder / "patches.npy"
        patches = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
        for row, patch in enumerate(pool.map(patch_of, chosen, chunksize=16)):
            patches[row] = patch
        print(f"{folder}: {len(chosen)} people", flush=True)


def patch_of(person: Person) -> np.ndarray:
    """Cut one patch."""
    cv2.setNumThreads(1)
    return cut(person, read_rgb(person.image))[0]


def as_jpeg(picture: Path, target: Path) -> None:
    """Write a picture as JPEG, which every reader knows."""
    Image.fromarray(read_rgb(picture)).save(target, "JPEG", quality=92)


if __name__ == "__main__":
    main()
