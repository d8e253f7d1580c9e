"""Information orthogonality: what joint and motion features share should be what the heatmaps need.

For each mutual block the paper minimises I(J; M) - I(M; H) + I(M; H | J), with J the joint feature, M the
motion flow and H the heatmaps. Mutual information is estimated by bounds. Their predictors learn from
detached features, and the objective sees the predictors' parameters as constants: features cannot lower it
by spoiling a predictor, and a predictor cannot lower it by going blind.

Letters: B windows, S samples, C channels, K joints, D dimensions, (h, w) map. Information is in nats.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Heatmaps peak at 1: at this inverse temperature a clear peak holds most of a softmax over 3,000 pixels.
SHARPNESS = 10.0
# Samples have unit variance: e^-6 of it is as sharp as a prediction can usefully be, and exp() stays tame.
_LOG_VARIANCE_LIMIT = 6.0


def _frozen(module: nn.Module, *inputs: Tensor) -> Tensor:
    """Call `module` with its parameters as constants."""
    constants = {name: p.detach() for name, p in module.named_parameters()}
    out: Tensor = torch.func.functional_call(module, constants, inputs)
    return out


class GaussianPredictor(nn.Module):
    """q(y | x): a Gaussian with diagonal covariance whose mean and variance a small network gives.

    Args:
        in_dim: Dimensions of x.
        out_dim: D, dimensions of y.
        hidden: Width of the hidden layer.
    """

    def __init__(self, in_dim: int, out_dim: int, *, hidden: int = 64) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(in_dim, hidden), nn.ReLU(), nn.Linear(hidden, 2 * out_dim))

    def forward(self, x: Tensor) -> Tensor:
        """Map `[S, in_dim]` to means and log variances `[S, 2*D]`; |log variance| stays below 6."""
        mean, raw = self.net(x).chunk(2, -1)
        return torch.cat([mean, _LOG_VARIANCE_LIMIT * torch.tanh(raw / _LOG_VARIANCE_LIMIT)], -1)


class VCLUB(nn.Module):
    """I(x; y) from above: variational CLUB (Cheng et al., ICML 2020).

    E_p(x,y)[log q(y|x)] - E_p(x)p(y)[log q(y|x)], an upper bound once q is close to p(y|x).
    """

    def __init__(self, x_dim: int, y_dim: int, *, hidden: int = 64) -> None:
        super().__init__()
        self.predictor = GaussianPredictor(x_dim, y_dim, hidden=hidden)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Estimate the bound, a scalar, from paired samples `[S, x_dim]` and `[S, y_dim]`."""
        mean, log_variance = _frozen(self.predictor, x).chunk(2, -1)
        precision = torch.exp(-log_variance)
        # Normalising constants of q cancel; the mean over all y of (y - mean)^2 needs only two moments.
        paired = (y - mean).square()
        shuffled = (y - y.mean(0)).square().mean(0) + (y.mean(0) - mean).square()
        bound: Tensor = 0.5 * ((shuffled - paired) * precision).sum(-1).mean()
        return bound

    def learning_loss(self, x: Tensor, y: Tensor) -> Tensor:
        """Negative log likelihood of q, a scalar, on detached samples."""
        mean, log_variance = self.predictor(x.detach()).chunk(2, -1)
        deviation = (y.detach() - mean).square() * torch.exp(-log_variance)
        loss: Tensor = 0.5 * (deviation + log_variance + math.log(2 * math.pi)).sum(-1).mean()
        return loss


def spatial_log_softmax(logits: Tensor) -> Tensor:
    """Log of a distribution over positions for each channel: `[B, K, h, w]` to `[B, K, h*w]`."""
    return F.log_softmax(logits.flatten(2).float(), -1)


def cross_entropy(target_log: Tensor, predicted_log: Tensor) -> Tensor:
    """Mean over B and K of the cross-entropy between distributions `[B, K, h*w]` given as logs; a scalar."""
    return -(target_log.exp() * predicted_log).sum(-1).mean()


def kl_divergence(first_log: Tensor, second_log: Tensor) -> Tensor:
    """Mean over B and K of KL(first || second), distributions `[B, K, h*w]` given as logs; a scalar."""
    divergence: Tensor = (first_log.exp() * (first_log - second_log)).sum(-1).mean()
    return divergence


