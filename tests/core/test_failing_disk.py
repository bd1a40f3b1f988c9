"""A disk that fails at any call on a file costs no result, and no checkpoint."""

import json
import os
import random
import subprocess
import sys

import failing_disk
import pytest
from kill_server import Server, killed_by_calls

VERBS = "collect", "minimize", "least_squares", "clone", "identify", "reinforce", "tune"
KILLS = 12  # of each verb
FEW, ALL = 8, 10**6  # calls that fail


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    found = failing_disk.library(tmp_path_factory.mktemp("library"))
    return found or pytest.skip(failing_disk.NO_COMPILER)


def check(library, folder, limit, *cases):
    """Let calls of the cases fail, in a process of their own."""
    pytest.importorskip("h5py")
    pytest.importorskip("gymnasium")
    command = [sys.executable, failing_disk.__file__, str(folder), str(limit), *cases]
    env = {**os.environ, "LD_PRELOAD": str(library)}
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr[-4000:]
    lines = [json.loads(x) for x in done.stdout.splitlines() if x.startswith("{")]
    assert len(lines) == 2 * len(cases)
    for line in lines:
        assert not line["bad"], "\n".join([line["case"], *line["bad"][:3]])
        assert line["failed"] >= min(limit, line["calls"]) // 2 > 0


def test_a_disk_that_fails_costs_no_result(library, tmp_path):
    check(library, tmp_path, FEW, *failing_disk.CASES)


@pytest.mark.slow
@pytest.mark.parametrize("case", failing_disk.CASES)
def test_no_call_that_fails_costs_a_result(library, tmp_path, case):
    check(library, tmp_path, ALL, case)


@pytest.mark.slow
@pytest.mark.parametrize("case", VERBS)
def test_a_run_that_is_killed_at_a_call_goes_on_to_the_same_bits(
    library, tmp_path, case
):
    server = Server(library)
    try:
        chance = random.Random(case)
        calls = killed_by_calls(server, case, tmp_path / case, chance, KILLS)
    finally:
        server.close()
    print(f"{case}: {KILLS} of {calls} calls")
    assert calls > KILLS
