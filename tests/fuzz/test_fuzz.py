"""Two hundred damaged inputs of fixed seeds; `python -m tests.fuzz` runs thousands."""

from collections.abc import Iterator

import pytest

from tests.fuzz import finished
from tests.fuzz.case import Case
from tests.fuzz.harness import Harness
from tests.fuzz.kinds import KINDS, make, shares
from tests.fuzz.mutate import RUNS_CODE

INPUTS, SEED = 200, 0
SHARD = 14  # inputs of a kind that one test runs, so that two processes share the work


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
    if kind == "results":
        finished.prepare(harness)
    cases = [make(kind, SEED, number) for number in range(first, min(first + SHARD, shares(INPUTS)[kind]))]
    failed = [outcome for outcome in map(harness.run, cases) if outcome.faults]
    assert not failed, "\n\n".join(map(str, failed))


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
