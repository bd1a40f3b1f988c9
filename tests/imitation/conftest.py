"""Small policies for the tests of cloning."""

import functools

import pytest

from roboopt.policies import StablePolicy


@pytest.fixture
def few_layers(monkeypatch):
    """Build stable policies of 2 layers, not 8, which compile in less time."""
    monkeypatch.setattr(
        StablePolicy, "of", functools.partial(StablePolicy.of, layers=2)
    )
