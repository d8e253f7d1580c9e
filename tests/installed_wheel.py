"""A wheel of this tree, in an environment of its own, does what the README says: `make wheel-test`.

Installs several gigabytes, from pip's cache where they are there: minutes. Not one of the tests that pytest collects.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FRAMES = 8
WANTED = (
    "jmpose_cli/configs/nano-coco.yaml",
    "jmpose_cli/evaluation/page.html.j2",
    "jmpose_cli/examples/street.mp4",
    "jmpose_cli/py.typed",
    "jmpose_cli/weights/nano.safetensors",
    "jmpose_cli/weights/parts/temporal-coco17.safetensors",
    "jmpose_cli/weights/person-nano.safetensors",
    "jmpose/py.typed",
)
FOREIGN = re.compile(r"^(?!jmpose/|jmpose_cli/|jmpose-[\d.]+\.dist-info/)")
RESULTS = ("keypoints.coco.json", "posetrack18.json", "overlay.mp4", "run.json")


def main() -> None:
    """Build, install, run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, help="folder for wheel and environment; one that is there is used again")
    given = parser.parse_args().keep
    with tempfile.TemporaryDirectory() as temporary:
        folder = (given or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        wheel = build(folder)
        look_into(wheel)
        use(install(wheel, folder / "environment"), folder)
    print("the wheel works")


def run(*command: object, cwd: Path = ROOT, code: int = 0) -> str:
    """Run a program as a user does who has no checkout; return what it says."""
    print("$", *command, flush=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run([str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True)
    if done.returncode != code:
        sys.exit(f"exit code {done.returncode}, not {code}:\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def build(folder: Path) -> Path:
    """Make the wheel of this tree."""
    for old in folder.glob("jmpose-*.whl"):
        old.unlink()
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT)
    (wheel,) = folder.glob("jmpose-*.whl")
    return wheel


def look_into(wheel: Path) -> None:
    """All that is needed at run time is in it, and nothing of tests, recipes or examples."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    missing = set(WANTED) - set(names)
    foreign = [name for name in names if FOREIGN.match(name) or "renderer" in name or "recipes" in name]
    if missing or foreign:
        sys.exit(f"{wheel.name} lacks {sorted(missing)} and should not have {foreign[:9]}")
    print(f"{wheel.name}: {len(names)} files, {wheel.stat().st_size / 1e6:.1f} MB")


def install(wheel: Path, environment: Path) -> Path:
    """Install it with what it asks for; return the folder of the programs."""
    programs = environment / "bin"
    if not (programs / "python").exists():
        venv.create(environment, with_pip=True)
    run(programs / "python", "-m", "pip", "install", "--quiet", wheel)
    run(programs / "python", "-m", "pip", "install", "--quiet", "--no-deps", "--force-reinstall", wheel)
    return programs


def use(programs: Path, folder: Path) -> None:
    """Run the tool on its own example, the README's Python, and a command whose extra is not there."""
    place = folder / "place"
    place.mkdir(exist_ok=True)
    where = "import jmpose_cli; print(jmpose_cli.__path__[0])"
    package = Path(run(programs / "python", "-c", where, cwd=place).strip())
    if ROOT in package.parents and folder not in package.parents:
        sys.exit(f"{package} is not what was installed")
    clip = package / "examples" / "street.mp4"
    out = place / "out"
    run(programs / "jmpose", "infer", clip, "--out", out, "--frames", f"0:{FRAMES}", "--overwrite", cwd=place)
    missing = [name for name in RESULTS if not (out / "street" / name).is_file()]
    if missing:
        sys.exit(f"no {', '.join(missing)} in {out / 'street'}")
    match = place / "match.mp4"
    match.unlink(missing_ok=True)
    match.symlink_to(out / "street" / "overlay.mp4")  # a video as short as that
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    said = run(programs / "python", "-c", code, cwd=place).splitlines()
    if len(said) < FRAMES:
        sys.exit("the README's Python gave:\n" + "\n".join(said))
    said = run(programs / "jmpose", "train", "nano-coco", "--out", "trained", cwd=place, code=2).splitlines()
    if said[-1] != "hint: pip install 'jmpose[train]'":
        sys.exit("jmpose train without its extra said:\n" + "\n".join(said))


if __name__ == "__main__":
    main()
