"""`jmpose doctor`: what works on this machine and what does not, and what to do about it.

Each check is a small function that yields findings and changes nothing. Nothing is fetched.
"""

import importlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jmpose_cli import __version__
from jmpose_cli.console import make_console
from jmpose_cli.device import choose_device, cpu_has_bf16, usable_cores
from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.writers import FORMATS
from jmpose_cli.home import is_kept
from jmpose_cli.known_weights import REID_NANO, Access, choose_detector, choose_model
from jmpose_cli.machine import explain
from jmpose_cli.text import to_json
from jmpose_cli.zoo.catalogue import CATALOGUE
from jmpose_cli.zoo.store import SHIPPED, cache_folder, known_models, location, state

Status = Literal["ok", "note", "problem"]

_FREE_BYTES = 2 * 10**9
_GIB = 2**30
_REINSTALL = "install jmpose again: pip install --force-reinstall jmpose"
# Decoders by FFmpeg's names; without the first, most videos cannot be read.
_DECODERS = ("h264", "hevc", "vp8", "vp9", "av1", "mpeg4", "mjpeg", "prores")
_ENCODER = "libx264"
# What may be installed instead, with the same modules.
_STAND_INS = {"opencv-python": ("opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless")}
# Packages of extras, with the extra and what needs it; formats of files name their own.
_EXTRAS = (
    ("ray", "ray", "--ray"),
    ("lightning-fabric", "train", "jmpose train"),
    ("tensorboard", "train", "jmpose train"),
)
_TIMEOUT_S = 20.0
_STYLES: Mapping[Status, str] = {"ok": "green", "note": "yellow", "problem": "red"}


@dataclass(frozen=True)
class Finding:
    """What one check says.

    Attributes:
        check: What was looked at.
        status: `ok`; `note`: something that `infer` can do without; `problem`: something that it needs.
        text: What was found.
        todo: What to do about it; empty where nothing is to be done.
        facts: The same for machines, by name.
    """

    check: str
    status: Status
    text: str
    todo: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class InferOptions:
    """What `jmpose infer` would be asked for.

    Attributes:
        device: `--device`.
        model: `--model`.
        detector: `--detector`.
    """

    device: str = "auto"
    model: str = "auto"
    detector: str = "auto"


def run_doctor(asked: InferOptions, *, self_test: bool, as_json: bool) -> int:
    """Run all checks and print what they found.

    Returns:
        0 when all that `jmpose infer` needs works, else 1.
    """
    console = make_console()
    found = []
    for finding in examine(asked, self_test=self_test):
        found.append(finding)
        if not as_json:
            _show(console, finding)
    problems = [finding.check for finding in found if finding.status == "problem"]
    if as_json:
        record = {"jmpose": __version__, "ok": not problems, "findings": [asdict(finding) for finding in found]}
        print(to_json(record, indent=True).decode())
    else:
        verdict = f"needs fixing: {', '.join(problems)}" if problems else "all that jmpose infer needs works"
        verdict += "" if self_test or problems else ", as far as looked at"
        console.print(f"\n{verdict}", style="red" if problems else "green")
    return 1 if problems else 0


def examine(asked: InferOptions, *, self_test: bool) -> Iterator[Finding]:
    """Yield the findings of all checks, the quick ones first; a check that fails itself is a problem."""
    checks: dict[str, Callable[[], Iterator[Finding]]] = {
        "python": check_python,
        "packages": check_packages,
        "torch": check_torch,
        "pictures": check_pictures,
        "device": lambda: check_device(asked.device),
        "decoders": check_decoders,
        "encoder": check_encoder,
        "models": lambda: check_models(asked),
        "folders": check_folders,
        "extras": check_extras,
        "licences": check_licences,
    }
    if self_test:
        checks["self-test"] = lambda: check_by_running(asked)
    for name, check in checks.items():
        try:
            yield from check()
        except JmposeError as error:
            yield Finding(name, "problem", error.message, error.hint)
        except Exception as error:
            if explained := explain(error):
                yield Finding(name, "problem", explained.message, explained.hint)
                continue
            yield Finding(name, "problem", f"{type(error).__name__}: {_first_line(error)}", _REINSTALL)


def check_python() -> Iterator[Finding]:
    """Python's version against the package's."""
    needed = metadata.metadata("jmpose")["Requires-Python"]
    facts = {"python": platform.python_version(), "platform": platform.platform(), "executable": sys.executable}
    text = f"{facts['python']} on {facts['platform']}, {usable_cores()} cores usable"
    if SpecifierSet(needed).contains(facts["python"], prereleases=True):
        yield Finding("python", "ok", text, facts=facts)
    else:
        yield Finding("python", "problem", f"{text}; jmpose needs {needed}", "use a newer Python", facts)


