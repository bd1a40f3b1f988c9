"""Reports: figures, videos, and one HTML file that opens anywhere."""

from roboopt.report._figures import (
    BEFORE_AFTER,
    COLOURS,
    Panel,
    bars,
    curves,
    traces,
)
from roboopt.report._identification import (
    MODELS,
    Change,
    forecast_errors,
    predictions,
    whiskers,
)
from roboopt.report._page import (
    Details,
    Figure,
    Notes,
    Section,
    Table,
    Video,
    write_report,
)
from roboopt.report._spread import spread
from roboopt.report._video import encode, replay, side_by_side

__all__ = [
    "BEFORE_AFTER",
    "COLOURS",
    "Change",
    "Details",
    "Figure",
    "MODELS",
    "Notes",
    "Panel",
    "Section",
    "Table",
    "Video",
    "bars",
    "curves",
    "encode",
    "forecast_errors",
    "predictions",
    "replay",
    "side_by_side",
    "spread",
    "traces",
    "whiskers",
    "write_report",
]
