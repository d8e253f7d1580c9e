"""Every rule and quirk of the official kits, on cases small enough to count by hand."""

import numpy as np
import pytest

from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.read import read_poses
from jmpose_cli.metrics.joints import JOINTS
from jmpose_cli.metrics.posetrack import evaluate_posetrack, pair_inputs
from tests.metrics.pose_files import HEAD, JOINTS15, Person, read_pair, write


@pytest.fixture
def evaluate(tmp_path):
    def run(truth, predicted, *, protocol="posetrack18", hota_rule="devkit", track_threshold=None, **options):
        pair = read_pair(tmp_path, truth, predicted, **options)
        inputs = [pair_inputs("000342_mpii_test", *pair, protocol=protocol)]
        evaluation = evaluate_posetrack(inputs, protocol=protocol, hota_rule=hota_rule, track_threshold=track_threshold)
        return evaluation.as_json()

    return run


def test_perfect_predictions_give_100(evaluate):
    frames = [[Person(1), Person(2, y=300)] for _ in range(4)]
    found = evaluate(frames, frames)
    for name in ("ap", "precision", "recall", "mota", "motp", "mot_precision", "mot_recall", "hota", "pckh"):
        assert set(found[name].values()) == {100.0}, name
    assert (found["frames"], found["people"], found["predicted_people"]) == (4, 8, 8)


class TestDistance:
    @pytest.mark.parametrize(("apart", "ap"), [(0.5 * HEAD, 100.0), (0.5 * HEAD + 1e-6, 0.0), (0.0, 100.0)])
    def test_half_a_head_is_just_right(self, evaluate, apart, ap):
        truth = [[Person(1)]] * 3
        moved = {"nose": (100.0 + 30 * JOINTS15.index("nose"), 100.0 + apart)}
        assert evaluate(truth, [[Person(1, joints=moved)]] * 3)["ap"]["nose"] == ap

    def test_hota_ends_before_half_a_head(self, evaluate):
        truth = [[Person(1)]] * 3
        found = evaluate(truth, [[Person(1, y=100 + 0.49 * HEAD)]] * 3)
        assert found["ap"]["total"] == 100.0
        assert found["hota"]["total"] == 0.0  # 0.49 heads are a similarity of 0.02, below the first threshold

    def test_hota_counts_thresholds(self, evaluate):
        truth = [[Person(1)]] * 3
        found = evaluate(truth, [[Person(1, y=100 + 0.25 * HEAD)]] * 3)
        # Similarity 1 - 0.25 / 0.5001 = 0.5001: right for the thresholds 0.05 to 0.5, ten of nineteen.
        assert found["hota"]["nose"] == pytest.approx(100 * 10 / 19)

    def test_motp_is_of_matches(self, evaluate):
        truth = [[Person(1)]] * 3
        assert evaluate(truth, [[Person(1, y=100 + 0.2 * HEAD)]] * 3)["motp"]["total"] == pytest.approx(80.0)


class TestPoseAssignment:
    def test_scores_play_no_part_and_the_first_of_equals_is_taken(self, evaluate):
        truth = [[Person(1)]] * 2
        twice = [[Person(1, scores=0.2), Person(2, scores=0.9)]] * 2
        found = evaluate(truth, twice)
        # The second, surer one is a false positive that ranks first: precision 1/2 at full recall.
        assert found["ap"]["total"] == pytest.approx(50.0)
        assert found["precision"]["total"] == pytest.approx(50.0)

    def test_loser_gets_no_other_person(self, evaluate):
        # Both predictions hit most joints of A; the second hits one joint of B as well, but B stays alone.
        a, b = Person(1), Person(2, y=400)
        worse = {"nose": b.place("nose"), "left_wrist": (0.0, 900.0)}
        found = evaluate([[a, b]] * 2, [[Person(1), Person(2, joints=worse)]] * 2)
        assert found["recall"]["nose"] == 50.0
        # MOTA knows no poses: there the nose of B is found.
        assert found["mot_recall"]["nose"] == 100.0

    def test_joint_that_its_person_lacks_is_a_false_positive(self, evaluate):
        truth = [[Person(1, joints={"nose": None}), Person(2, y=400)]] * 2
        found = evaluate(truth, [[Person(1), Person(2, y=400)]] * 2)
        assert found["precision"]["nose"] == 50.0
        assert found["recall"]["nose"] == 100.0


