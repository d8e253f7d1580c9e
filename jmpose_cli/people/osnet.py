"""OSNet (Zhou et al., "Omni-Scale Feature Learning for Person Re-Identification", 2019), for files of torchreid."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from jmpose.files import file_sha256
from jmpose.folding import fold_batch_norms
from jmpose.state import check_fit
from jmpose_cli.device import convolution_order
from jmpose_cli.errors import JmposeError
from jmpose_cli.people.appearance import AppearanceScale
from jmpose_cli.values import Bytes, Float

_MEAN, _SPREAD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # of ImageNet
_LARGEST_BYTES = 64 * 2**20  # OSNet x1.0 with the classes of its training has 17 MB


class OSNet:
    """OSNet as a network of appearance; see `Embedder`.

    Args:
        weights: The file, of torchreid.
        device: torch device name.

    Raises:
        JmposeError: The file is damaged, or of another network.
    """

    crop_size = (256, 128)
    scale = AppearanceScale(even=0.75, certain=0.1, known=0.85, sure=0.06)
    """Measured with x0.25 on the tracking sequences."""

    def __init__(self, weights: Path, *, device: str) -> None:
        network = read_osnet(weights)
        fold_batch_norms(network)
        self.name, self.sha256 = weights.stem, file_sha256(weights)
        self._device = torch.device(device)
        self._order = convolution_order(self._device)
        self._network = network.to(self._device).to(memory_format=self._order)
        self._mean, self._spread = (torch.tensor(values, device=self._device) for values in (_MEAN, _SPREAD))

    def embed(self, crops: Bytes) -> Float:
        """Return `[N, D]` float32 unit vectors of `[N, 256, 128, 3]` uint8 RGB crops."""
        with torch.inference_mode():
            pictures = torch.from_numpy(crops).to(self._device).float()
            pictures = (
                ((pictures - self._mean) / self._spread).permute(0, 3, 1, 2).contiguous(memory_format=self._order)
            )
            vectors: Float = nn.functional.normalize(self._network(pictures), dim=1).float().cpu().numpy()
        return np.nan_to_num(vectors)


def read_osnet(path: Path) -> nn.Module:
    """Read a file of weights, of any width of OSNet, without running code that is in it.

    Returns:
        A network in eval mode: `[N, 3, 256, 128]` float32, RGB normalised as ImageNet's, to `[N, D]` features.

    Raises:
        JmposeError: The file is damaged, or of another network.
    """
    from jmpose.errors import WeightsError
    from jmpose.torch_files import load_plain

    hint = "take a .pth of torchreid's OSNet, or reid-nano"
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            raise ValueError("it is too large")
        content = load_plain(path)
        state = content.get("state_dict", content) if isinstance(content, dict) else {}
        state = {str(name).removeprefix("module."): value for name, value in state.items()}
        state = {name: value for name, value in state.items() if not name.startswith("classifier.")}
        widths = [int(state[name].shape[0]) for name in ("conv1.conv.weight", "conv3.0.conv3.conv.weight")]
        widths.insert(1, int(state["conv2.0.conv3.conv.weight"].shape[0]))
        widths += [int(state["conv4.0.conv3.conv.weight"].shape[0]), int(state["fc.0.weight"].shape[0])]
        with torch.device("meta"):
            network = _OSNet(*widths)
        check_fit(state, network.state_dict(), path=path, of="an OSNet")
        network.load_state_dict(state, assign=True)
    except WeightsError as error:
        raise JmposeError(error.message, hint=hint) from error
    except OSError as error:
        raise JmposeError(f"{path}: cannot be read ({error.strerror})") from error
    except Exception as error:  # damaged pickles fail in every way there is
        reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error).splitlines()[0][:160] or "damaged"
        raise JmposeError(f"{path}: no readable OSNet ({reason})", hint=hint) from error
    return network.float().eval()


class _Conv(nn.Module):
    """A convolution with its batch norm."""

    def __init__(self, inputs: int, outputs: int, size: int = 1, *, stride: int = 1, active: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)
        self.bn = nn.BatchNorm2d(outputs)
        self._active = active

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.bn(self.conv(x))
        return features.relu() if self._active else features


class _Light(nn.Module):
    """A pointwise convolution and a depthwise one."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 1, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)
        self.bn = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.bn(self.conv2(self.conv1(x)))
        return features.relu()


class _Gate(nn.Module):
    """Weights of channels, from their means."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(width, width // 16, 1)
        self.fc2 = nn.Conv2d(width // 16, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        weights: Tensor = self.fc2(self.fc1(x.mean((2, 3), keepdim=True)).relu()).sigmoid()
        return x * weights


class _Block(nn.Module):
    """Features of four scales, weighted and added up, beside a shortcut."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        middle = outputs // 4
        self.conv1 = _Conv(inputs, middle)
        self.conv2a = _Light(middle)
        self.conv2b = nn.Sequential(*(_Light(middle) for _ in range(2)))
        self.conv2c = nn.Sequential(*(_Light(middle) for _ in range(3)))
        self.conv2d = nn.Sequential(*(_Light(middle) for _ in range(4)))
        self.gate = _Gate(middle)
        self.conv3 = _Conv(middle, outputs, active=False)
        self.downsample = _Conv(inputs, outputs, active=False) if inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        narrow = self.conv1(x)
        scales = [self.gate(scale(narrow)) for scale in (self.conv2a, self.conv2b, self.conv2c, self.conv2d)]
        shortcut = x if self.downsample is None else self.downsample(x)
        together: Tensor = self.conv3(sum(scales)) + shortcut
        return together.relu()


class _OSNet(nn.Module):
    def __init__(self, first: int, second: int, third: int, fourth: int, features: int) -> None:
        super().__init__()
        self.conv1 = _Conv(3, first, 7, stride=2)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.conv2 = _stage(first, second, shrinks=True)
        self.conv3 = _stage(second, third, shrinks=True)
        self.conv4 = _stage(third, fourth, shrinks=False)
        self.conv5 = _Conv(fourth, fourth)
        self.fc = nn.Sequential(nn.Linear(fourth, features), nn.BatchNorm1d(features), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        # x: [N, 3, 256, 128]
        x = self.conv2(self.maxpool(self.conv1(x)))  # [N, second, 32, 16]
        x = self.conv5(self.conv4(self.conv3(x)))  # [N, fourth, 16, 8]
        features: Tensor = self.fc(x.mean((2, 3)))  # [N, D]
        return features


def _stage(inputs: int, outputs: int, *, shrinks: bool) -> nn.Sequential:
    blocks: list[nn.Module] = [_Block(inputs, outputs), _Block(outputs, outputs)]
    if shrinks:
        blocks.append(nn.Sequential(_Conv(outputs, outputs), nn.AvgPool2d(2, 2)))
    return nn.Sequential(*blocks)