class HeatmapPredictor(nn.Module):
    """r(h | features): a 1x1 head whose spatial softmax predicts where the joints are.

    Its cross-entropy bounds information from below (Barber and Agakov, NIPS 2003):
    I(features; H) >= entropy(H) - cross_entropy(H, r).
    """

    def __init__(self, channels: int, joints: int) -> None:
        super().__init__()
        self.head = nn.Conv2d(channels, joints, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Predict with constant parameters: `[B, C, h, w]` to log probabilities `[B, K, h*w]`."""
        return spatial_log_softmax(_frozen(self.head, features))

    def learning_loss(self, features: Tensor, target_log: Tensor) -> Tensor:
        """Cross-entropy to `[B, K, h*w]` log probabilities on detached features, a scalar."""
        return cross_entropy(target_log, spatial_log_softmax(self.head(features.detach())))


class PooledSamples(nn.Module):
    """Feature maps to few-dimensional samples: average over cells, a fixed random projection, unit variance.

    The projection is fixed and the scale taken out because a bound that the features can lower by shrinking
    or by losing a learnt projection would say nothing about what they share.

    Args:
        channels: C.
        dimensions: D of the projection.
        cells: (rows, columns) of the pooling grid; each cell is one sample.
    """

    projection: Tensor

    def __init__(self, channels: int, *, dimensions: int = 16, cells: tuple[int, int] = (4, 3)) -> None:
        super().__init__()
        self.cells = cells
        basis = torch.linalg.qr(torch.randn(channels, min(dimensions, channels)))[0]
        self.register_buffer("projection", basis)

    def forward(self, features: Tensor) -> Tensor:
        """Map `[B, C, h, w]` to samples `[B*rows*columns, D]`."""
        pooled = F.adaptive_avg_pool2d(features.float(), self.cells)  # [B, C, rows, columns]
        samples = pooled.flatten(2).transpose(1, 2).flatten(0, 1) @ self.projection  # [S, D]
        centred = samples - samples.mean(0)
        return centred * torch.rsqrt(centred.square().mean(0) + 1e-6)


@dataclass(frozen=True)
class InformationTerms:
    """Scalars of one block.

    Attributes:
        shared: I(J; M), from above.
        needed: I(M; H), from below, up to the entropy of H, which is a constant.
        conditional: I(M; H | J), from above.
        learning: Loss of the predictors themselves.
    """

    shared: Tensor
    needed: Tensor
    conditional: Tensor
    learning: Tensor

    @property
    def objective(self) -> Tensor:
        """I(J; M) - I(M; H) + I(M; H | J)."""
        return self.shared - self.needed + self.conditional


class InformationOrthogonality(nn.Module):
    """The objective of one mutual block.

    Args:
        channels: C of joint and motion feature.
        joints: K.
    """

    def __init__(self, channels: int, joints: int) -> None:
        super().__init__()
        self.from_motion = HeatmapPredictor(channels, joints)
        self.from_joint = HeatmapPredictor(channels, joints)
        self.from_both = HeatmapPredictor(2 * channels, joints)
        self.samples_joint = PooledSamples(channels)
        self.samples_motion = PooledSamples(channels)
        dimensions = min(16, channels)
        self.club = VCLUB(dimensions, dimensions)

    def forward(self, joint: Tensor, motion: Tensor, heatmaps: Tensor) -> InformationTerms:
        """Estimate the terms from `[B, C, h, w]` twice and the key frame's initial heatmaps `[B, K, h, w]`.

        Computed in float32 also under autocast: differences of logarithms need the digits.
        """
        with torch.autocast(joint.device.type, enabled=False):
            return self._terms(joint.float(), motion.float(), heatmaps.float())

    def _terms(self, joint: Tensor, motion: Tensor, heatmaps: Tensor) -> InformationTerms:
        target = spatial_log_softmax(SHARPNESS * heatmaps.detach())
        both = torch.cat([motion, joint], 1)
        learning = (
            self.from_motion.learning_loss(motion, target)
            + self.from_joint.learning_loss(joint, target)
            + self.from_both.learning_loss(both, target)
        )
        needed = -cross_entropy(target, self.from_motion(motion))
        # Exact once both predictors are; a predictor from J alone that is worse than the best only raises it.
        conditional = kl_divergence(self.from_both(both), self.from_joint(joint))
        x, y = self.samples_joint(joint), self.samples_motion(motion)
        learning = learning + self.club.learning_loss(x, y)
        # Information is never negative: an estimate below 0 says that q lags behind, and lowering it further
        # would train the features to fool q.
        return InformationTerms(self.club(x, y).clamp(min=0), needed, conditional, learning)
