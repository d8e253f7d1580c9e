import functools
import http.server
import os
import threading
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jmpose_cli.errors import JmposeError
from jmpose_cli.known_weights import SHIPPED, Access, choose_detector, choose_model
from jmpose_cli.runs.folder_names import safe_name
from jmpose_cli.runs.inputs import Clip, clip_source, find_clips, input_stamp
from jmpose_cli.video.content import input_hash


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def tree(folder: Path, *names: str) -> Path:
    for name in names:
        touch(folder / name)
    return folder


def names(*inputs: object, out: Path = Path("/nowhere/out")) -> list[str]:
    return [clip.name for clip in find_clips([str(one) for one in inputs], out=out)]


def test_files_keep_their_order_and_repeats_count_once(tmp_path):
    b, a = touch(tmp_path / "b.mp4"), touch(tmp_path / "a.mov")
    assert names(b, a, b, tmp_path) == ["b", "a"]


TREES = {
    "suffixes": (["b.mp4", "a.MKV", "notes.txt", ".hidden.mp4"], ["a", "b"]),
    "natural order": (["v10.mp4", "v9.mp4", "V2.mp4"], ["V2", "v9", "v10"]),
    "mirrored": (["x.mp4", "cam2/x.mp4", "cam1/deep/x.mp4", ".git/x.mp4"], ["x", "cam1/deep/x", "cam2/x"]),
    "images": (["seq/1.jpg", "seq/2.jpg", "seq/inner/v.mp4"], ["seq", "seq/inner/v"]),
    "thumbnails": (["a/v.mp4", "a/v.jpg"], ["a/v"]),
    "equal stems": (["a.mp4", "a.mov", "b.mp4"], ["a.mov", "a.mp4", "b"]),
    "equal but for case": (["a.mp4", "sub/Clip.mp4", "sub/clip.MP4"], ["a", "sub/Clip.mp4", "sub/clip.MP4~2"]),
    "a folder beside its video": (["a.mp4", "a/b.mp4"], ["a", "a/b"]),
    "results of a run": (["v.mp4", "out/.jmpose/journal.jsonl", "out/v/overlay.mp4"], ["v"]),
    "dots": (["match.final.mp4"], ["match.final"]),
}


@pytest.mark.parametrize("name", TREES)
def test_a_folder_is_searched_through(tmp_path, name):
    files, expected = TREES[name]
    assert names(tree(tmp_path / "in", *files)) == expected


ODD_NAMES = ["..mp4", "...mp4", ".mp4", "summary.json.mp4", "failures.json.mp4", "a/run.json.mp4", "a.mp4"]


def test_every_video_has_a_safe_folder_of_its_own(tmp_path):
    """Whether it is named alone, with others, or found in a tree."""
    tree(
        tmp_path,
        *ODD_NAMES,
        "deep/summary.json.mp4",
        "deep/.jmpose.mp4/v.mp4",
        "x" * 240 + "a.mp4",
        "x" * 240 + "b.mp4",
    )
    alone = [names(tmp_path / name)[0] for name in ODD_NAMES]
    assert alone == [name.split("/")[-1] for name in names(*(tmp_path / name for name in ODD_NAMES))]
    all_names = [*alone, *names(tmp_path)]
    assert len(names(tmp_path)) == len(set(names(tmp_path))) == 7  # without the hidden ones
    for name in all_names:
        assert name == safe_name(name) and name not in ("summary.json", "failures.json", "a/run.json")


@pytest.mark.parametrize(
    "address", ["http://host.org/", "http://host.org", "http://host.org/..", "http://host.org/%2e/.."]
)
def test_addresses_without_a_name_are_named_after_what_they_have(address):
    pytest.importorskip("aiohttp", reason="fsspec reads http with aiohttp")
    (clip,) = find_clips([address], out=Path("/nowhere/out"))
    assert clip.name in ("host.org", "%2e") and clip.url.startswith(address)


