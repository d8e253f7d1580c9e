import pytest

from jmpose_cli.config import InferConfig, build_config, dotted_keys
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
        (
            {"assignments": ["people.max_people=" + "9" * 400]},
            r"people.max_people is about 10\^400$",
            "at most 9007199254",
        ),
        ({"yaml": "decode: {frames: [0, " + "9" * 40 + "]}"}, r"decode.frames.1 is about 10\^40$", "at most 9007"),
        ({"assignments": ["people.input_size=1000000"]}, "people.input_size = 1000000: input should be less", ""),
        ({"assignments": ["pose.batch=1000000000"]}, "pose.batch = .*: input should be less", ""),
        ({"assignments": ["output.formats=[xml]"]}, "output.formats.0 = 'xml': allowed: coco, posetrack18, csv", ""),
        ({"decode.frames": "5"}, r"decode.frames = '5'.*A:B", ""),
        ({"decode.frames": "a:b"}, "decode.frames", ""),
        ({"yaml": "people: [1"}, "run.yaml: cannot be read", "YAML"),
        ({"yaml": "a: &a [x]\nb: [*a, *a]"}, "run.yaml: cannot be read .*aliases are not read", "YAML"),
        ({"yaml": "[" * 20_000}, "run.yaml: cannot be read .*nested more than 32 deep", "YAML"),
        ({"yaml": "? " * 20_000}, "run.yaml: cannot be read .*nested more than 32 deep", "YAML"),
        ({"yaml": "a: " + "9" * 5000}, "run.yaml: cannot be read .*5000 characters", "YAML"),
        ({"yaml": "a: 1" + ":1" * 2000}, "unknown setting 'a'|cannot be read", ""),
        ({"yaml": "#" * 300_000}, "run.yaml: cannot be read .*300000 characters, at most", "YAML"),
        ({"yaml": "a: !!python/object/apply:os.getcwd []"}, "run.yaml: cannot be read", "YAML"),
        ({"yaml": "a: !!timestamp 2000-99-99"}, "run.yaml: cannot be read", "YAML"),
        ({"yaml": r'people: {detector: "\ud800"}'}, r"run.yaml: cannot be read .*ud800.* half a character", "YAML"),
        ({"yaml": "a: \0"}, "run.yaml: cannot be read .*#x0000", "YAML"),
        ({"assignments": ["a=\x1b"]}, "cannot be read", ""),
        ({"yaml": "[1, 2]: 3"}, "run.yaml: cannot be read|unknown setting", ""),
        ({"yaml": "1: 3"}, "setting 1 = 1: keys should be strings", ""),
        ({"assignments": ["pose.batch=" + "[" * 20_000]}, "cannot be read", ""),
        ({"assignments": ["pose.batch=" + "{a: " * 20_000]}, "cannot be read", ""),
        ({"assignments": ["a=[&a [x], *a]"]}, "cannot be read", ""),
        ({"yaml": "people:\n  max_people: 5\n  max_people: 6"}, "line 3: 'max_people' is there twice", "YAML"),
        ({"yaml": "pose: {batch: 2}\ndevice: cpu\npose: {batch: 3}"}, "line 3: 'pose' is there twice", "YAML"),
        ({"yaml": "0x1: 3\n1: 3"}, "line 2: '1' is there twice", "YAML"),
        ({"assignments": ["people={max_people: 1, max_people: 2}"]}, "cannot be read", ""),
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


@pytest.mark.parametrize(
    ("encoding", "named"), [("utf-16", "UTF-16"), ("utf-16-le", "UTF-16LE"), ("utf-32", "UTF-32"), ("utf-8-sig", None)]
)
def test_the_encoding_of_a_settings_file_is_named_where_it_is_another_one(tmp_path, encoding, named):
    file = tmp_path / "run.yaml"
    file.write_bytes("device: cpu\n".encode(encoding))
    if named is None:
        assert build_config(file=file, assignments=[], options={}).device == "cpu"
        return
    with pytest.raises(JmposeError, match=rf"run\.yaml is {named} text") as caught:
        build_config(file=file, assignments=[], options={})
    assert "iconv" in caught.value.hint


def test_formats_are_named_once():
    config = build_config(file=None, assignments=[], options={"output.formats": ["csv", " coco", "csv"]})
    assert config.output.formats == ("csv", "coco")


def test_settings_without_effect_are_not_compared():
    other = {
        "device": "cpu",
        "decode": {"stall_timeout_s": 1.0, "max_megapixels": 2.0},
        "pose": {"batch": 3},
        "output": {"overwrite": True},
        "run": {"workers": 2, "offline": True},
    }
    assert InferConfig.model_validate(other).of_results() == InferConfig().of_results()
    left = InferConfig().of_results()
    assert set(left) == {"engine", "precision", "decode", "people", "pose", "output"}
    assert "batch" not in left["pose"] and "compile" in left["pose"]