def check_packages() -> Iterator[Finding]:
    """Versions of the packages that jmpose depends on against what it allows."""
    versions: dict[str, str | None] = {}
    for text in metadata.requires("jmpose") or []:
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        stand_ins = (installed_version(name) for name in _STAND_INS.get(requirement.name, ()))
        version = installed_version(requirement.name) or next((found for found in stand_ins if found), None)
        versions[requirement.name] = version
        install = f"pip install '{requirement.name}{requirement.specifier}'"
        if version is None:
            yield Finding("packages", "problem", f"{requirement.name} is not installed", install)
        elif not requirement.specifier.contains(version, prereleases=True):
            wrong = f"{requirement.name} is {version}, jmpose needs {requirement.specifier}"
            yield Finding("packages", "problem", wrong, install)
    there = sum(version is not None for version in versions.values())
    yield Finding("packages", "ok", f"{there} of {len(versions)} installed", facts={"versions": versions})


def check_torch() -> Iterator[Finding]:
    """Torch and torchvision: whether they load, and fit each other."""
    import torch

    facts = {"torch": torch.__version__, "cuda_build": torch.version.cuda, "torchvision": None}
    built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built for the CPU"
    yield Finding("torch", "ok", f"{torch.__version__}, {built}", facts=facts)
    try:
        from torchvision.ops import nms

        nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
    except (ImportError, RuntimeError, OSError) as error:
        text = f"torchvision {installed_version('torchvision')} does not work with it ({_first_line(error)})"
        explained = explain(error)
        todo = explained.hint if explained else "install both together: pip install --upgrade torch torchvision"
        yield Finding("torch", "problem", text, todo)


def check_pictures() -> Iterator[Finding]:
    """OpenCV, which wants libraries of the system."""
    import cv2

    yield Finding("pictures", "ok", f"OpenCV {cv2.__version__}", facts={"opencv": cv2.__version__})


def check_device(asked: str) -> Iterator[Finding]:
    """The device that a run would take, and the GPUs."""
    import torch

    driver = nvidia_driver()
    try:
        device = choose_device(asked, precision="fp32")
    except JmposeError as error:
        yield Finding("device", "problem", error.message, _cuda_todo(driver) or error.hint, {"driver": driver})
        return
    text, facts = f"--device {asked} takes {device.description}", {"device": device.name, "cpu_bf16": cpu_has_bf16()}
    text += f", which has {'' if facts['cpu_bf16'] else 'no '}bf16 arithmetic" if device.name == "cpu" else ""
    yield Finding("device", "ok", text, facts=facts)
    if driver and not torch.cuda.is_available():
        text = f"an NVIDIA driver ({driver}) is here, but torch cannot use the GPU"
        yield Finding("device", "note", text, _cuda_todo(driver), {"driver": driver})
    for number in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        yield _gpu(number, driver)


def _gpu(number: int, driver: str) -> Finding:
    """Multiply two small matrices on a GPU; say what it is."""
    import torch

    name = torch.cuda.get_device_name(number)
    try:
        ones = torch.ones(8, 8, device=f"cuda:{number}")
        works = float((ones @ ones).sum()) == 512
        free, total = torch.cuda.mem_get_info(number)
    except RuntimeError as error:
        todo = "is the GPU busy or too old for this torch? See nvidia-smi, or use --device cpu"
        return Finding("device", "problem", f"cuda:{number} ({name}) does not compute: {_first_line(error)}", todo)
    major, minor = torch.cuda.get_device_capability(number)
    facts = {
        "name": name,
        "memory_bytes": total,
        "free_bytes": free,
        "capability": f"{major}.{minor}",
        "driver": driver,
    }
    text = f"cuda:{number} is {name}, {free / _GIB:.1f} of {total / _GIB:.1f} GiB free, capability {major}.{minor}, "
    status: Status = "ok" if works else "problem"
    return Finding("device", status, text + f"driver {driver or 'unknown'}", facts=facts)


def _cuda_todo(driver: str) -> str:
    """What keeps torch from a GPU; empty when nobody knows."""
    import torch

    if torch.version.cuda is None and driver:
        return "this torch is built for the CPU: pip install --force-reinstall torch torchvision takes the CUDA build"
    if driver:
        return f"this torch wants CUDA {torch.version.cuda}: update the NVIDIA driver, and see whether nvidia-smi works"
    return ""