class TestUndefined:
    def test_annotated_but_never_predicted_is_zero_and_counts(self, evaluate):
        frames = [[Person(1)]] * 3
        found = evaluate(frames, [[Person(1, joints={"nose": None})]] * 3)
        assert found["ap"]["nose"] == 0.0
        assert found["ap"]["total"] == pytest.approx(100 * 14 / 15)
        assert found["ap"]["Head"] == pytest.approx(200 / 3)

    def test_predicted_but_never_annotated_is_undefined(self, evaluate):
        frames = [[Person(1, joints={"nose": None})]] * 3
        found = evaluate(frames, [[Person(1)]] * 3)
        assert found["ap"]["nose"] is None
        assert found["mota"]["nose"] is None
        assert found["ap"]["Head"] is None
        assert found["ap"]["total"] == 100.0

    def test_posetrack21_calls_it_zero(self, evaluate):
        frames = [[Person(1, joints={"nose": None})]] * 3
        found = evaluate(frames, [[Person(1)]] * 3, protocol="posetrack21")
        assert found["ap"]["nose"] == 0.0
        assert found["ap"]["total"] == pytest.approx(100 * 14 / 15)

    def test_neither_annotated_nor_predicted_is_zero_in_ap(self, evaluate):
        frames = [[Person(1, joints={"nose": None})]] * 3
        found = evaluate(frames, frames)
        assert found["ap"]["nose"] == 0.0
        assert found["mota"]["nose"] is None


class TestTies:
    def test_equal_scores_rank_in_file_order(self, evaluate):
        truth = [[Person(1)]] * 4
        right, wrong = Person(1), Person(1, y=500)
        early = evaluate(truth, [[right], [right], [wrong], [wrong]])
        late = evaluate(truth, [[wrong], [wrong], [right], [right]])
        assert early["ap"]["total"] == pytest.approx(50.0)
        # Precision 1/3, then 2/4; the envelope is 1/2 over half the recall.
        assert late["ap"]["total"] == pytest.approx(25.0)

    def test_missing_scores_are_all_equal(self, tmp_path):
        import json

        truth = write(tmp_path / "gt.json", [[Person(1)]] * 2)
        path = write(tmp_path / "pred.json", [[Person(1, y=500)], [Person(1)]])
        data = json.loads(path.read_text())
        for person in data["annotations"]:
            del person["scores"]
        path.write_text(json.dumps(data))
        inputs = [pair_inputs("x", read_poses(truth), read_poses(path), protocol="posetrack18")]
        assert evaluate_posetrack(inputs, protocol="posetrack18").ap.ap.total == pytest.approx(25.0)


