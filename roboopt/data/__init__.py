"""Data: trajectories, demonstrations, file formats, and saved models."""

from roboopt.data._demonstrations import Demonstrations as Demonstrations
from roboopt.data._files import atomic_write as atomic_write
from roboopt.data._files import read_archive as read_archive
from roboopt.data._files import require_writing as require_writing
from roboopt.data._files import sweep as sweep
from roboopt.data._normalizer import Normalizer as Normalizer
from roboopt.data._smoothing import differentiate as differentiate
from roboopt.data._smoothing import low_pass as low_pass
from roboopt.data._smoothing import resample as resample
from roboopt.data._smoothing import smooth as smooth
from roboopt.data._split import split_episodes as split_episodes
from roboopt.data._split import split_in_time as split_in_time
from roboopt.data._store import load as load
from roboopt.data._store import save as save
from roboopt.data._trajectory import Trajectory as Trajectory
from roboopt.data._windows import sample_times as sample_times
from roboopt.data._windows import single_recordings as single_recordings
from roboopt.data._windows import sliding_windows as sliding_windows
from roboopt.data.io._columns import ColumnError as ColumnError
from roboopt.data.io._columns import Columns as Columns
from roboopt.data.io._folder import is_episode_folder as is_episode_folder
from roboopt.data.io._formats import load_recordings as load_recordings
from roboopt.data.io._formats import save_episodes as save_episodes
from roboopt.data.io._memmap import MemmapDemonstrations as MemmapDemonstrations
from roboopt.data.io._minari import save_minari as save_minari