def test_where_a_video_comes_from(tmp_path, monkeypatch):
    (tmp_path / "link").symlink_to(touch(tmp_path / "cam1" / "a.mp4").parent)
    monkeypatch.chdir(tmp_path)
    whole = str(tmp_path / "cam1" / "a.mp4")
    for path, shown in (("cam1/a.mp4", whole), (whole, whole), ("link/a.mp4", str(tmp_path / "link" / "a.mp4"))):
        source = clip_source(Clip(Path(path), "a"))
        assert (source.source, source.real) == (shown, os.path.realpath(whole))
    assert clip_source(Clip(Path("b/a.mp4"), "a", "s3://b/a.mp4")).source == "s3://b/a.mp4"
    strange = clip_source(Clip(Path(os.fsdecode(b"/caf\xe9.mp4")), "a")).source
    assert strange == "/caf\\xe9.mp4" and strange != clip_source(Clip(Path(os.fsdecode(b"/caf\xe8.mp4")), "a")).source


def test_the_output_folder_is_no_input(tmp_path):
    tree(tmp_path, "v.mp4", "out/v/overlay.mp4")
    assert names(tmp_path, out=tmp_path / "out") == ["v"]


def test_a_folder_of_images_is_one_video(tmp_path):
    touch(tmp_path / "000342_mpii_test" / "000000.jpg")
    assert names(tmp_path / "000342_mpii_test") == ["000342_mpii_test"]


def test_links_that_go_round_end(tmp_path):
    tree(tmp_path, "a/v.mp4")
    (tmp_path / "a" / "again").symlink_to(tmp_path)
    assert names(tmp_path) == ["a/v"]


def test_equal_names_of_different_inputs_are_told_apart_by_their_folders(tmp_path):
    tree(tmp_path, "cam1/x.mp4", "cam2/x.mp4", "cam2/y.mp4", "late/cam1/x.mp4")
    assert names(tmp_path / "cam1", tmp_path / "cam2") == ["cam1/x", "cam2/x", "y"]
    assert names(tmp_path / "cam1/x.mp4", tmp_path / "late/cam1/x.mp4") == ["cam1/x", "late/cam1/x"]


def test_patterns(tmp_path, monkeypatch):
    tree(tmp_path, "more/a/1.mp4", "more/2.mp4", "more/a/3.txt", "[x].mp4", "seq1/0.png", "more/r/.jmpose/x")
    touch(tmp_path / "more/r/1/overlay.mp4")
    monkeypatch.chdir(tmp_path)
    assert names("more/**/*.mp4") == ["2", "a/1"]
    assert names("seq*") == ["seq1"] and names("more/a/?.mp4") == ["1"]
    assert names("[x].mp4") == ["[x]"]  # a name that exists is no pattern


def test_patterns_end_where_links_go_round(tmp_path, monkeypatch):
    tree(tmp_path, "a/v.mp4", "a/b/w.mp4", ".hidden/x.mp4")
    (tmp_path / "a/b/again").symlink_to(tmp_path)
    (tmp_path / "a/also").symlink_to(tmp_path / "a")
    monkeypatch.chdir(tmp_path)
    assert names("a/**/*.mp4") == ["b/w", "v"]
    (tmp_path / "self.mp4").symlink_to(tmp_path / "self.mp4")
    assert names("**/w.mp4") == ["a/b/w"] and names("**") == names(".") == ["self", "a/v", "a/b/w"]
    assert names("**/b/**/*.mp4") == ["a/b/w"] and names(".h*/*.mp4") == [f"{safe_name('.hidden')}/x"]


def test_names_that_are_no_utf8(tmp_path):
    """Linux has such file names: old archives, cards of cameras."""
    for name in (b"caf\xe9.mp4", b"caf\xe8.mp4"):
        touch(tmp_path / os.fsdecode(name))
    clips = find_clips([tmp_path], out=tmp_path / "out")
    first, second = sorted(clip.name for clip in clips)
    assert first.startswith("caf\ufffd~") and second.startswith("caf\ufffd~") and first != second
    assert find_clips([clips[1].path], out=tmp_path / "out") == [clips[1]]  # alone it has the same name
    assert all(clip.path.exists() for clip in clips)


