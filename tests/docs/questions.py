"""What newcomers type into the search of the site, and the page that must answer.

Written before the pages, and with each new one. The answer has to be among the first
three results.
"""

QUESTIONS = {
    "how do I load my own urdf": ("guides/own_robot.html", None),
    "ros bag joint states": ("formats.html", None),
    "real robot 500 Hz": ("guides/deploy.html", None),
    "my clone drifts covariate shift": ("tutorials/clone.html", "where-it-fails"),
    "which gradient for contact": ("guides/gradients.html", None),
    "does it run on a GPU": ("faq.html", "does-it-run-on-a-gpu"),
    "resume a run that was killed": ("resume.html", None),
    "position commands hardware gains": ("control.html", None),
    "payload mass": ("guides/own_recordings.html", "a-payload"),
    "save and load a policy": ("guides/deploy.html", None),
    "why is success 0": ("faq.html", "why-is-success-0"),
    "units": ("faq.html", "which-units"),
    "flax nnx": ("objectives.html", None),
    "register a twin for my environment": ("guides/own_environment.html", None),
    "walking robot floating base": ("limits.html", None),
    "compare two runs": ("log.html", None),
    "pdf figures for a paper": ("report.html", None),
    "show a result in a jupyter notebook": ("report.html", "in-a-notebook"),
    "what is a twin": ("faq.html", "what-is-the-twin"),
    "watch the robot while it learns": ("view.html", "while-it-learns"),
    "ro.explain": ("derivative.html", None),
    "plot learning curves": ("log.html", None),
    "weights and biases": ("log.html", None),
    "ros2": ("faq.html", "does-it-work-with-ros-2"),
    "hyperparameters": ("faq.html", "which-hyperparameters-must-i-choose"),
    "out of memory": ("faq.html", "what-if-memory-runs-out"),
    "see my robot in 3D": ("view.html", None),
    "cite": ("faq.html", "how-do-i-cite-roboopt"),
    "citation bibtex": ("faq.html", "how-do-i-cite-roboopt"),
    "how long does the first result take": ("install.html", None),
}
"""Words as typed: the address of the page, and the anchor where there is one."""