def nvidia_driver() -> str:
    """Version of the NVIDIA driver; empty where there is none."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ""
    query = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        lines = subprocess.run(query, capture_output=True, text=True, timeout=_TIMEOUT_S, check=True).stdout.split()
    except (OSError, subprocess.SubprocessError):
        return ""
    return lines[0] if lines else ""


def check_decoders() -> Iterator[Finding]:
    """The libraries that read videos, and what they can read."""
    for name, package in (("decord", "decord"), ("av", "av")):
        try:
            importlib.import_module(name)
        except (ImportError, OSError) as error:
            text = f"{name} cannot be loaded ({_first_line(error)})"
            explained = explain(error)
            todo = f"pip install --force-reinstall {package}" + (f"; or {explained.hint}" if explained else "")
            yield Finding("decoders", "problem", text, todo)
            if name == "av":
                return
    codecs, libraries = pyav_codecs(), pyav_libraries()
    there = [name for name in _DECODERS if name in codecs]
    facts = {"decord": installed_version("decord"), "av": installed_version("av"), "ffmpeg": libraries}
    text = f"decord {facts['decord']}, PyAV {facts['av']} (libavcodec {libraries.get('libavcodec', '?')}); "
    text += f"PyAV reads {', '.join(there)}"
    missing = [name for name in _DECODERS if name not in there]
    status: Status = "problem" if "h264" in missing else "note" if missing else "ok"
    todo = "take PyAV's own wheel, which has them: pip install --force-reinstall --no-cache-dir av" if missing else ""
    text += f"; not {', '.join(missing)}" if missing else ""
    yield Finding("decoders", status, text, todo, facts | {"codecs": there})


def check_encoder() -> Iterator[Finding]:
    """The encoder of overlays."""
    if _ENCODER in pyav_codecs():
        yield Finding("encoder", "ok", f"{_ENCODER}: overlays are H.264, which plays everywhere")
        return
    todo = "take PyAV's own wheel: pip install --force-reinstall --no-cache-dir av; until then use --no-overlay"
    yield Finding("encoder", "problem", f"PyAV has no {_ENCODER}: no overlay can be written", todo)


def _is_gpu(asked: str) -> bool:
    """Whether a run would take a GPU; that there is no such device is said elsewhere."""
    try:
        return choose_device(asked, precision="fp32").name != "cpu"
    except JmposeError:
        return False


def check_models(asked: InferOptions) -> Iterator[Finding]:
    """The weights that a run would take, and those that are at hand; nothing is fetched."""
    offline, on_gpu = Access(offline=True), _is_gpu(asked.device)
    for option, name in (("--model", asked.model), ("--detector", asked.detector)):
        try:
            if option == "--model":
                choice = choose_model(name, access=offline)
            else:
                choice = choose_detector(name, on_gpu=on_gpu, access=offline)
        except JmposeError as error:
            yield Finding("models", "problem", error.message, error.hint)
            continue
        reason = f" ({choice.reason})" if choice.reason else ""
        text = f"{option} {name} takes {choice.path}{reason}"
        yield Finding("models", "ok", text, facts={"option": option, "path": str(choice.path)})
    described = [path for path in SHIPPED.glob("*.safetensors") if path != REID_NANO]
    damaged = [path.name for path in described if not path.with_suffix(".json").is_file()]
    if damaged:
        yield Finding("models", "problem", f"shipped weights lack their .json: {', '.join(damaged)}", _REINSTALL)
    cached = {entry.name: str(location(entry)) for entry in known_models().values() if state(entry) == "cached"}
    text = f"in the cache: {', '.join(cached) or 'nothing'}; of {len(CATALOGUE)} that `jmpose models pull` fetches"
    yield Finding("models", "ok", text, facts={"cached": cached})


def check_folders() -> Iterator[Finding]:
    """The folders that a run writes to beside its results."""
    folders = {"cache": cache_folder()}
    try:
        folders["temporary files"] = Path(tempfile.gettempdir())
    except OSError as error:
        todo = "set TMPDIR to a folder that you may write to; until then a run puts them into .jmpose in its --out"
        yield Finding("folders", "note", f"temporary files: {error.strerror}", todo)
    if not is_kept():
        text = f"no home folder can be written to, so the cache is {folders['cache']}"
        yield Finding("folders", "note", text, "set JMPOSE_CACHE to a folder that stays, to keep models")
    for name, folder in folders.items():
        existing = next(path for path in (folder, *folder.absolute().parents) if os.path.exists(path))
        free = shutil.disk_usage(existing).free
        facts = {"name": name, "path": str(folder), "free_bytes": free}
        text = f"{name}: {folder}, {free / 10**9:.0f} GB free"
        setting = "JMPOSE_CACHE" if name == "cache" else "TMPDIR"
        if not is_writable(existing):
            todo = f"set {setting} to a folder that you may write to"
            yield Finding("folders", "problem", f"{name}: {folder} cannot be written to", todo, facts)
        elif free < _FREE_BYTES:
            yield Finding("folders", "note", text, f"free some space, or set {setting} to another disk", facts)
        else:
            yield Finding("folders", "ok", text, facts=facts)


def is_writable(folder: Path) -> bool:
    """Try to write into a folder."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"1")
    except OSError:
        return False
    return True


