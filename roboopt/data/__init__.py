"""Data: recordings read, checked, cleaned and cut; and what is learned, kept."""

from roboopt.data._checks import check_recordings
from roboopt.data._collect import collect, collect_episodes
from roboopt.data._columns import Columns
from roboopt.data._demonstration_checks import check_demonstrations
from roboopt.data._demonstrations import Demonstrations, demonstrations
from roboopt.data._episodes import save_episodes
from roboopt.data._evaluate import Estimate, Evaluation, evaluate
from roboopt.data._experience import Experience, generalised_advantages
from roboopt.data._files import whole_file
from roboopt.data._finding import Finding
from roboopt.data._mapped import MappedDemonstrations
from roboopt.data._minari import write_minari
from roboopt.data._normaliser import Normaliser
from roboopt.data._pool import EnvironmentFailed, Pool
from roboopt.data._recordings import read_recordings
from roboopt.data._simulation import Simulation
from roboopt.data._smoothing import differentiate, low_pass, resample, smooth
from roboopt.data._split import split_episodes
from roboopt.data._store import load, save
from roboopt.data._trajectory import Trajectory
from roboopt.data._windows import windows

__all__ = [
    "Columns",
    "Demonstrations",
    "EnvironmentFailed",
    "Estimate",
    "Evaluation",
    "Experience",
    "Finding",
    "MappedDemonstrations",
    "Normaliser",
    "Pool",
    "Simulation",
    "Trajectory",
    "check_demonstrations",
    "check_recordings",
    "collect",
    "collect_episodes",
    "demonstrations",
    "differentiate",
    "evaluate",
    "generalised_advantages",
    "load",
    "low_pass",
    "read_recordings",
    "resample",
    "save",
    "save_episodes",
    "smooth",
    "split_episodes",
    "whole_file",
    "windows",
    "write_minari",
]
