import pytest

from jmpose_cli.config import build_config, dotted_keys
from jmpose_cli.errors import JmposeError


def build(tmp_path, *, yaml=None, assignments=(), **options):
    file = None
    if yaml is not None:
        file = tmp_path / "run.yaml"
        file.write_text(yaml)
    return build_config(file=file, assignments=assignments, options=options)


def test_later_sources_win(tmp_path):
    yaml = "device: cpu\npeople:\n  detect_every: 2\n  lost_after_s: 3\n  max_people: 5\n"
    config = build(
        tmp_path,
        yaml=yaml,
        assignments=["people.lost_after_s=4", "people.max_people=6"],
        **{"people.max_people": 7, "pose.batch": None},
    )
    people = config.people
    assert (people.detect_every, people.lost_after_s, people.max_people) == (2, 4.0, 7)
    assert config.device == "cpu" and config.pose.batch == 16


@pytest.mark.parametrize(
    ("given", "expected"), [("10:20", (10, 20)), (":5", (None, 5)), ("7:", (7, None)), (":", (None, None))]
)
def test_frame_ranges(tmp_path, given, expected):
    assert build(tmp_path, **{"decode.frames": given}).decode.frames == expected


def test_time_ranges(tmp_path):
    assert build(tmp_path, **{"decode.time": "0.5:2"}).decode.time == (0.5, 2.0)


@pytest.mark.parametrize(
    ("kwargs", "message", "hint"),
    [
        (
            {"assignments": ["people.detect_evry=2"]},
            "unknown setting 'people.detect_evry'",
            "people.detect_every",
        ),
        ({"assignments": ["pose.batch"]}, "no '='", "--set"),
        ({"assignments": ["device.x=[1"]}, "cannot be read", ""),
        ({"assignments": ["device=cpu", "device.x=1"]}, "'device' is a value", ""),
        ({"assignments": ["people.detect_every=0"]}, "people.detect_every = 0: input should be greater", ""),
        ({"assignments": ["output.formats=[xml]"]}, "output.formats.0 = 'xml': input should be 'coco'", ""),
        ({"decode.frames": "5"}, r"decode.frames = '5'.*A:B", ""),
        ({"decode.frames": "a:b"}, "decode.frames", ""),
        ({"yaml": "people: [1"}, "run.yaml: cannot be read", "YAML"),
        ({"yaml": "just text"}, "holds no settings", "key: value"),
    ],
)
def test_bad_settings_name_the_setting(tmp_path, kwargs, message, hint):
    with pytest.raises(JmposeError, match=message) as caught:
        build(tmp_path, **kwargs)
    assert hint in caught.value.hint


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(JmposeError, match=r"absent\.yaml: cannot be read"):
        build_config(file=tmp_path / "absent.yaml", assignments=[], options={})


def test_an_empty_file_changes_nothing(tmp_path):
    assert build(tmp_path, yaml="") == build(tmp_path)


def test_every_setting_has_a_dotted_name():
    assert {"device", "people.detect_every", "pose.smooth_cutoff_hz", "output.formats"} <= set(dotted_keys())


@pytest.mark.parametrize("name", ["fps", "image_fps"])
def test_the_rate_has_one_name_and_its_former_one(name):
    config = build_config(file=None, assignments=[f"decode.{name}=12.5"], options={})
    assert config.decode.fps == 12.5 and config.of_results()["decode"]["fps"] == 12.5