def check_extras() -> Iterator[Finding]:
    """What only some commands and options need."""
    of_formats = [(form.package, form.name, f"--format {form.name}") for form in FORMATS.values() if form.package]
    for package, extra, purpose in (*_EXTRAS, *of_formats):
        found = installed_version(package)
        todo = "" if found else f"for {purpose}: pip install 'jmpose[{extra}]'"
        text = f"{package} {found}" if found else f"no {package}, so {purpose} does not work"
        yield Finding("extras", "ok" if found else "note", text, todo, {package: found})
    compiler = os.environ.get("CXX") or next((c for c in ("g++", "clang++") if shutil.which(c)), "")
    todo = "" if compiler else "for --compile: install g++"
    text = f"C++ compiler {compiler}" if compiler else "no C++ compiler, so --compile does not work on a CPU"
    yield Finding("extras", "ok" if compiler else "note", text, todo, {"compiler": compiler})


def check_licences() -> Iterator[Finding]:
    """Under which terms all this may be used."""
    ours, theirs = metadata.metadata("jmpose")["License-Expression"], "AGPL-3.0"
    text = f"jmpose is {ours}, because its YOLO detectors run on ultralytics ({theirs})"
    facts: dict[str, Any] = {"jmpose": ours, "ultralytics": theirs}
    yield Finding("licences", "ok", text, facts=facts)
    apache = [e.name for e in CATALOGUE.values() if e.kind == "detector" and e.weights_licence == "Apache-2.0"]
    text = f"detectors with weights under Apache-2.0, run by transformers: {', '.join(sorted(apache))}"
    yield Finding("licences", "ok", text, facts={"apache_detectors": apache})
    for entry in known_models().values():
        if state(entry) in {"shipped", "cached"}:
            card = location(entry).with_suffix(".md")
            text = f"{entry.name}: {entry.weights_licence or 'not stated'}"
            text += f"; {card}" if card.is_file() else f"; {entry.source}"
            yield Finding("licences", "ok", text, facts={"model": entry.name, "weights": entry.weights_licence})


def check_by_running(asked: InferOptions) -> Iterator[Finding]:
    """Run the whole tool on some frames of the example."""
    from jmpose_cli.upkeep.self_test import run_self_test

    result = run_self_test(device=asked.device, model=asked.model, detector=asked.detector)
    stages = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in result.stage_s.items())
    text = f"{result.frames} frames decoded, {result.people} poses of people estimated, "
    text += f"H.264 written and read back, in {result.wall_s:.1f} s after {result.load_s:.1f} s of loading ({stages})"
    facts = asdict(result)
    if result.people:
        yield Finding("self-test", "ok", text, facts=facts)
    else:
        todo = "the example shows four: try another --detector, and `jmpose models check`"
        yield Finding("self-test", "problem", text, todo, facts)


def installed_version(package: str) -> str | None:
    """Version of an installed package; None where it is not."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def pyav_codecs() -> frozenset[str]:
    """Names of all codecs in PyAV's FFmpeg."""
    from jmpose_cli.video.av_library import pyav

    return frozenset(pyav().codecs_available)


def pyav_libraries() -> dict[str, str]:
    """Versions of PyAV's FFmpeg libraries."""
    from jmpose_cli.video.av_library import pyav

    return {name: ".".join(map(str, version)) for name, version in pyav().library_versions.items()}


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _show(console: Console, finding: Finding) -> None:
    line = Table.grid(padding=(0, 2))
    line.add_column(width=10, justify="right")
    line.add_column(width=7)
    line.add_column(overflow="fold")
    line.add_row(finding.check, Text(finding.status, _STYLES[finding.status]), finding.text)
    if finding.todo:
        line.add_row("", "", Text.assemble(("do:", "bold"), " ", finding.todo))
    console.print(line)
