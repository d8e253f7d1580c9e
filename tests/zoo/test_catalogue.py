import re

import pytest

from jmpose.keypoints import KEYPOINT_SETS
from jmpose_cli.zoo.catalogue import CATALOGUE, ByHand, HubRepo, WebFile
from jmpose_cli.zoo.store import known_models

ENTRIES = [pytest.param(entry, id=name) for name, entry in known_models().items()]


@pytest.mark.parametrize("entry", ENTRIES)
def test_every_entry_says_what_users_need(entry):
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", entry.name)
    assert entry.code_licence and entry.weights_licence and entry.data and entry.source
    least = 64 if entry.kind == "reid" else 144
    assert entry.parameters_m and min(entry.input_hw) >= least and all(side % 16 == 0 for side in entry.input_hw)
    if entry.kind == "pose":
        assert entry.keypoint_set in KEYPOINT_SETS and entry.window_frames >= 3
    else:
        assert entry.keypoint_set == "" and entry.window_frames == 0


@pytest.mark.parametrize("entry", [pytest.param(e, id=n) for n, e in CATALOGUE.items()])
def test_places_are_well_formed(entry):
    place = entry.place
    if isinstance(place, HubRepo):
        assert re.fullmatch(r"[\w-]+/[\w.-]+", place.repo)
        assert place.revision is None or re.fullmatch(r"[0-9a-f]{40}", place.revision)
        assert place.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", place.sha256)
    elif isinstance(place, WebFile):
        assert place.url.startswith("https://") and place.name.endswith((".pt", ".pth"))
        assert re.fullmatch(r"[0-9a-f]{64}|[0-9a-f]{8}", place.sha256)
        assert len(place.sha256) == 64 or f"-{place.sha256}_" in place.name
    else:
        assert isinstance(place, ByHand) and place.page.startswith("https://") and place.name.endswith(".pth")


def test_no_two_models_share_a_place():
    places = [entry.place for entry in CATALOGUE.values()]
    assert len(places) == len(set(places))


def test_the_paper_starts_from_a_listed_model():
    entry = CATALOGUE["hrnet-w48-posetrack18-384x288"]
    assert isinstance(entry.place, WebFile)
    assert entry.place.name == "hrnet_w48_posetrack18_384x288-5fd6d3ff_20211130.pth"
    assert (entry.keypoint_set, entry.input_hw, entry.published[:26]) == (
        *("posetrack18", (384, 288)),
        "PoseTrack18 val total AP 8",
    )
