"""The loop learns: eight windows by heart."""

import numpy as np
import pytest

from jmpose_cli.data.mixture import Draw
from jmpose_cli.training.fit import train_step
from jmpose_cli.training.loader import batches
from jmpose_cli.training.prepare import prepare
from jmpose_cli.training.validate import locate

HEIGHT = 128
STILL = {
    **dict.fromkeys(("rotation_deg", "scale", "shift", "flip", "half_body", "colour", "degrade", "motion"), 0),
    "missing": 0,
}


@pytest.mark.slow
def test_eight_windows_to_a_tenth_of_the_head(settings, tmp_path):
    assignments = [f"augment.{key}={value}" for key, value in STILL.items()]
    assignments += [f"change.preprocess.input_height={HEIGHT}", "change.preprocess.input_width=96"]
    assignments += ["change.head_context=heatmaps", "change.io_estimator=null"]
    config = settings(
        *assignments,
        *("init=nano", "init_backbone=true", "data.reach=0", "optim.batch=8", "optim.epochs=100", "optim.steps=120"),
        *("optim.lr=8e-3", "optim.backbone_lr=5e-4", "optim.weight_decay=0", "optim.ema=0.9"),
    )
    run = prepare(config, tmp_path, resume=False)
    # Every third person, so that several frames are among them.
    batch = next(batches(run.data.train, [[Draw(0, i, 3 * i, HEIGHT) for i in range(8)]], workers=0, pin=False))
    run.trainee.train()
    before = share_right(run, batch)
    for _ in range(run.total_steps):
        train_step(run, iter([batch]))
        if run.position.step % 20 == 0 and share_right(run, batch) == 1:
            break
    assert before < 0.1
    assert share_right(run, batch) == 1


def share_right(run, batch):
    """Share of joints within 0.1 head sizes, which are 0.6 times the diagonal of the head box."""
    (source,) = run.data.train.sources
    located, _, _ = locate(run.average.module, batch)
    right = []
    for sample, xy in zip(located.samples, located.xy[0], strict=True):
        truth, known, _ = source.joints_of(int(sample))
        corners = source.records.head_boxes_xyxy_px[source.key_of(int(sample))[1]]
        head = 0.6 * np.linalg.norm(corners[2:] - corners[:2])
        right.append((np.linalg.norm(xy - truth, axis=1) < 0.1 * head)[known])
    return np.concatenate(right).mean()
