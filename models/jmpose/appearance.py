"""How a person looks, as a vector: crops of one person lie close to each other, those of others far away.

The body is MobileNetV2's to stride 16 (Sandler et al., 2018).
"""

from pathlib import Path

from torch import Tensor, nn
from torch.nn import functional as F

from jmpose.folding import fold_batch_norms
from jmpose.state import read_half, write_half

HEIGHT, WIDTH = 128, 64
"""Of crops, pixels."""
DIMENSIONS = 128
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_KIND = "jmpose-appearance"
_STAGES = ((24, 2, 2), (32, 3, 2), (64, 4, 2), (96, 3, 1))  # channels, blocks, stride of the first
_INNER = 256


class AppearanceNetwork(nn.Module):
    """Describe crops of people.

    It has BatchNorm while it is trained; weights on disk have it folded away.
    """

    def __init__(self) -> None:
        super().__init__()
        blocks: list[nn.Module] = [
            *_convolution(3, 32, 3, stride=2),
            nn.ReLU6(),
            *_convolution(32, 32, 3, groups=32),
            nn.ReLU6(),
            *_convolution(32, 16),
        ]
        channels = 16
        for out, repeats, stride in _STAGES:
            for number in range(repeats):
                blocks.append(_Block(channels, out, stride if number == 0 else 1))
                channels = out
        self.body = nn.Sequential(*blocks)
        self.last = nn.Sequential(*_convolution(channels, _INNER), nn.ReLU6())
        self.out = nn.Linear(_INNER, DIMENSIONS)

    def forward(self, crops: Tensor) -> Tensor:
        """Map crops `[N, 3, 128, 64]`, float32 RGB less `MEAN` over `STD`, to unit vectors `[N, 128]`."""
        features = self.last(self.body(crops)).mean((2, 3))
        return F.normalize(self.out(features), dim=1)


def save_appearance(network: AppearanceNetwork, path: Path) -> None:
    """Write a network as float16 `.safetensors`, its BatchNorm folded; the network given is folded with it.

    Raises:
        WeightsError: The file cannot be written.
    """
    fold_batch_norms(network.eval())
    write_half(network, path, kind=_KIND)


def load_appearance(path: Path) -> AppearanceNetwork:
    """Read what `save_appearance` wrote: a network in eval mode, float32.

    Raises:
        WeightsError: The file is missing, damaged, or of another network.
    """
    return read_half(path, _folded, kind=_KIND, of="network of appearance", example="reid-nano")


def _folded() -> AppearanceNetwork:
    network = AppearanceNetwork().eval()
    fold_batch_norms(network)
    return network


class _Block(nn.Sequential):
    """MobileNetV2's block: widen, filter each channel, narrow; added to what came in where shapes allow."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        inner = 6 * channels
        super().__init__(
            *_convolution(channels, inner),
            nn.ReLU6(),
            *_convolution(inner, inner, 3, stride=stride, groups=inner),
            nn.ReLU6(),
            *_convolution(inner, out),
        )
        self._is_residual = stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for layer in self:
            y = layer(y)
        return x + y if self._is_residual else y


def _convolution(channels: int, out: int, size: int = 1, *, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    return [
        nn.Conv2d(channels, out, size, stride, size // 2, groups=groups, bias=False),
        nn.BatchNorm2d(out),
    ]
