"""Pose models of other projects in the place of a backbone, so that temporal parts stand on them."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from jmpose.backbones import Backbone
from jmpose.build import assemble
from jmpose.config import BackboneSpec, ModelConfig
from jmpose.network import JMPose
from jmpose_cli.foreign.graph import Graph
from jmpose_cli.pose.pose_graph import PoseGraph, describe, open_pose_graph
from jmpose_cli.zoo.graph_files import graph_name


class GraphBackbone(Backbone):
    """A graph that gives heatmaps; its features are these, as there are no others. It holds no weights of torch.

    Args:
        graph: Runs on the CPU.
        pose: What it needs.

    Attributes:
        engine: What runs the graph.
        description: Of what it needs, in a line.
    """

    def __init__(self, graph: Graph, pose: PoseGraph) -> None:
        nn.Module.__init__(self)
        self.channels = self.joints = len(pose.channels)
        self.heatmap_head = nn.Identity()
        self.engine, self.description = graph.engine, describe(graph, pose)
        self._graph, self._pose = graph, pose

    def stage_features(self, images: Tensor) -> list[Tensor]:
        """Return one level: heatmaps `[N, K, h, w]` of normalised pictures `[N, 3, H, W]`, one picture at a time."""
        ours = self._pose.preprocess
        mean, std = (np.array(values, np.float32)[:, None, None] * 255 for values in (ours.mean, ours.std))
        crops = images.float().cpu().numpy() * std + mean
        name = self._pose.picture.name
        maps = [self._pose.heatmaps(self._graph.run({name: given})) for given in self._pose.inputs(crops)]
        return [torch.from_numpy(np.stack(maps)).to(images.device)]


def load_pose_graph(path: Path) -> JMPose:
    """Put a temporal part that has learnt nothing, and costs nothing, on a pose model of another project.

    Args:
        path: A `.onnx` file, or OpenVINO's `.xml`.

    Returns:
        A model in eval mode whose backbone is a `GraphBackbone`.

    Raises:
        JmposeError: As `open_pose_graph`.
    """
    graph, pose = open_pose_graph(path)
    backbone = GraphBackbone(graph, pose)
    config = ModelConfig(
        name=graph_name(path),
        backbone=BackboneSpec("absent", "", backbone.channels),
        preprocess=pose.preprocess,
        channels=2,
        head_channels=1,
        motion=False,
        motion_blocks=0,
        joint_learner=False,
        offset_groups=1,
        mutual_blocks=0,
        heads=1,
        io_estimator=None,
    )
    return assemble(backbone, config).eval()
