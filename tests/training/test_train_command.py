"""`jmpose train` as a user meets it: what it writes, and what it says to bad input."""

import errno
import itertools
import json
import math
import re
import shutil
from types import SimpleNamespace

import pytest
import torch
import yaml
from typer.testing import CliRunner

from jmpose.weights import load_model
from jmpose_cli.errors import JmposeError
from jmpose_cli.main import app
from jmpose_cli.training import checkpoint, fit
from jmpose_cli.training.config import TrainConfig, load_train_config, shipped_configs
from tests.training.conftest import TINY, VIDEO


def train(*arguments):
    """Run in this process; give what it printed, and a JmposeError as it is."""
    result = CliRunner().invoke(app, ["train", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def write(settings, tmp_path):
    """Write the tiny settings with changes; gives the file."""

    def to_file(*assignments):
        path = tmp_path / "given.yaml"
        path.write_text(yaml.safe_dump(settings(*assignments).model_dump(mode="json")))
        return path

    return to_file


@pytest.fixture
def copied(posetrack, tmp_path):
    """A copy of the data set that a test may spoil."""
    return shutil.copytree(posetrack, tmp_path / "copied")


class TestRun:
    def test_run_folder(self, write, tmp_path, posetrack):
        out = tmp_path / "run"
        said = train(write("optim.epochs=3", "save.validate_every=2"), "--out", out).stderr
        assert re.search(r"8\d people in 1 sources, 8\d an epoch", said)
        assert "posetrack18 AP" in said
        model = load_model(out / "best.safetensors")
        assert model.config.mutual_blocks == 1
        assert load_model(out / "last.safetensors").config == model.config
        resolved = TrainConfig.model_validate(yaml.safe_load((out / "config.yaml").read_text()))
        assert resolved.optim.epochs == 3
        about = json.loads((out / "run.json").read_text())
        assert about["seed"] == 0
        assert about["versions"]["torch"] == torch.__version__.split("+")[0]
        assert list(about["data_sha256"]) == [
            str(posetrack / "annotations" / split / f"{VIDEO}.json") for split in ("train", "val")
        ]
        assert all(len(checksum) == 64 for checksum in about["data_sha256"].values())
        epochs = [json.loads(line)["epoch"] for line in (out / "validation.jsonl").read_text().splitlines()]
        assert epochs == [1, 2]  # every second one, and the last
        assert len(list((out / "checkpoints").iterdir())) == resolved.save.keep
        assert list((out / "tensorboard").iterdir())

    def test_board(self, write, tmp_path):
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        out = tmp_path / "run"
        train(write("optim.epochs=1"), "--out", out, "-q")
        events = EventAccumulator(str(out / "tensorboard"))
        events.Reload()
        assert {"loss/heatmap", "loss/initial_key", "rate", "posetrack18 AP, val/temporal"} <= set(
            events.Tags()["scalars"]
        )
        assert [event.step for event in events.Scalars("loss/total")] == [10, 20]
        picture = events.Images("val/0")[0]
        assert (picture.height, picture.width) == (64, 5 * 64)  # three frames, two heatmaps

    def test_frozen_backbone_is_untouched(self, write, tmp_path):
        start = load_model(shipped_weights("nano"))
        config = write("init=nano", "init_backbone=true", "optim.backbone_lr=0", "optim.epochs=1", "save.half=false")
        train(config, "--out", tmp_path / "run", "-q")
        trained = load_model(tmp_path / "run/last.safetensors")
        before = start.backbone.state_dict()
        assert all(torch.equal(before[name], value) for name, value in trained.backbone.state_dict().items())
        assert float(trained.head.scale.detach().abs().max()) > 0

    def test_frozen_parts_of_the_backbone_are_untouched(self, write, tmp_path):
        start = load_model(shipped_weights("nano"))
        frozen = "optim.frozen=[body.0, body.1]"
        start_there = ["init=nano", "init_backbone=true", "temporal=false", "optim.epochs=1"]
        config = write(*start_there, frozen, "save.half=false", "precision=auto")
        train(config, "--out", tmp_path / "run", "-q")
        trained = load_model(tmp_path / "run/last.safetensors").backbone.state_dict()
        before = start.backbone.state_dict()
        same = {name for name, value in trained.items() if torch.equal(before[name], value)}
        assert {name for name in trained if name.startswith(("body.0.", "body.1."))} <= same
        assert "body.2.0.weight" not in same

    def test_frozen_part_that_is_not_there(self, write, tmp_path):
        with pytest.raises(JmposeError, match=r"optim.frozen: the backbone has no part 'stem'"):
            train(write("optim.frozen=[stem]"), "--out", tmp_path / "run", "-q")

    def test_backbone_alone(self, write, tmp_path):
        config = write("temporal=false", "optim.sizes=[[0.5, 32], [1.0, 0]]", "save.half=false")
        train(config, "--out", tmp_path / "run", "-q")
        scores = json.loads((tmp_path / "run/validation.jsonl").read_text().splitlines()[-1])["scores"]
        assert all(score["final"] == score["initial"] for score in scores)

    def test_check_keeps_nothing(self, write, tmp_path):
        out = tmp_path / "run"
        said = train(write(), "--out", out, "--check").stderr
        assert "all 12 pictures can be read" in said
        assert "s a step" in said
        assert "GB peak" in said
        assert not out.exists()

    def test_check_gives_no_figures_of_a_part(self, write, tmp_path, monkeypatch):
        scored = []
        real = fit.score_set

        def counting(chosen, parts, joints):
            scored.append(sum(len(part.samples) for part in parts))
            return real(chosen, parts, joints)

        monkeypatch.setattr(fit, "score_set", counting)
        said = train(write(), "--out", tmp_path / "run", "--check").stderr
        assert scored == [4]  # one batch, so that what would stop a run is found
        assert "AP," not in said.partition("check")[2] and "PCK" not in said
        assert "only a whole set gives figures" in " ".join(said.split())

    def test_finished_run_stays_finished(self, write, tmp_path):
        out, config = tmp_path / "run", write("optim.epochs=1")
        train(config, "--out", out, "-q")
        before = (out / "last.safetensors").read_bytes()
        train(config, "--out", out, "--resume", "-q")
        assert (out / "last.safetensors").read_bytes() == before
        assert len((out / "validation.jsonl").read_text().splitlines()) == 1

    def test_length_in_time(self, write, tmp_path, monkeypatch):
        """Steps of three seconds by the clock: twelve seconds have four, and the rate goes down over them."""
        clock = itertools.count()
        monkeypatch.setattr(fit, "time", SimpleNamespace(monotonic=lambda: float(next(clock))))
        shares = []
        monkeypatch.setattr(fit, "set_rate", lambda _, share: shares.append(share))
        out = tmp_path / "run"
        said = train(write("optim.minutes=0.2", "optim.epochs=1", "save.every_minutes=9"), "--out", out).stderr
        assert "as many as 0.2 minutes have" in said
        assert shares == sorted(shares, reverse=True)
        assert len(shares) == 4
        assert shares[-1] < 0.3
        train("--resume", "--out", out)
        assert len(shares) == 4

    def test_list(self):
        said = train("--list").stdout
        assert all(name in said for name in ("nano", "hrnet-w48-posetrack17", "hrnet-w48-posetrack18"))


def shipped_weights(name):
    from jmpose_cli.known_weights import choose_model

    return choose_model(name).path


class TestSettings:
    @pytest.mark.parametrize("name", sorted(shipped_configs()))
    def test_shipped_configuration_is_valid(self, name):
        config = load_train_config(name, [], {"init": "nano"})
        assert config.build_model_config().name in {"nano", "small", "temporal", "hrnet-w48"}

    def test_paper_schedule(self):
        for year in (17, 18, 21):
            config = load_train_config(f"hrnet-w48-posetrack{year}", [], {"init": "nano"})
            assert (config.optim.lr, config.optim.batch, config.optim.epochs) == (1e-3, 30, 20)
            assert (config.optim.schedule, config.optim.milestones) == ("step", (6, 12, 18))
            assert config.optim.backbone_lr == 0
            assert config.data.reach == 3
            preprocess = config.build_model_config().preprocess
            assert (preprocess.input_height, preprocess.input_width) == (384, 288)
            assert preprocess.keypoint_set == "posetrack18"

    @pytest.mark.parametrize(
        ("assignment", "said"),
        [
            ("optim.lrr=1", "unknown setting 'optim.lrr'"),
            ("optim.batch=0", "optim.batch = 0"),
            ("model=mano", "model 'mano' is unknown"),
            ("change.chanels=3", "unknown setting chanels; the nearest is channels"),
            ("optim.sizes=[[0.5, 64]]", "ascending shares that end in 1.0"),
            ("optim.backbone_lr=0", "--init is missing: this configuration keeps the backbone"),
            ("init=nowhere.safetensors", "--init nowhere.safetensors: is neither a known name nor a file"),
            ("init=nano", "init: nano does not fit the model"),
            ("data.train=[]", "data.train"),
            ("optim.distil=0.5", "optim.distil trains a backbone alone"),
            ("optim.heatmap_error=cross-entropy", "optim.heatmap_error is of a backbone alone"),
            ("optim.heatmap_error=focal", "'squared' or 'cross-entropy'"),
        ],
    )
    def test_bad_setting(self, write, tmp_path, assignment, said):
        with pytest.raises(JmposeError, match=said.replace("[", r"\[").replace("(", r"\(")):
            train(write(), "--set", assignment, "--out", tmp_path / "run")
        assert not (tmp_path / "run" / "checkpoints").exists()

    def test_cross_entropy_needs_bounded_heatmaps(self, write, tmp_path):
        with pytest.raises(JmposeError, match="cross-entropy needs heatmaps from 0 to 1"):
            train(
                write(
                    "temporal=false",
                    "optim.heatmap_error=cross-entropy",
                    "change.backbone={kind: pyramid, timm_name: mobilenetv4_conv_small_050, channels: 8, width: null}",
                ),
                "--out",
                tmp_path / "run",
            )

    def test_distilling_needs_a_teacher(self, write, tmp_path):
        with pytest.raises(JmposeError, match="no source has a teacher's heatmaps"):
            train(write("temporal=false", "optim.distil=0.5"), "--out", tmp_path / "run")

    def test_weights_to_start_from_are_aligned_as_the_model(self, write, tmp_path):
        settings = ("init=nano", "init_backbone=true", "change.preprocess.heatmap_alignment=origins")
        with pytest.raises(JmposeError, match=r"nano aligns heatmaps .* by edges, the model by origins") as caught:
            train(write(*settings), "--out", tmp_path / "run")
        assert caught.value.hint == "change: {preprocess: {heatmap_alignment: edges}}"

    def test_nearest_setting_is_named(self, write, tmp_path):
        with pytest.raises(JmposeError) as caught:
            train(write(), "--set", "optim.lrr=1", "--out", tmp_path / "run")
        assert caught.value.hint == "did you mean 'optim.lr'?"

    def test_unknown_configuration(self, tmp_path):
        with pytest.raises(JmposeError, match="neither a file nor a shipped configuration") as caught:
            train("nanno", "--out", tmp_path)
        assert "nano-coco" in caught.value.hint


@pytest.fixture(scope="module")
def begun_once(posetrack, tmp_path_factory):
    """A run of two steps that was begun with options, and its configuration."""
    folder = tmp_path_factory.mktemp("begun")
    tree = json.loads(json.dumps(TINY))
    tree["data"]["root"] = str(posetrack)
    tree["optim"] |= {"epochs": 3, "steps": 2}
    (folder / "given.yaml").write_text(yaml.safe_dump(tree))
    options = ("--set", "optim.batch=3", "--set", "save.keep=3")
    train(folder / "given.yaml", *options, "--out", folder / "run", "-q")
    return folder


@pytest.fixture
def begun(begun_once, tmp_path):
    """A copy of that run which a test may change, and its configuration."""
    folder = shutil.copytree(begun_once, tmp_path / "begun")
    return folder / "run", folder / "given.yaml"


class TestResume:
    def test_the_folder_is_enough(self, begun):
        out, _ = begun
        before = yaml.safe_load((out / "config.yaml").read_text())
        said = train("--resume", "--out", out).stderr
        assert "resumes at step 2" in said
        assert "run/config.yaml" in "".join(said.split())
        assert yaml.safe_load((out / "config.yaml").read_text()) == before

    def test_a_configuration_beside_it_needs_no_options_again(self, begun):
        out, config = begun
        for _ in range(2):  # the second time, of a folder that a resumed run has described
            assert "resumes at step 2" in train(config, "--resume", "--out", out).stderr
        assert yaml.safe_load((out / "config.yaml").read_text())["optim"]["batch"] == 3

    def test_what_decides_speed_may_change(self, begun, copied):
        out, _ = begun
        options = ("--set", "data.workers=1", "--device", "cpu", "--data", copied)
        said = "".join(train("--resume", "--out", out, *options).stderr.split())
        assert "withdata.workers=1" in said and "device=cpu" in said
        assert yaml.safe_load((out / "config.yaml").read_text())["data"]["workers"] == 1

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            (("--set", "optim.epochs=30"), "optim.epochs was 3, is 30"),
            (("--set", "optim.batch=4", "--set", "seed=1"), "seed was 0, is 1, optim.batch was 3, is 4"),
            (("--init", "nano"), "init was None, is 'nano'"),
            (("--devices", "2"), "devices was 1, is 2"),
        ],
    )
    def test_what_decides_the_result_stays(self, begun, options, said):
        out, config = begun
        before = (out / "config.yaml").read_bytes()
        for given in ((), (config,)):
            with pytest.raises(JmposeError, match="resumed with its own settings") as caught:
                train(*given, "--resume", "--out", out, *options)
            assert sorted(said.split(", ")) == sorted(caught.value.message.partition("; ")[2].split(", "))
            assert "last.safetensors" in caught.value.hint
        assert (out / "config.yaml").read_bytes() == before

    def test_another_configuration(self, begun):
        out, _ = begun
        with pytest.raises(JmposeError, match="nano-coco is not what the run was started with"):
            train("nano-coco", "--resume", "--out", out)

    def test_a_run_that_does_not_say_its_configuration(self, begun):
        out, config = begun
        about = json.loads((out / "run.json").read_text())
        del about["configuration"]
        (out / "run.json").write_text(json.dumps(about))
        assert "was not compared" in " ".join(train(config, "--resume", "--out", out).stderr.split())

    def test_settings_that_cannot_be_read(self, begun):
        out, _ = begun
        (out / "config.yaml").write_text("optim: {lr: [")
        with pytest.raises(JmposeError, match=r"config\.yaml: cannot be read"):
            train("--resume", "--out", out)

    @pytest.mark.parametrize(
        ("given", "said"),
        [(["--resume"], "--out is missing"), (["nano", "--check", "--resume"], "leave one of them out")],
    )
    def test_options_that_do_not_fit(self, given, said):
        result = train(*given)
        assert result.exit_code == 2
        assert said in " ".join(result.stderr.replace("│", " ").split())