def test_lists(tmp_path):
    tree(tmp_path, "in/a.mp4", "in/b c.mp4", "in/more/d.mp4", "elsewhere/e.mp4")
    lines = ["# mine", "", "a.mp4", '"b c.mp4"', "more", "*/d.mp4", str(tmp_path / "elsewhere/e.mp4")]
    lines += ["gone.mp4", "a\0.mp4"]
    (tmp_path / "in" / "list.txt").write_text("\ufeff" + "\r\n".join(lines), "utf-8")
    clips = find_clips([tmp_path / "in/list.txt"], out=tmp_path / "out")
    assert [clip.name for clip in clips] == ["in/a", "in/b c", "in/more/d", "elsewhere/e", "in/gone", "in/a\ufffd"]
    assert [bool(clip.problem) for clip in clips] == [False] * 4 + [True] * 2
    assert "list.txt, line 8" in clips[4].problem and "no such file" in clips[4].problem
    assert "no path holds a NUL" in clips[5].problem


def test_addresses(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for name in ("day/a.mp4", "day/b.mov", "day/notes.txt"):
            archive.writestr(name, name)
    inside = f"zip://day/a.mp4::file://{tmp_path}/x.zip"
    (clip,) = find_clips([inside], out=tmp_path)
    assert (clip.name, clip.url) == ("a", inside) and input_stamp(clip)["size"] == len("day/a.mp4")
    assert names(f"zip://day/*.mp4::file://{tmp_path}/x.zip") == ["a"]
    assert names(f"zip://day::file://{tmp_path}/x.zip") == ["a", "b"]
    with pytest.raises(JmposeError, match="no video is there"):
        names(f"zip://day/*.txt::file://{tmp_path}/x.zip")
    touch(tmp_path / "v.mp4")
    (clip,) = find_clips([f"file://{tmp_path}/v.mp4"], out=tmp_path)
    assert clip == Clip(Path(tmp_path / "v.mp4"), "v")


def test_an_address_on_the_web(tmp_path):
    pytest.importorskip("aiohttp", reason="fsspec reads http with aiohttp")
    folder = tmp_path / "web"
    _text(touch(folder / "day" / "a.mp4"), "video")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        good, gone = find_clips([f"{address}/day/a.mp4?token=1", f"{address}/b.mp4"], out=tmp_path)
        assert (good.name, gone.name) == ("a", "b") and input_stamp(good)["size"] == 5
        with pytest.raises(JmposeError, match="cannot be read"):
            input_stamp(gone)
        server.shutdown()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: [p / "none.mp4"], "none.mp4: no such file"),
        (lambda p: [tree(p / "x", "notes.md")], "a folder without videos or images"),
        (lambda p: [f"{p}/*.mp4"], "matches no video"),
        (lambda p: [_text(p / "l.txt", "# nothing")], "a list without entries"),
        (lambda p: [_text(p / "l.txt", "other.lst")], "line 1 names a list"),
        (lambda p: [_text(p / "l.txt", b"\xff\xfe\x00video")], "l.txt is UTF-16 text"),
        (lambda p: [_text(p / "l.txt", "video.mp4".encode("utf-16-le"))], "l.txt is UTF-16LE text"),
        (lambda p: [_text(p / "l.txt", b"\xe9t\xe9.mp4")], "not a readable list"),
        (lambda p: ["nope://bucket/a.mp4"], "nope://bucket/a.mp4: cannot be read"),
    ],
)
def test_bad_inputs(tmp_path, make, message):
    with pytest.raises(JmposeError, match=message):
        find_clips(make(tmp_path), out=tmp_path / "out")


