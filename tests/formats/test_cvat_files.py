"""What CVAT exports, in both forms, and files that only look like it."""

import json
import re

import numpy as np
import pytest

from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.read import read_poses

META = """<meta><task><id>7</id><name>Monday</name><size>4</size><mode>interpolation</mode><overlap>5</overlap>
<bugtracker></bugtracker><created>2026-11-01</created><start_frame>0</start_frame><stop_frame>3</stop_frame>
<frame_filter></frame_filter><segments><segment><id>1</id><start>0</start><stop>3</stop><url>http://x</url></segment>
</segments><owner><username>ann</username><email></email></owner>
<labels><label><name>person</name><color>#f00</color><type>skeleton</type><attributes><attribute><name>jmpose_id</name>
<mutable>False</mutable><input_type>text</input_type><default_value></default_value><values></values></attribute>
</attributes><svg>&lt;line x1="1"/&gt;</svg></label>
<label><name>nose</name><color></color><type>points</type><attributes></attributes><parent>person</parent></label>
<label><name>hip</name><color></color><type>points</type><attributes></attributes><parent>person</parent></label>
</labels><original_size><width>64</width><height>36</height></original_size></task>
<dumped>2026-11-02</dumped><source>street.mp4</source></meta>"""


def skeleton(frame, nose, hip, *, own="", keyframe=1):
    """One skeleton as CVAT writes it; a point is x, y, outside, occluded."""
    points = "".join(
        f'<points label="{name}" keyframe="{keyframe}" outside="{o}" occluded="{c}" points="{x:.2f},{y:.2f}"/>\n'
        for name, (x, y, o, c) in (("hip", hip), ("nose", nose))
    )
    attribute = f'<attribute name="jmpose_id">{own}</attribute>'
    return f'<skeleton frame="{frame}" keyframe="{keyframe}" z_order="0">\n{points}{attribute}\n</skeleton>\n'


def xml(*tracks, meta=META):
    body = "".join(
        f'<track id="{n}" label="person" source="manual">\n{"".join(track)}</track>\n' for n, track in enumerate(tracks)
    )
    return (
        f'<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n{meta}\n{body}</annotations>\n'
    )


def read(tmp_path, text, name="task.xml"):
    (tmp_path / name).write_text(text)
    return read_poses(tmp_path / name)


GONE = (5, 5, 1, 0)


def test_tracks_of_a_video(tmp_path):
    known = [
        skeleton(0, (10, 20, 0, 0), (10, 30, 0, 1), own=7),
        skeleton(1, (11, 20.5, 0, 0), GONE, own=7, keyframe=0),
        skeleton(2, GONE, GONE, own=7),
    ]
    added = [skeleton(1, (1, 2, 0, 0), (3, 4, 0, 0)), skeleton(3, (3, 2, 0, 0), (3, 8, 0, 1))]
    records = read(tmp_path, xml(known, added))
    assert records.joints == ("nose", "hip") and [image.frame_index for image in records.images] == [0, 1, 2, 3]
    assert records.info == {"video": {"name": "street", "source": "street.mp4", "width": 64, "height": 36}}
    assert list(zip(records.image_row.tolist(), records.track_ids.tolist(), strict=True)) == [
        *((0, 7), (1, 7), (1, 8), (2, 8), (3, 8))
    ]
    assert records.xy[:, 0].tolist() == [[10, 20], [11, 20.5], [1, 2], [2, 2], [3, 2]]
    assert records.visibility.tolist() == [[2, 1], [2, 0], [2, 2], [2, 2], [2, 1]]
    assert records.notes == (
        "tracks without jmpose_id got new ids from 8 on: 1",
        "skeletons between keyframes were interpolated, as CVAT does: 1",
    )


def test_ids_of_cvat_where_nothing_came_with_one(tmp_path):
    one, other = ([skeleton(frame, (1, 1, 0, 0), GONE)] for frame in (0, 1))
    assert read(tmp_path, xml(one, other)).track_ids.tolist() == [0, 1]


def test_images(tmp_path):
    points = (
        '<points label="nose" outside="0" occluded="1" points="1.5,2"/>'
        '<points label="hip" outside="1" occluded="0" points="0,0"/>'
    )
    body = (
        f'<image id="3" name="a/frame_000012.jpg" width="8" height="6"><skeleton label="person">{points}</skeleton>'
        '<box label="x" xtl="1"/></image>'
    )
    records = read(tmp_path, f"<annotations>{META}{body}</annotations>")
    assert records.images[0].frame_index == 12 and records.images[0].height == 6
    assert (records.track_ids.tolist(), records.visibility.tolist()) == ([-1], [[1, 0]])
    assert records.notes == ("shapes that are no skeletons were left out: 1 box",)


