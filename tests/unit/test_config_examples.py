"""The files that people start from are good."""
from pathlib import Path

import pytest

from vswitch.config.load import load_file

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "examples").glob("*.yaml"))


def test_there_are_examples():
    assert EXAMPLES


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_example(path):
    assert load_file(str(path)).tenants