class TestFrames:
    def test_frames_without_annotation_entry_are_left_out_with_their_predictions(self, evaluate):
        frames = [[Person(1)], [], [Person(1)], [Person(1)]]
        found = evaluate(frames, [[Person(1)]] * 4)
        assert found["frames"] == 3
        assert found["ap"]["total"] == found["mota"]["total"] == 100.0

    def test_is_labeled_matters_for_hota_only(self, evaluate):
        truth = [[Person(1)]] * 4
        predicted = [[Person(1, y=900)], [Person(1)], [Person(1)], [Person(1)]]
        found = evaluate(truth, predicted, labelled={1, 2, 3})
        assert found["ap"]["total"] < 100
        assert found["hota"]["total"] == pytest.approx(100.0)

    def test_mota_leaves_the_last_frame_out(self, evaluate):
        truth = [[Person(1)]] * 4
        found = evaluate(truth, [[Person(1)]] * 3 + [[Person(7, y=900)]])
        assert found["mota"]["total"] == 100.0
        assert found["ap"]["total"] < 100.0

    def test_a_single_frame_has_no_mota_but_all_else(self, evaluate):
        found = evaluate([[Person(1)]], [[Person(1)]])
        assert found["mota"]["total"] is None
        assert found["ap"]["total"] == found["hota"]["total"] == 100.0

    def test_images_are_paired_by_place(self, tmp_path):
        truth = read_poses(write(tmp_path / "gt.json", [[Person(1)], [Person(1, y=500)]]))
        swapped = read_poses(write(tmp_path / "pred.json", [[Person(1, y=500)], [Person(1)]], ids=[1, 0]))
        (video,) = [pair_inputs("x", truth, swapped, protocol="posetrack18")]
        found = evaluate_posetrack([video], protocol="posetrack18")
        assert found.ap.ap.total == 0.0
        assert any("another order" in note for note in found.notes)
        # The PoseTrack21 kit refuses this; by id they fit.
        video21 = pair_inputs("x", truth, swapped, protocol="posetrack21")
        assert evaluate_posetrack([video21], protocol="posetrack21").ap.ap.total == 100.0

    def test_renumbered_images_are_paired_by_place(self, tmp_path):
        truth = read_poses(write(tmp_path / "gt.json", [[Person(1)], [Person(1)]]))
        other = read_poses(write(tmp_path / "pred.json", [[Person(1)], [Person(1)]], ids=[70, 71]))
        for protocol in ("posetrack18", "posetrack21"):
            found = evaluate_posetrack([pair_inputs("x", truth, other, protocol=protocol)], protocol=protocol)
            assert found.ap.ap.total == 100.0
            assert any("image ids differ" in note for note in found.notes)


class TestEmptyFrames:
    def test_no_predictions_cost_one_miss_and_one_false_positive_a_joint(self, evaluate):
        truth = [[Person(1), Person(2, y=300), Person(3, y=500)]] * 4
        found = evaluate(truth, [truth[0], [], truth[0], truth[0]])
        counts = found["mot_counts"]
        assert {name: counts[name]["nose"] for name in counts} == {
            "misses": 1.0,
            "switches": 0.0,
            "false_positives": 1.0,
            "objects": 7.0,
            "matches": 6.0,
            "distance": 0.0,
        }
        assert found["mota"]["nose"] == pytest.approx(100 * (1 - 2 / 7))

    def test_hota_of_the_devkit_charges_the_whole_video(self, evaluate):
        truth = [[Person(1), Person(2, y=300)]] * 4
        predicted = [truth[0], [], truth[0], truth[0]]
        kit, book = (evaluate(truth, predicted, hota_rule=rule) for rule in ("devkit", "standard"))
        # 6 joints found; the kit counts the 8 of the video as missed, the definition the 2 of the frame.
        assert kit["det_a"]["nose"] == pytest.approx(100 * 6 / 14)
        assert book["det_a"]["nose"] == pytest.approx(100 * 6 / 8)

    def test_no_predictions_at_all(self, evaluate):
        found = evaluate([[Person(1)]] * 3, [[]] * 3)
        assert found["ap"]["total"] == found["hota"]["total"] == found["motp"]["total"] == 0.0
        assert found["mota"]["total"] == -100.0  # a miss and a false positive for each object

    def test_a_person_without_joints_is_no_empty_frame(self, evaluate):
        truth = [[Person(1), Person(2, y=300)]] * 4
        nobody = Person(5, joints=dict.fromkeys(JOINTS15))
        found = evaluate(truth, [truth[0], [nobody], truth[0], truth[0]])
        assert found["mot_counts"]["misses"]["nose"] == 2.0
        assert found["mot_counts"]["false_positives"]["nose"] == 0.0


