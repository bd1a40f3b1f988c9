"""Reports: figures, videos, and one self-contained HTML page."""

from roboopt.report._figures import BEFORE_AFTER as BEFORE_AFTER
from roboopt.report._figures import COLORS as COLORS
from roboopt.report._figures import MODELS as MODELS
from roboopt.report._figures import curves as curves
from roboopt.report._figures import spread as spread
from roboopt.report._identification_figures import Change as Change
from roboopt.report._identification_figures import forecast_errors as forecast_errors
from roboopt.report._identification_figures import predictions as predictions
from roboopt.report._identification_figures import whiskers as whiskers
from roboopt.report._motion_figures import Panel as Panel
from roboopt.report._motion_figures import bars as bars
from roboopt.report._motion_figures import traces as traces
from roboopt.report._page import Details as Details
from roboopt.report._page import Figure as Figure
from roboopt.report._page import Notes as Notes
from roboopt.report._page import Section as Section
from roboopt.report._page import Table as Table
from roboopt.report._page import Video as Video
from roboopt.report._page import write_report as write_report
from roboopt.report._summary import Summary as Summary
from roboopt.report._verb_result import VerbResult as VerbResult
from roboopt.report._video import encode as encode
from roboopt.report._video import replay as replay
from roboopt.report._video import side_by_side as side_by_side
