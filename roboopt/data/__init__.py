"""Data: recordings read, checked, cleaned and cut; and what is learned, kept."""

from roboopt.data._checks import check_recordings
from roboopt.data._collect import collect
from roboopt.data._columns import Columns
from roboopt.data._files import whole_file
from roboopt.data._finding import Finding
from roboopt.data._normaliser import Normaliser
from roboopt.data._recordings import read_recordings
from roboopt.data._smoothing import differentiate, low_pass, resample, smooth
from roboopt.data._store import load, save
from roboopt.data._trajectory import Trajectory
from roboopt.data._windows import windows

__all__ = [
    "Columns",
    "Finding",
    "Normaliser",
    "Trajectory",
    "check_recordings",
    "collect",
    "differentiate",
    "load",
    "low_pass",
    "read_recordings",
    "resample",
    "save",
    "smooth",
    "whole_file",
    "windows",
]