class TestTracking:
    def test_an_id_switch_is_one_error(self, evaluate):
        truth = [[Person(1)]] * 5
        predicted = [[Person(1)]] * 2 + [[Person(2)]] * 3
        found = evaluate(truth, predicted)
        assert found["mot_counts"]["switches"]["nose"] == 1.0
        assert found["mota"]["nose"] == pytest.approx(75.0)  # of the first four frames
        # Association: track 1 has 2 of 5 joints, track 2 has 3: (2 * 2/5 + 3 * 3/5) / 5.
        assert found["ass_a"]["nose"] == pytest.approx(100 * 13 / 25)

    def test_a_switch_is_remembered_over_gaps(self, evaluate):
        elsewhere = Person(9, y=900)
        truth = [[Person(1)]] * 5
        found = evaluate(truth, [[Person(1)], [elsewhere], [elsewhere], [Person(2)], [Person(2)]])
        assert found["mot_counts"]["switches"]["nose"] == 1.0

    def test_an_earlier_match_is_kept_though_another_is_nearer(self, evaluate):
        truth = [[Person(1)]] * 3
        near, far = Person(2), Person(1, y=100 + 0.4 * HEAD)
        found = evaluate(truth, [[Person(1)], [near, far], [near, far]])
        assert found["mot_counts"]["switches"]["nose"] == 0.0
        assert found["mot_counts"]["distance"]["nose"] == pytest.approx(0.4)

    def test_joints_are_matched_across_people(self, evaluate):
        truth = [[Person(1), Person(2, y=300)]] * 3
        a, b = Person(1), Person(2, y=300)
        a.joints["nose"], b.joints["nose"] = b.place("nose"), a.place("nose")
        found = evaluate(truth, [[a, b]] * 3)
        assert found["mota"]["nose"] == 100.0
        assert found["ap"]["nose"] == 0.0

    def test_most_matches_come_before_nearest(self, evaluate):
        # Person 1 is nearest to track 1, but only it can serve person 2.
        truth = [[Person(1, y=100), Person(2, y=104)]] * 2
        predicted = [[Person(1, y=102), Person(2, y=97.5)]] * 2
        found = evaluate(truth, predicted)
        assert found["mot_counts"]["matches"]["nose"] == 2.0


class TestIgnoreRegions:
    REGION = ((50.0, 50.0), (700.0, 50.0), (700.0, 150.0), (50.0, 150.0))

    def test_joints_inside_count_for_neither_side(self, evaluate):
        truth = [[Person(1), Person(2, y=300)]] * 3
        predicted = [[Person(1, x=105, y=110), Person(2, y=300)]] * 3
        found = evaluate(truth, predicted, regions={0: [self.REGION], 1: [self.REGION], 2: [self.REGION]})
        assert found["ap"]["total"] == found["precision"]["total"] == 100.0
        assert found["mot_counts"]["objects"]["nose"] == 2.0
        assert found["people"] == 3

    def test_a_frame_whose_people_are_all_ignored_still_counts_false_positives(self, evaluate):
        truth = [[Person(1)], [Person(1, y=300)], [Person(1, y=300)]]
        predicted = [[Person(1, y=300)]] * 3
        found = evaluate(truth, predicted, regions={0: [self.REGION]})
        assert found["frames"] == 3
        assert found["precision"]["nose"] == pytest.approx(200 / 3)
        assert found["mot_counts"]["false_positives"]["nose"] == 1.0

    def test_the_outline_is_outside(self, evaluate):
        truth = [[Person(1, y=150)]] * 2
        found = evaluate(truth, truth, regions={0: [self.REGION], 1: [self.REGION]})
        assert found["people"] == 2


class TestPositiveCoordinates:
    def test_negative_coordinates_are_absent_for_posetrack21_only(self, evaluate):
        truth = [[Person(1, joints={"nose": (-4.0, 50.0)})]] * 3
        assert evaluate(truth, truth)["mota"]["nose"] == 100.0
        assert evaluate(truth, truth, protocol="posetrack21")["people"] == 3
        assert evaluate(truth, truth, protocol="posetrack21")["mota"]["nose"] is None

    def test_integer_frames_lose_their_scores_in_posetrack21(self, tmp_path):
        truth = read_poses(write(tmp_path / "gt.json", [[Person(1)]] * 2))
        people = [Person(1, x=900, scores=0.3), Person(2, scores=0.9)]
        found = {}
        for kind in (int, float):
            for person in people:
                person.joints = {
                    joint: (kind(person.x + 30 * JOINTS15.index(joint)), kind(person.y)) for joint in JOINTS15
                }
            predicted = read_poses(write(tmp_path / "pred.json", [people] * 2))
            inputs = [pair_inputs("x", truth, predicted, protocol="posetrack21")]
            found[kind] = evaluate_posetrack(inputs, protocol="posetrack21")
        assert found[float].ap.ap.total == 100.0
        assert found[int].ap.ap.total == pytest.approx(50.0)  # all tied: the wrong person comes first in the file
        assert any("integer" in note for note in found[int].notes)
        assert found[int].hota.hota.total == found[float].hota.hota.total


