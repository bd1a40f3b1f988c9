"""The reference names every public name that is for users, and says what it is."""

import importlib
import inspect
import re
from pathlib import Path

import roboopt as ro

PAGE = (Path(__file__).parents[2] / "docs" / "reference.md").read_text()

INTERNAL = {
    "roboopt.dynamics": """
        BULLET_DAMPING Path constraint_row_order efforts_are_linear first_memory
        invert_positive_definite path
    """,
    "roboopt.urdf": """
        EARTH_GRAVITY FIXED FRICTION_VELOCITY Mesh PRISMATIC SideFile side_path
        shown_shapes unusable_shapes
    """,
    "roboopt.policies": """
        acts_by_chance check_action_space check_observation_space observe
    """,
    "roboopt.rollouts": """
        EVALUATION_SEED_OFFSET MAX_EPISODE_STEPS as_episodes env_maker
        disturbed env_name episode_seed faded is_env random_steps randomized
        require_an_end robot_notes time_limit time_step_of told_time_step
        with_twin
    """,
    "roboopt.data": """
        at_samples atomic_write episode_masks is_episode_folder is_frame joint_motion
        load_to_show lost_samples not_among read_archive recording_files
        recordings_by_source require_writing single_recordings sweep
        whole_turns with_steps write_json
    """,
    "roboopt.diagnose": """
        ENDS HISTORY_TITLES KEPT_START WRONG_UNITS explain_descent
        explain_residuals gradient_section
        mask_constant_returns score_covariance
    """,
    "roboopt.gradients": """
        differentiating inner norm require_objective
    """,
    "roboopt.optimize": """
        Log NOTES OneLog leaf_names with_arrays
    """,
    "roboopt.loggers": """
        LOGGERS
    """,
    "roboopt.rl": """
        ALGORITHMS
    """,
    "roboopt.tuning": """
        ROBOTS TASKS run_name
    """,
    "roboopt.view": """
        WATCHED env_scene scene_or_none triangles
    """,
    "roboopt.report": """
        BEFORE_AFTER COLORS FIGURE_FORMATS GRAY INK PANEL_SIZE TOLERANCE broken
        ceiling_notes change check_formats encode
        evaluation_metrics evaluation_motions evaluation_record interval number
        padded panel plain replay_section
        progress_bar readable sentence shortened tolerance_sentence write_csv
    """,
}
"""Names that packages share with each other, and that users need not know."""


def test_every_public_name_is_in_the_reference():
    sections = re.split(r"^## `(roboopt[.\w]*)`$", PAGE, flags=re.MULTILINE)[1:]
    listed = {
        name: set(re.findall(r"^\| `(\w+)`", text, flags=re.MULTILINE))
        for name, text in zip(sections[::2], sections[1::2], strict=True)
    }
    for name, found in listed.items():
        module = importlib.import_module(name)
        public = {
            n
            for n in dir(module)
            if not n.startswith("_") and not inspect.ismodule(getattr(module, n))
        }
        assert found == public - set(INTERNAL.get(name, "").split()), name
    top = {n for n in dir(ro) if inspect.ismodule(getattr(ro, n))}
    assert {f"roboopt.{n}" for n in top} <= set(listed)


def test_every_name_has_a_description():
    assert not re.findall(r"^\| `\w+` \|\s*\|$", PAGE, flags=re.MULTILINE)
