"""Errors of this package: a message, and a hint on what to do."""


class HintedError(ValueError):
    """A value that cannot be used, with advice.

    Args:
        message: What was given and what is wrong with it.
        hint: What is allowed or what to do next; empty when the message says it all.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ConfigError(HintedError):
    """A model configuration with an unknown key, a wrong type or an impossible value."""


class WeightsError(HintedError):
    """A weights file that is missing, damaged or made for another configuration."""
