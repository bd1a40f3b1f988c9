"""A sweep does not gather compiled programs."""

import gc
import weakref
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import roboopt as ro
from roboopt import _programs
from roboopt._programs import KEPT

STATUS = Path("/proc/self/statm")
PAGE = 4096  # bytes
DATA = np.random.default_rng(0).normal(size=(64, 3))


class Residuals:
    """Residuals that belong to one call alone."""

    def __init__(self, scale):
        self.residuals = lambda model, batch: (batch - (scale * model)[None]).ravel()


def descend(scale):
    """Descend on a function of this call, and return a reference to it."""

    def objective(model, batch):
        return ((batch - (scale * model)[None]) ** 2).mean() + 0.1 * (model**4).sum()

    ro.minimize(
        objective, jnp.ones(3), DATA, steps=3, optimizer=optax.adam(0.01 * scale)
    )
    return weakref.ref(objective)


def fit(scale):
    objective = Residuals(scale)
    ro.least_squares(objective, jnp.ones(3), DATA, steps=3)
    return weakref.ref(objective.residuals)


def compile_(scale):
    def function(model):
        return scale * model

    _programs.called(function, jnp.ones(3))
    return weakref.ref(function)


SLOW = [pytest.param(call, marks=pytest.mark.slow) for call in (descend, fit)]


@pytest.mark.parametrize("call", [compile_, *SLOW])
def test_a_function_is_let_go_with_its_programs(call):
    made = [call(1.0 + k) for k in range(KEPT + 4)]
    gc.collect()
    alive = [k for k, reference in enumerate(made) if reference() is not None]
    assert alive == list(range(4, KEPT + 4))


@pytest.mark.parametrize("optimizer", [None, optax.adam(0.1)])
def test_an_objective_is_traced_once(optimizer):
    traced = []

    def objective(model, batch):
        traced.append(model)
        return ((batch - model[None]) ** 2).mean()

    ro.minimize(objective, jnp.ones(3), DATA, steps=3, optimizer=optimizer)
    assert len(traced) == 1


@pytest.mark.skipif(not _programs.MAPS.exists(), reason="they are read in /proc")
def test_programs_are_dropped_before_the_kernel_grants_no_more_maps(monkeypatch):
    doubled: Any = jax.jit(lambda x: 2 * x)
    doubled(1.0)
    _programs.make_room()
    assert doubled._cache_size() == 1
    monkeypatch.setattr(_programs, "MAX_MAPS", 10)
    _programs.make_room()
    assert doubled._cache_size() == 0 and doubled(1.0) == 2.0


@pytest.mark.slow
@pytest.mark.skipif(not STATUS.exists(), reason="the memory is read in /proc")
def test_a_sweep_of_two_hundred_descents_keeps_the_memory_flat():
    used = []
    for k in range(200):
        descend(1.0 + k)
        gc.collect()
        used.append(int(STATUS.read_text().split()[1]) * PAGE / 1e6)  # MB
    # The first calls fill what is kept; 10 MB a call were 1,800 MB.
    first, last = np.median(used[20:40]), np.median(used[180:])
    assert last - first < 0.02 * first, used[::20]