def _text(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_a_misspelt_name_shows_the_nearest(tmp_path):
    touch(tmp_path / "match_final.mp4")
    with pytest.raises(JmposeError) as caught:
        find_clips([tmp_path / "match_finale.mp4"], out=tmp_path)
    assert caught.value.hint == "there is match_final.mp4"


_parts = st.sampled_from(["a", "A", "b.c", "x y", "seq", "ö"])
_paths = st.lists(st.tuples(st.lists(_parts, max_size=3), _parts, st.sampled_from([".mp4", ".MOV", ".mp4.mp4"])))


@given(first=_paths, second=_paths)
def test_names_are_unique_and_stay_inside(tmp_path_factory, first, second):
    root = tmp_path_factory.mktemp("tree")
    roots = []
    for number, paths in enumerate((first, second)):
        for folders, stem, suffix in paths:
            touch(root.joinpath(f"in{number}", *folders, stem + suffix))
            roots.append(root / f"in{number}")
    if not roots:
        return
    clips = find_clips(sorted(set(roots)), out=root / "out")
    assert len({clip.name.casefold() for clip in clips}) == len(clips) == len({clip.path for clip in clips})
    for clip in clips:
        assert ".." not in clip.name.split("/") and not clip.name.startswith(("/", ".")) and clip.name


def test_ten_thousand_videos(tmp_path):
    for number in range(10_000):
        path = tmp_path / f"{number % 100}" / f"{number}.mp4"
        path.parent.mkdir(exist_ok=True)
        path.touch()
    found = names(tmp_path)
    assert len(set(found)) == 10_000 and found[:3] == ["0/0", "0/100", "0/200"]


def test_stamps_and_hashes_follow_the_content(tmp_path):
    video, folder = Clip(_text(tmp_path / "a.mp4", "one"), "a"), Clip(tree(tmp_path / "s", "1.jpg", "2.jpg"), "s")
    for clip, change in ((video, tmp_path / "a.mp4"), (folder, tmp_path / "s" / "2.jpg")):
        stamp, digest = input_stamp(clip), input_hash(clip.path)
        assert (input_stamp(clip), input_hash(clip.path)) == (stamp, digest)
        os.utime(change, ns=(1, 1))
        assert input_stamp(clip) != stamp and input_hash(clip.path) == digest
        change.write_bytes(b"two")
        assert input_hash(clip.path) != digest


def test_auto_takes_a_yolo_from_the_cache_before_the_shipped_detector(tmp_path, monkeypatch):
    monkeypatch.setenv("JMPOSE_CACHE", str(tmp_path))
    assert choose_detector("auto", on_gpu=False).path.stem == "person-nano"
    for name in ("yolo11n.pt", "yolo26x.pt", "yolo26s.pt"):
        touch(tmp_path / name)
    assert choose_detector("auto", on_gpu=False).path.name == "yolo26s.pt"
    assert choose_detector("auto", on_gpu=True).path.name == "yolo26x.pt"


@pytest.mark.parametrize("folder", [".", "weights"])
def test_auto_takes_nothing_from_the_working_directory(tmp_path, monkeypatch, folder):
    monkeypatch.setenv("JMPOSE_CACHE", str(tmp_path / "cache"))
    for name in ("yolo26n.pt", "yolo26x.pt", "person-nano.safetensors", "nano.safetensors", "small.safetensors"):
        touch(tmp_path / "here" / folder / name)
    monkeypatch.chdir(tmp_path / "here")
    for on_gpu in (False, True):
        assert choose_detector("auto", on_gpu=on_gpu).path.is_relative_to(SHIPPED)
    assert choose_model("auto").path.is_relative_to(SHIPPED)


def test_a_folder_with_the_name_of_a_model_is_not_taken_for_it(tmp_path, monkeypatch):
    monkeypatch.setenv("JMPOSE_CACHE", str(tmp_path / "cache"))
    for name in ("person-nano", "dfine-s", "vitpose-b", "nano"):
        (tmp_path / "here" / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    assert choose_model("nano").path.is_relative_to(SHIPPED)
    assert choose_detector("person-nano", on_gpu=False).path.is_relative_to(SHIPPED)
    with pytest.raises(JmposeError, match="nothing is fetched"):
        choose_detector("dfine-s", on_gpu=False, access=Access(offline=True))
    with pytest.raises(JmposeError, match="nothing is fetched"):
        choose_model("vitpose-b", access=Access(offline=True))
    assert choose_model("./nano").path == Path("nano")


def test_auto_is_the_best_shipped_pose_model():
    assert choose_model("auto").path == SHIPPED / "nano.safetensors" and choose_model("auto").path.is_file()
    assert "--model small, on newer CPUs with --precision int8" in choose_model("auto").reason


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nope", "neither a known name nor a file"),
        ("person-nano", "is a person detector"),
        ("x.txt", "not a weights file"),
    ],
)
def test_an_unknown_model_names_what_is_allowed(tmp_path, monkeypatch, name, message):
    monkeypatch.chdir(tmp_path)
    touch(tmp_path / "x.txt")
    with pytest.raises(JmposeError, match=message) as caught:
        choose_model(name)
    assert "nano, small, auto" in caught.value.hint