class TestBadInput:
    def test_missing_images(self, write, copied, tmp_path):
        for number in range(11):
            (copied / "images" / VIDEO / f"{number:06d}.jpg").unlink()
        with pytest.raises(JmposeError, match=r"11 of 12 pictures are not there: .*000009\.jpg and 1 more"):
            train(write(), "--data", copied, "--out", tmp_path / "run")

    def test_truncated_image(self, write, copied, tmp_path):
        path = copied / "images" / VIDEO / "000003.jpg"
        path.write_bytes(path.read_bytes()[:5000])
        with pytest.raises(JmposeError, match=r"1 of 12 pictures cannot be read: .*000003\.jpg: the image is cut off"):
            train(write(), "--data", copied, "--check")
        for workers in (0, 1):
            with pytest.raises(JmposeError, match=r"000003\.jpg: the image is cut off") as caught:
                train(write(f"data.workers={workers}"), "--data", copied, "--out", tmp_path / f"run{workers}")
            assert "Traceback" not in caught.value.message

    def test_no_split(self, write, tmp_path):
        with pytest.raises(JmposeError, match="no annotations of a split 'tain'"):
            train(write(), "--set", "data.train=[{kind: posetrack, split: tain}]", "--out", tmp_path / "run")

    def test_too_few_people_for_a_step(self, write, tmp_path):
        with pytest.raises(JmposeError, match=r"8\d people an epoch do not fill a step of 100"):
            train(write("optim.batch=100"), "--out", tmp_path / "run")

    def test_folder_with_a_run(self, write, tmp_path):
        config = write("optim.epochs=1", "optim.steps=1")
        train(config, "--out", tmp_path / "run", "-q")
        with pytest.raises(JmposeError, match="holds a run already"):
            train(config, "--out", tmp_path / "run")
        with pytest.raises(JmposeError, match="holds no run"):
            train(config, "--out", tmp_path / "other", "--resume")

    def test_checkpoint_of_another_configuration(self, write, tmp_path, copied):
        train(write("optim.epochs=1"), "--out", tmp_path / "run", "-q")
        with pytest.raises(JmposeError, match=r"another configuration: optim\.epochs was 1, is 2"):
            train(write("optim.epochs=2"), "--out", tmp_path / "run", "--resume")
        label = copied / "annotations" / "train" / f"{VIDEO}.json"
        label.write_text(label.read_text() + "\n")
        with pytest.raises(JmposeError, match=r"another configuration: sha256 of .*000001_street"):
            train(write("optim.epochs=1"), "--data", copied, "--out", tmp_path / "run", "--resume")
        # What decides speed alone may change.
        train(write("optim.epochs=1", "data.workers=1"), "--out", tmp_path / "run", "--resume", "-q")

    def test_damaged_checkpoint(self, write, tmp_path):
        config = write("optim.epochs=1")
        train(config, "--out", tmp_path / "run", "-q")
        newest = sorted((tmp_path / "run/checkpoints").iterdir())[-1]
        newest.write_bytes(newest.read_bytes()[:1000])
        with pytest.raises(JmposeError, match="the checkpoint is damaged") as caught:
            train(config, "--out", tmp_path / "run", "--resume")
        assert "the one before" in caught.value.hint
        newest.unlink()
        train(config, "--out", tmp_path / "run", "--resume", "-q")

    def test_full_disk_at_a_checkpoint(self, write, tmp_path, monkeypatch):
        config = write("optim.epochs=2")
        real, written = checkpoint.write_whole, []

        def full_from_the_third_on(path, content):
            written.append(path)
            if len(written) > 2:
                raise JmposeError(f"cannot write {path}: {errno.errorcode[errno.ENOSPC]}")
            real(path, content)

        monkeypatch.setattr(checkpoint, "write_whole", full_from_the_third_on)
        said = train(config, "--out", tmp_path / "run").stderr
        assert "the one before is untouched" in " ".join(said.split())
        kept = sorted((tmp_path / "run/checkpoints").iterdir())
        assert kept == written[:2]
        assert torch.load(kept[-1], weights_only=True)["position"]["epoch"] == 1
        assert (tmp_path / "run/last.safetensors").is_file()

    def test_loss_that_is_no_number(self, write, tmp_path, monkeypatch):
        real, calls = fit._forward_backward, []

        def broken_in_the_second_epoch(run, batch, **options):
            calls.append(None)
            terms = real(run, batch, **options)
            return {name: value * math.nan for name, value in terms.items()} if len(calls) == 25 else terms

        monkeypatch.setattr(fit, "_forward_backward", broken_in_the_second_epoch)
        with pytest.raises(JmposeError, match=r"step 24 \(epoch 1\): .*total is nan") as caught:
            train(write(), "--out", tmp_path / "run", "-q")
        assert f"{VIDEO}, frame" in caught.value.message
        assert "the last good checkpoint is" in caught.value.message
        newest = sorted((tmp_path / "run/checkpoints").iterdir())[-1]
        state = torch.load(newest, weights_only=True)
        assert state["position"]["step"] == 20
        assert all(torch.isfinite(value).all() for value in state["model"].values() if value.is_floating_point())

    def test_device_out_of_memory(self, write, tmp_path, monkeypatch):
        def out_of_memory(*_, **__):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nmore")

        monkeypatch.setattr("jmpose_cli.training.trainee.Trainee.forward", out_of_memory)
        with pytest.raises(JmposeError, match="too little memory for batches of 4: CUDA out of memory") as caught:
            train(write(), "--out", tmp_path / "run", "-q")
        assert "lower optim.batch" in caught.value.hint

    @pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is there")
    def test_device_that_is_not_there(self, write, tmp_path):
        with pytest.raises(JmposeError, match="torch sees no CUDA device here"):
            train(write(), "--device", "cuda", "--out", tmp_path / "run")

    def test_nothing_given(self):
        result = train()
        assert result.exit_code == 2
        assert "CONFIG is missing" in result.stderr


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_on_a_gpu(write, tmp_path, compiled):
    config = write("device=cuda", "precision=bf16-mixed", f"compile={str(compiled).lower()}", "optim.steps=8")
    train(config, "--out", tmp_path / "run", "-q")
    model = load_model(tmp_path / "run/last.safetensors")
    assert all(torch.isfinite(value).all() for value in model.state_dict().values() if value.is_floating_point())
    said = train(config, "--check").stderr
    assert "GB of the GPU" in said
