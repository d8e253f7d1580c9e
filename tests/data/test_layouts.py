"""Where annotations and pictures are looked for, and what is said when they are not there."""

import json
import shutil

import pytest

from jmpose_cli.data.layouts import find_images, find_stills, find_videos
from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.read import read_poses
from tests.data.annotated import coco, person, posetrack17, posetrack18, save_picture

CLIP = "000001_clip"


def moved(root, source, target):
    """Move a folder inside the data set."""
    (root / target).parent.mkdir(parents=True, exist_ok=True)
    shutil.move(root / source, root / target)


class TestFindVideos:
    def test_posetrack18(self, tmp_path):
        posetrack18(tmp_path, [person(0, 1)], frames=3)
        posetrack18(tmp_path, [person(1, 1)], frames=2, name="000000_before")
        before, clip = find_videos(tmp_path, "val")
        assert (before.name, clip.name) == ("000000_before", CLIP)
        assert clip.images == tuple(tmp_path / f"images/val/{CLIP}/{n:06d}.png" for n in range(3))
        assert clip.truth.kind == "posetrack18"
        assert len(clip.truth) == 1

    def test_posetrack17_below_posetrack_data(self, tmp_path):
        names = [f"images/bonn/clip/{n:08d}.png" for n in range(2)]
        posetrack17(tmp_path / "posetrack_data/annotations/val/clip.json", names, {0: []})
        for number, name in enumerate(names):
            save_picture(tmp_path / "posetrack_data" / name, number)
        (video,) = find_videos(tmp_path, "val")
        assert video.truth.kind == "posetrack17"
        assert video.images == tuple(tmp_path / "posetrack_data" / name for name in names)

    def test_posetrack21(self, tmp_path):
        file = posetrack18(tmp_path, [person(0, 1, person_id=4)], frames=2, folder=tmp_path / "posetrack_data/val")
        content = json.loads(file.read_text())
        for image in content["images"]:
            image["has_labeled_person"] = True
        file.write_text(json.dumps(content))
        (video,) = find_videos(tmp_path, "val")
        assert video.truth.kind == "posetrack21"
        assert video.images[1] == tmp_path / f"images/val/{CLIP}/000001.png"

    def test_annotations_right_below_the_root(self, tmp_path):
        posetrack18(tmp_path, [person(0, 1)], frames=1, folder=tmp_path / "val")
        assert [video.name for video in find_videos(tmp_path, "val")] == [CLIP]

    def test_splits_are_kept_apart(self, tmp_path):
        posetrack18(tmp_path, [person(0, 1)], frames=1, split="train", name="a")
        posetrack18(tmp_path, [person(0, 1)], frames=1, split="val", name="b")
        assert [video.name for video in find_videos(tmp_path, "train")] == ["a"]
        assert [video.name for video in find_videos(tmp_path, "val")] == ["b"]

    def test_an_empty_split(self, tmp_path):
        (tmp_path / "annotations/val").mkdir(parents=True)
        for root in (tmp_path, tmp_path / "absent"):
            with pytest.raises(JmposeError, match="no annotations of a split 'val'") as caught:
                find_videos(root, "val")
            assert "annotations/val, posetrack_data/annotations/val, posetrack_data/val, val" in caught.value.hint

    def test_an_empty_folder_does_not_hide_a_full_one(self, tmp_path):
        posetrack18(tmp_path, [person(0, 1)], frames=1, folder=tmp_path / "posetrack_data/val")
        (tmp_path / "annotations/val").mkdir(parents=True)
        assert len(find_videos(tmp_path, "val")) == 1


class TestFindStills:
    @pytest.mark.parametrize("folder", ["", "images", "people", ".."])
    def test_where_pictures_are_looked_for(self, tmp_path, folder):
        file = coco(tmp_path / "sub/people.json", [], images=2, folder=folder)
        data = find_stills(file)
        assert data.name == "people"
        assert [path.name for path in data.images] == ["000000000000.png", "000000000001.png"]
        assert all(path.parent.resolve() == (file.parent / folder).resolve() for path in data.images)

    def test_no_file(self, tmp_path):
        with pytest.raises(JmposeError, match=r"absent\.json: no such file"):
            find_stills(tmp_path / "absent.json")

    def test_another_format(self, tmp_path):
        file = posetrack18(tmp_path, [person(0, 1)], frames=1)
        with pytest.raises(JmposeError, match="is a posetrack18 file"):
            find_stills(file)

    def test_no_pictures_named(self, tmp_path):
        assert find_stills(coco(tmp_path / "none.json", [], images=0)).images == ()


class TestPicturesElsewhere:
    @pytest.mark.parametrize("name", ["{out}/a.png", "../out/a.png", "link/a.png", "images/../../out/a.png"])
    def test_are_not_read(self, tmp_path, name):
        save_picture(tmp_path / "out" / "a.png", 1)
        file = coco(tmp_path / "root/sub/people.json", [], images=1)
        for folder in (file.parent, file.parent.parent):
            (folder / "link").symlink_to(tmp_path / "out")
        content = json.loads(file.read_text())
        content["images"][0]["file_name"] = name.format(out=tmp_path / "out")
        file.write_text(json.dumps(content))
        with pytest.raises(JmposeError, match=r"file_name .* (is an absolute path|leads out of its folder)"):
            find_stills(file)


class TestMissingPictures:
    def test_up_to_ten_are_all_listed(self, tmp_path):
        posetrack18(tmp_path, [], frames=12)
        for number in range(2, 12):
            (tmp_path / f"images/val/{CLIP}/{number:06d}.png").unlink()
        with pytest.raises(JmposeError, match="10 of 12 pictures are not there") as caught:
            find_videos(tmp_path, "val")
        for number in range(12):
            assert (f"{number:06d}.png" in caught.value.message) == (number >= 2)
        assert "more" not in caught.value.message
        assert f"{CLIP}.json" in caught.value.message

    def test_of_more_than_ten_the_first_and_the_count(self, tmp_path):
        posetrack18(tmp_path, [], frames=14)
        for number in range(1, 14):
            (tmp_path / f"images/val/{CLIP}/{number:06d}.png").unlink()
        with pytest.raises(JmposeError, match=r"13 of 14 .*000010\.png and 3 more$") as caught:
            find_videos(tmp_path, "val")
        assert "000011.png" not in caught.value.message
        assert "incomplete" in caught.value.hint

    def test_none_there(self, tmp_path):
        posetrack18(tmp_path, [], frames=3, pictures=False)
        with pytest.raises(JmposeError, match=r"none of 3 pictures found: .*000000\.png is not there, nor") as caught:
            find_videos(tmp_path, "val")
        assert "000001.png" in caught.value.message
        assert "000002.png" in caught.value.message
        assert f"{tmp_path}/posetrack_data" in caught.value.hint

    def test_the_only_one(self, tmp_path):
        posetrack18(tmp_path, [], frames=1, pictures=False)
        with pytest.raises(JmposeError, match=r"000000\.png is not there$"):
            find_videos(tmp_path, "val")

    def test_the_last_picture_alone_tells_the_folder(self, tmp_path):
        file = posetrack18(tmp_path, [], frames=15)
        for number in range(14):
            (tmp_path / f"images/val/{CLIP}/{number:06d}.png").unlink()
        with pytest.raises(JmposeError, match="14 of 15 pictures are not there"):
            find_images(read_poses(file), [tmp_path / "elsewhere", tmp_path])