class TestTrackThreshold:
    def test_low_joints_leave_tracking_but_not_ap(self, evaluate):
        truth = [[Person(1)]] * 4
        doubtful = [[Person(1, scores=0.9), Person(2, y=700, scores=0.1)]] * 4
        every, above = (evaluate(truth, doubtful, track_threshold=t) for t in (None, 0.5))
        assert every["mota"]["total"] == 0.0
        assert above["mota"]["total"] == 100.0
        assert above["ap"] == every["ap"]
        assert above["track_threshold"] == 0.5

    def test_auto_finds_the_best(self, evaluate):
        truth = [[Person(1)]] * 4
        doubtful = [[Person(1, scores=0.9), Person(2, y=700, scores=0.1)]] * 4
        found = evaluate(truth, doubtful, track_threshold="auto")
        assert found["mota"]["total"] == 100.0
        assert 0.1 < found["track_threshold"] <= 0.9
        assert max(found["track_threshold_sweep"].values()) == 100.0

    def test_auto_keeps_all_when_that_is_best(self, evaluate):
        frames = [[Person(1)]] * 4
        found = evaluate(frames, frames, track_threshold="auto")
        assert found["track_threshold"] is None


class TestPckh:
    def test_people_not_found_count_in_one_and_not_in_the_other(self, evaluate):
        truth = [[Person(1), Person(2, y=400)]] * 2
        half = [[Person(1, joints={"nose": (0.0, 900.0)})]] * 2
        found = evaluate(truth, half)
        assert found["pckh"]["left_knee"] == 50.0
        assert found["pckh_found"]["left_knee"] == 100.0
        assert found["pckh"]["nose"] == found["pckh_found"]["nose"] == 0.0


class TestErrors:
    def test_other_number_of_images(self, evaluate):
        with pytest.raises(JmposeError, match=r"3 images, but .* has 2"):
            evaluate([[Person(1)]] * 2, [[Person(1)]] * 3)

    def test_no_head_box(self, tmp_path):
        import json

        path = write(tmp_path / "gt.json", [[Person(1)], [Person(1), Person(4)]])
        data = json.loads(path.read_text())
        del data["annotations"][2]["bbox_head"]
        path.write_text(json.dumps(data))
        truth = read_poses(path)
        with pytest.raises(JmposeError, match=r"track_id 4 in images/val/gt/000001\.jpg has no `bbox_head`"):
            pair_inputs("x", truth, truth, protocol="posetrack18")

    def test_people_without_joints_need_no_head_box(self, tmp_path):
        import json

        path = write(tmp_path / "gt.json", [[Person(1), Person(4, joints=dict.fromkeys(JOINTS15))]] * 2)
        data = json.loads(path.read_text())
        del data["annotations"][1]["bbox_head"], data["annotations"][3]["bbox_head"]
        path.write_text(json.dumps(data))
        truth = read_poses(path)
        found = evaluate_posetrack([pair_inputs("x", truth, truth, protocol="posetrack18")], protocol="posetrack18")
        assert found.ap.ap.total == 100.0


def test_every_joint_stands_in_the_tables(evaluate):
    found = evaluate([[Person(1)]] * 2, [[Person(1)]] * 2)
    columns = {*JOINTS, "total", "Head", "Shou", "Elb", "Wri", "Hip", "Knee", "Ankl"}
    for name in ("ap", "precision", "recall", "mota", "motp", "mot_precision", "mot_recall", "hota", "det_a", "loc_a"):
        assert set(found[name]) == columns
        assert set(found["videos"]["000342_mpii_test"][name]) == columns
    assert np.isfinite(found["ap"]["total"])