def told(*inputs: object, **options: int) -> tuple[list[str], list[str]]:
    """Names of what was found, and what the user was told."""
    notes: list[str] = []
    clips = find_clips([str(one) for one in inputs], out=Path("/nowhere/out"), notify=notes.append, **options)
    return [clip.name for clip in clips], notes


def test_links_out_of_the_tree_are_not_followed_and_said(tmp_path):
    tree(tmp_path, "in/a.mp4", "in/sub/b.mp4", "elsewhere/c.mp4", "elsewhere/deep/d.mp4")
    (tmp_path / "in/sub/other").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in/root").symlink_to("/")
    (tmp_path / "in/again").symlink_to(tmp_path / "in/sub")
    (tmp_path / "in/c.mp4").symlink_to(tmp_path / "elsewhere/c.mp4")  # a file is no tree
    found, (note,) = told(tmp_path / "in")
    assert found == ["a", "c", "sub/b"] and "in/root" in note and "in/sub/other" in note and "again" not in note
    assert told(tmp_path / "in/sub/other") == (["c", "deep/d"], [])  # it was named itself
    found, (note,) = told(f"{tmp_path}/in/**/*.mp4")
    assert found == ["a", "c", "sub/b"] and "in/root" in note
    assert told(f"{tmp_path}/in/sub/o*/*.mp4") == (["other/c"], [])


def test_looking_through_folders_is_bounded(tmp_path):
    tree(tmp_path, *(f"{number}/{number}.mp4" for number in range(20)))
    for pattern in (tmp_path, f"{tmp_path}/**/*.mp4", f"{tmp_path}/*/*.mp4"):
        assert len(told(pattern, most_entries=80)[0]) == 20  # ** looks at each twice
        with pytest.raises(JmposeError, match="ended here, after 39 files and folders") as caught:
            told(pattern, most_entries=39)
        assert "run.max_listed" in caught.value.hint


def test_very_deep_folders_are_left_out_and_said(tmp_path):
    deep = tmp_path
    tree(tmp_path, "a.mp4")
    for _ in range(300):
        deep = deep / "d"
    deep.mkdir(parents=True)
    touch(deep / "b.mp4")
    found, (note,) = told(tmp_path)
    assert found == ["a"] and "more than 64 levels down" in note


def test_a_long_search_is_talked_of(tmp_path, monkeypatch):
    monkeypatch.setattr("jmpose_cli.runs.listing._FIRST_WORD_S", 0.0)
    tree(tmp_path, *(f"{number}.mp4" for number in range(1000)))
    assert told(tmp_path)[1] == [f"looking for videos: 1,000 files and folders so far, now in {tmp_path}"]


@pytest.mark.timeout(20)
def test_named_pipes_hang_nothing(tmp_path):
    for name in ("list.txt", "seq/1.jpg", "seq/2.jpg", "v.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        os.mkfifo(tmp_path / name)
    with pytest.raises(JmposeError, match=r"list\.txt: not a readable list \(a named pipe"):
        told(tmp_path / "list.txt")
    (clip,) = find_clips([tmp_path / "v.mp4"], out=tmp_path / "out")
    with pytest.raises(OSError, match="a named pipe"):
        input_hash(clip.path)
    (tmp_path / "seq/3.jpg").touch()
    assert input_stamp(Clip(tmp_path / "seq", "seq"))["images"] == 1 and input_hash(tmp_path / "seq")


def test_a_list_has_a_limit(tmp_path):
    with (tmp_path / "huge.txt").open("wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(JmposeError, match="larger than 64 MB"):
        told(tmp_path / "huge.txt")
