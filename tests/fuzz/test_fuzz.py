"""Two hundred damaged inputs of fixed seeds; `python -m tests.fuzz` runs thousands."""

import json
from collections.abc import Iterator

import pytest
import yaml

from tests.fuzz import finished, seeds
from tests.fuzz.case import Case
from tests.fuzz.finished import Files
from tests.fuzz.harness import Harness
from tests.fuzz.kinds import CHEAP, KINDS, PLAIN, SEEN, TWO_BOXES, make, shares
from tests.fuzz.mutate import RUNS_CODE

pytestmark = pytest.mark.timeout(600)  # the harness has limits of its own, which tell what was too slow

INPUTS, SEED = 200, 0
SHARD = 10  # inputs of a kind that one test runs, so that two processes share the work


def shards() -> list[tuple[str, int]]:
    """Kinds, and the number of the first input."""
    return [(kind, first) for kind, count in shares(INPUTS).items() for first in range(0, count, SHARD)]


@pytest.fixture(scope="session")
def harness(tmp_path_factory) -> Iterator[Harness]:
    # Other tests run at the same time, perhaps on a machine that does more than that.
    with Harness(tmp_path_factory.mktemp("fuzz"), patience=3.0) as opened:
        yield opened


@pytest.mark.parametrize(("kind", "first"), shards())
def test_no_input_does_what_none_must_do(harness, kind, first):
    finished.prepare(harness, kind)
    cases = [make(kind, SEED, number) for number in range(first, min(first + SHARD, shares(INPUTS)[kind]))]
    failed = [outcome for outcome in map(harness.run, cases) if outcome.faults]
    assert not failed, "\n\n".join(map(str, failed))


def unspoilt() -> dict[str, tuple[tuple[str, ...], Files]]:
    """Commands on the files that the kinds spoil."""
    video: Files = {"v.mp4": seeds.videos()["v.mp4"], "b.txt": TWO_BOXES}
    pose = {f"m/{name}": data for name, data in seeds.model().items()}
    people = {f"d/{name}": data for name, data in seeds.folder_of_detector().items()}
    nanodet, yolo = ({f"d/{name}": data for name, data in each.items()} for each in seeds.detectors())
    truth = json.dumps(seeds.poses()["posetrack18"]).encode()
    both: Files = {"gt/000001_clip.json": truth, "pred/000001_clip.json": truth}
    settings: Files = {"s.yaml": yaml.safe_dump(seeds.settings()).encode()}
    training: Files = {"t.yaml": yaml.safe_dump(seeds.training()).encode()}
    infer = ("infer", "v.mp4", *CHEAP, *PLAIN)
    return {
        "settings": ((*infer, "--config", "s.yaml"), video | settings),
        "model": ((*infer, "--model", "m/tiny.safetensors", "--boxes", "b.txt"), video | pose),
        "detector": ((*infer, "--detector", "d"), video | people),
        "nanodet": ((*infer, "--detector", "d/tiny.safetensors"), video | nanodet),
        "yolo": ((*infer, "--detector", "d/tiny.safetensors"), video | yolo),
        "convert": (("convert", "gt", "out", "--to", "coco"), both),
        "evaluate": (("eval", "--gt", "gt", "--pred", "pred", "--out", "out"), both),
        "training": (("train", "t.yaml", "--check", "--out", "out"), training | seeds.data_set()),
    }


@pytest.mark.parametrize(
    "kind", ["settings", "model", "detector", "nanodet", "yolo", "convert", "evaluate", "training"]
)
def test_what_is_not_spoilt_works(harness, kind):
    words, files = unspoilt()[kind]
    outcome = harness.run(Case("unspoilt", kind, words, files))
    assert (outcome.code, outcome.faults) == (0, []), outcome


PARTIAL = (
    "v/run.json",
    "v/keypoints.coco.json",
    "v/overlay.mp4",
    "v/posetrack18.json",
    "summary.json",
    "failures.json",
)


@pytest.mark.parametrize(
    ("links", "code"), [([f"{name}.partial" for name in PARTIAL], 0), ([".jmpose/journal.jsonl"], 1)]
)
def test_links_left_in_out_lead_nowhere(harness, links, code):
    files: Files = {"v.mp4": seeds.videos()["v.mp4"], "b.txt": TWO_BOXES, "precious": b"kept", "out/.jmpose": None}
    words = ("infer", "v.mp4", *CHEAP, *SEEN)
    outcome = harness.run(
        Case(
            "links",
            links[0],
            words,
            files | {"out/v": None},
            {f"out/{name}": "/proc/self/cwd/precious" for name in links},
        )
    )
    assert (outcome.code, outcome.faults) == (code, []), outcome


def test_kinds_make_up_the_inputs_and_the_same_seed_gives_the_same():
    assert sum(shares(INPUTS).values()) == INPUTS and set(shares(INPUTS)) == set(KINDS)
    for kind in ("video", "convert", "names", "settings"):
        assert make(kind, 3, 1) == make(kind, 3, 1) != make(kind, 3, 2)


# Python that runs in the place of the program, by what the harness must say of it.
BAD_DEEDS = {
    "a traceback": "raise ValueError",
    "exit code 5": "sys.exit(5)",
    "exit code -11": "os.kill(os.getpid(), 11)",
    "beside the libraries": "kept = bytearray(300 << 20); time.sleep(0.3)",
    "canary was changed": "open('canary', 'w')",
    "stray was made": "open(os.environ['TMPDIR'] + '/stray', 'w')",
    "EXECUTED was made": RUNS_CODE,
    "in.txt was removed": "os.remove('in.txt')",
    "a control character": "print('\\x1b[2J')",
    "it failed without a word": "sys.exit(2)",
    "a warning of a library": "import warnings; warnings.warn('x')",
    "processes went on after it": "subprocess.Popen(['sleep', '60'], start_new_session=True)",
}


@pytest.mark.parametrize("fault", BAD_DEEDS)
def test_what_must_not_happen_is_seen(harness, monkeypatch, fault):
    monkeypatch.setattr("tests.fuzz.harness.MOST_GROWTH_MB", 200)
    outcome = harness.run(Case("deed", "0", ("-c", BAD_DEEDS[fault]), {"in.txt": b"x"}))
    assert any(fault in found for found in outcome.faults), outcome


def test_good_deeds_pass(harness):
    code = "os.mkdir('out'); open('out/x', 'w'); open(os.environ['JMPOSE_CACHE'] + '/y', 'w'); print('done')"
    outcome = harness.run(Case("deed", "0", ("-c", code), {"in.txt": b"x"}))
    assert (outcome.faults, outcome.code, outcome.stdout) == ([], 0, "done\n")
