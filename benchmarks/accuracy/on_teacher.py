"""A temporal part on a backbone that it was not trained with: the heatmaps of the pose teacher, PP-TinyPose."""

from pathlib import Path

from jmpose.build import with_temporal_part
from jmpose.network import JMPose
from jmpose.weights import load_model
from jmpose_cli.pose.graph_backbone import load_pose_graph

TEACHER = "teachers/pp_tinypose_256_192_fp16_ov"


def put_on_teacher(part: Path, data: Path) -> JMPose:
    """Put the temporal part of the model `part` on the teacher's heatmaps, as `jmpose infer --model model.xml` does.

    Args:
        part: Weights with a temporal part that needs heatmaps only.
        data: Folder with the teachers.
    """
    return with_temporal_part(load_pose_graph(data / TEACHER / "model.xml"), load_model(part))