BOMB = '<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]>'
AT = (1, 1, 0, 0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not valid XML: no element found"),
        ("<annotations>", "not valid XML"),
        ("<html></html>", "line 1: <html>"),
        (f"<?xml version='1.0'?>{BOMB}<annotations>&b;</annotations>", "a document type"),
        ("<annotations><version>1.1</version></annotations>", "no skeletons"),
        (xml([skeleton(9, AT, AT)]), "a skeleton in frame 9, which the task does not have"),
        (xml([skeleton(-1, AT, AT)]), "frame is '-1'"),
        (xml([skeleton(0, AT, AT).replace("1.00,1.00", "nan,1")]), "'hip' is at 'nan,1'"),
        (xml([skeleton(0, AT, AT).replace("1.00,1.00", "1;2;3")]), "'hip' is at '1;2;3'"),
        (xml([skeleton(0, AT, AT).replace('"hip"', '"nose"')]), "'nose' is there twice"),
        (xml([skeleton(0, AT, AT).replace('"hip"', '"tail"')]), "has no points tail"),
        (xml([skeleton(0, AT, AT, own="x")]), "jmpose_id is 'x' in frame 0"),
        (xml([skeleton(0, AT, AT, own=1), skeleton(1, AT, AT, own=2)]), "track 0 has the ids 1, 2"),
        (xml([skeleton(0, AT, AT), skeleton(0, AT, AT)]), "two skeletons in frame 0"),
        (xml([skeleton(0, AT, AT, own=4)], [skeleton(0, AT, AT, own=4)]), "track_id is 4, as in"),
        (xml([skeleton(0, AT, AT)], meta=META.replace("<stop_frame>3", "<stop_frame>1e9")), "stop_frame is '1e9'"),
        (
            xml([skeleton(0, AT, AT)], [skeleton(0, AT, AT)]).replace('id="0" label="person"', 'id="0" label="dog"'),
            "skeletons of 2 labels (dog, person)",
        ),
    ],
)
def test_broken_files(tmp_path, text, said):
    with pytest.raises(JmposeError, match=re.escape(said)):
        read(tmp_path, text)


def coco(*people):
    """CVAT's COCO Keypoints: people are image, attributes and the keypoints of two joints."""
    category = {"id": 1, "name": "person", "supercategory": "", "keypoints": ["nose", "hip"], "skeleton": [[1, 2]]}
    images = [
        {"id": n, "width": 64, "height": 36, "file_name": f"frame_{frame:06d}.PNG", "license": 0, "date_captured": 0}
        for n, frame in ((1, 0), (2, 4))
    ]
    annotations = [
        {
            "id": n,
            "image_id": image,
            "category_id": 1,
            "segmentation": [],
            "area": 4.0,
            "bbox": [1, 2, 2, 2],
            "iscrowd": 0,
            "attributes": {"occluded": False, "keyframe": True} | attributes,
            "keypoints": [1.5, 2.5, 2, 3.5, 4.5, 1],
            "num_keypoints": 2,
        }
        for n, (image, attributes) in enumerate(people, 1)
    ]
    return json.dumps({"info": {}, "categories": [category], "images": images, "annotations": annotations})


def test_the_coco_form(tmp_path):
    records = read(tmp_path, coco((1, {"track_id": 0}), (2, {"track_id": 0}), (2, {"track_id": 3})), "a.json")
    assert records.track_ids.tolist() == [0, 0, 3] and [image.frame_index for image in records.images] == [0, 4]
    assert np.array_equal(records.visibility, [[2, 1]] * 3)


def test_our_ids_in_the_coco_form(tmp_path):
    people = [
        (1, {"track_id": 0, "jmpose_id": "7"}),
        (2, {"track_id": 0, "jmpose_id": ""}),
        (2, {"track_id": 1}),
        (1, {}),
    ]
    records = read(tmp_path, coco(*people), "a.json")
    assert records.track_ids.tolist() == [7, 7, 8, -1]
    assert "tracks without jmpose_id got new ids from 8 on: 1" in records.notes


@pytest.mark.parametrize(
    ("people", "said"),
    [
        ([(1, {"track_id": "x"})], r"annotations\[0\]\.attributes\.track_id is 'x'"),
        ([(1, {"track_id": True})], r"attributes\.track_id is 'True'"),
        ([(1, {"track_id": 10**30})], r"attributes\.track_id is '1e\+30'"),
        ([(2, {"track_id": 1}), (2, {"track_id": 1})], r"annotations\[1\]\.track_id is 1, as in annotations\[0\]"),
    ],
)
def test_broken_ids_in_the_coco_form(tmp_path, people, said):
    with pytest.raises(JmposeError, match=said):
        read(tmp_path, coco(*people), "a.json")
