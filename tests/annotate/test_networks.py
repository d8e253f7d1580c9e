"""What is wrong with the settings is said before anything slow happens."""

import sys

import pytest

from jmpose_cli.annotate import networks
from jmpose_cli.annotate.networks import check_settings
from jmpose_cli.config import InferConfig
from jmpose_cli.errors import JmposeError
from jmpose_cli.known_weights import Access


def test_a_format_whose_package_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setattr(networks, "fetch_models", lambda *_, **__: pytest.fail("models come later"))
    config = InferConfig.model_validate({"output": {"formats": ["coco", "parquet"]}})
    with pytest.raises(JmposeError, match="--format parquet: pyarrow is not installed"):
        check_settings(config, videos=1, access=Access(offline=True))
