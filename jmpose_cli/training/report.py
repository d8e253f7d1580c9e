"""What one step did: shared by the terminal and TensorBoard."""

from dataclasses import dataclass


@dataclass(frozen=True)
class StepReport:
    """One optimiser step.

    Attributes:
        losses: Loss terms, means over devices.
        rate: Highest learning rate of all groups.
        gradient: Norm of the model's gradients before clipping.
        windows: Windows of all devices.
        seconds: It took, with waiting.
        waited_s: Seconds of them spent waiting for the loader.
        left_s: Time for further steps, where the length of the run is a time.
    """

    losses: dict[str, float]
    rate: float
    gradient: float
    windows: int
    seconds: float
    waited_s: float
    left_s: float | None = None
