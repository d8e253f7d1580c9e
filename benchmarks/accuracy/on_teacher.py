"""A temporal part on a backbone that it was not trained with: the heatmaps of the pose teacher, PP-TinyPose."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from jmpose.backbones import Backbone
from jmpose.build import with_temporal_part
from jmpose.config import Preprocess
from jmpose.keypoints import COCO17
from jmpose.network import JMPose
from jmpose.weights import load_model

TEACHER = "teachers/pp_tinypose_256_192_fp16_ov"


class TeacherBackbone(Backbone):
    """PP-TinyPose through OpenVINO: heatmaps `[N, 17, 64, 48]` of normalised pictures `[N, 3, 256, 192]`, no features.

    Args:
        data: Folder with the teachers.
    """

    def __init__(self, data: Path) -> None:
        super().__init__(channels=len(COCO17), joints=len(COCO17))
        self.heatmap_head = nn.Identity()
        import openvino  # of the extra `recipes`, which the tests do without

        core = openvino.Core()
        model = core.read_model(next((data / TEACHER).glob("*.xml")))
        model.reshape([1, 3, 256, 192])
        self._run = core.compile_model(model, "CPU", {"INFERENCE_NUM_THREADS": 1})

    def stage_features(self, images: Tensor) -> list[Tensor]:
        """Return the heatmaps; one picture at a time, so that it makes no difference what else is in the batch."""
        pictures = images.float().contiguous().numpy()
        return [torch.cat([torch.from_numpy(self._run(picture[None])[0].copy()) for picture in pictures])]


def put_on_teacher(part: Path, data: Path) -> JMPose:
    """Put the temporal part of the model `part` on the teacher's heatmaps."""
    donor = load_model(part)
    pictures = replace(donor.config.preprocess, mean=Preprocess.mean, std=Preprocess.std)  # the teacher's
    config = replace(donor.config, preprocess=pictures)
    return with_temporal_part(
        JMPose(TeacherBackbone(data), donor.motion_encoder, donor.joint_learner, [], donor.head, config), donor
    )
