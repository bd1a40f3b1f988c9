"""What newcomers type into the search of the site, and the page that must answer.

Written before the pages, and with each new one. The answer has to be among the first
three results.
"""

CONTROLLERS = "controllers-pd-pid-gravity-compensation-computed-torque-impedance-lqr"
RANDOMIZATION = "domain-randomization-sim-to-real-delays-and-noise"
TRAJECTORIES = "trajectory-optimization-and-model-predictive-control-mpc"
PLATFORMS = "linux-macos-windows-conda-python-312"

ROBOTS = "does-it-know-my-robot-ur5-franka-kuka-xarm-scara-gantry"
MOTORS = "does-it-talk-to-fieldbuses-and-servos-can-bus-ethercat-modbus-dynamixel"
PROGRAMS = "does-it-work-with-moveit-gazebo-isaac-solidworks-sdf-usd-step"
SMALL = "does-it-run-on-a-raspberry-pi-on-a-jetson-in-docker"
MESSAGES = "what-do-these-messages-mean-no-module-named-pybullet-xlaruntimeerror"
RECORDINGS = "guides/own_recordings.html"
ENVIRONMENT = "guides/own_environment.html"
VELOCITIES = "noise-and-a-robot-without-velocity-sensors"
SHAKES = "why-does-my-robot-shake-or-vibrate-after-tuning"
REWARD = "a-custom-reward-and-how-to-choose-it"
PYTORCH = "can-i-use-pytorch-or-my-own-pytorch-training-loop"
CURVES = "learning-curves-log-to-tensorboard-weights-biases-mlflow"
INTERVAL = "what-is-the-95-confidence-interval-of-a-success-rate-or-a-return"
OPTIONS = "options-multimodal-demonstrations-action-chunking-histories-dagger"
ALGORITHMS = "algorithms-and-their-settings-ppo-pgpe-shac"
LIMITS = "how-a-urdf-is-read-inertias-joints-limits"
SPACES = "which-observations-and-actions-continuous-discrete"
TOLD = "what-it-should-tell-time-step-success-pictures"
GHOST = "in-the-report-the-replay-and-its-ghost"
RATE = "control-at-the-rate-of-the-robot-50-hz-500-hz-1-khz"
OVERSHOOT = "my-arm-overshoots-its-goal-how-do-i-stop-it"
GAINS = "how-do-i-set-the-gains-at-the-start-the-initial-gains"
BEFORE_AND_AFTER = "what-is-the-difference-between-before-and-after"
DISTURBANCES = "does-it-simulate-wind-pushes-or-other-disturbances-from-outside"
RECORD = "how-to-record-motions-that-excite-all-parameters"
NETWORK = "how-large-is-the-neural-network-and-how-many-hidden-layers-has-it"
CONDITION = "what-does-the-condition-number-mean"
GRAVITY = "another-gravity-upside-down-on-a-wall-on-a-ceiling-on-the-moon"
CONTACT = "walking-robots-grasping-pushing-contact-self-collision"
FINISHED = "when-is-the-training-finished"
VIDEO = "how-to-record-a-video-of-the-robot"
FLOATING = "drones-quadrupeds-humanoids-a-floating-base"

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
    "watch the robot while it learns": (
        "view.html",
        "watch-the-training-live-while-it-learns",
    ),
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
    "how do I tune a PID": ("faq.html", "how-do-i-tune-a-pid-controller"),
    "gravity compensation": ("control.html", CONTROLLERS),
    "impedance control": ("control.html", CONTROLLERS),
    "lqr": ("control.html", CONTROLLERS),
    "domain randomization": ("control.html", RANDOMIZATION),
    "sim to real": ("control.html", RANDOMIZATION),
    "measurement noise": ("control.html", RANDOMIZATION),
    "latency": ("control.html", "drives"),
    "joint friction": ("control.html", "friction"),
    "control frequency": ("control.html", "the-rate-of-the-controller"),
    "real time control loop": (
        "guides/deploy.html",
        "how-fast-a-real-time-loop-in-python",
    ),
    "export onnx": ("guides/deploy.html", None),
    "clone from LeRobot": ("formats.html", None),
    "motor current instead of torque": ("formats.html", "tables-of-joints"),
    "teleoperation": ("tutorials/clone.html", "your-demonstrations"),
    "imitation learning from human demonstrations": ("tutorials/clone.html", None),
    "dagger": ("tutorials/clone.html", "where-it-fails"),
    "overfitting": ("clone.html", "how-the-policy-is-selected-and-judged"),
    "how do I record data from my robot": ("guides/own_recordings.html", None),
    "how much data do I need": ("faq.html", "how-much-data-do-i-need"),
    "uncertainty of parameters": ("identify.html", None),
    "ppo settings": (
        "reinforce.html",
        "algorithms-and-their-settings-ppo-pgpe-shac",
    ),
    "soft actor critic": (
        "limits.html",
        "soft-actor-critic-sac-td3-offline-learning",
    ),
    "mpc": ("limits.html", TRAJECTORIES),
    "trajectory optimization": ("limits.html", TRAJECTORIES),
    "camera images": ("limits.html", "cameras-images-and-dictionaries-as-observations"),
    "custom reward": ("guides/own_environment.html", REWARD),
    "parallel environments": ("cluster.html", None),
    "equinox": ("objectives.html", "an-equinox-model-in-your-own-loop"),
    "pytorch": ("faq.html", PYTORCH),
    "nan loss": ("faq.html", "what-if-the-loss-is-nan"),
    "training is slow": ("faq.html", "why-is-the-first-step-slow"),
    "is it deterministic": ("faq.html", "is-a-run-reproducible-deterministic"),
    "reproducible seed": ("faq.html", "is-a-run-reproducible-deterministic"),
    "server without a display": (
        "faq.html",
        "does-it-run-on-a-server-without-a-display",
    ),
    "how do I cite": ("faq.html", "how-do-i-cite-roboopt"),
    "stop training with ctrl-c": ("resume.html", None),
    "urdf inertia wrong": ("guides/own_robot.html", None),
    "torque limits": (
        "guides/own_robot.html",
        "flags-for-your-robot-gripper-tool-torque-limits",
    ),
    "joint limits": ("robots.html", "how-a-urdf-is-read-inertias-joints-limits"),
    "mujoco": ("robots.html", "mjcf"),
    "inverted pendulum": ("tune.html", "robots-that-balance"),
    "task of my own": ("tune.html", "a-task-of-your-own"),
    "learning rate": ("derivative.html", "learning-rates"),
    "license": ("index.html", "license"),
    "windows install": ("install.html", PLATFORMS),
    "conda": ("install.html", PLATFORMS),
    "python 3.12": ("install.html", PLATFORMS),
    "slurm": ("cluster.html", "a-job-of-slurm"),
    "delta robot": (
        "limits.html",
        "delta-robots-four-bar-linkages-closed-chains",
    ),
    "quadruped": ("limits.html", FLOATING),
    "drone": ("limits.html", FLOATING),
    "gripper": ("faq.html", "my-robot-has-a-gripper-does-that-matter"),
    "ros2_control": ("limits.html", "drivers-and-hard-real-time"),
    "mcap": ("formats.html", None),
    "rosbag": ("formats.html", None),
    "hdf5": ("formats.html", None),
    "matlab": ("formats.html", "tables-of-joints"),
    "stl": ("robots.html", "meshes-and-shapes"),
    "backlash": ("tutorials/identify.html", "where-it-fails"),
    "stiction": ("control.html", "friction"),
    "gear ratio": ("control.html", "drives"),
    "wandb offline": ("log.html", CURVES),
    "no GPU found": ("faq.html", "does-it-run-on-a-gpu"),
    "scara": ("faq.html", ROBOTS),
    "ur5e": ("faq.html", ROBOTS),
    "franka": ("faq.html", ROBOTS),
    "kuka iiwa": ("faq.html", ROBOTS),
    "xarm": ("faq.html", ROBOTS),
    "so-101": ("faq.html", ROBOTS),
    "gantry": ("faq.html", ROBOTS),
    "can bus": ("faq.html", MOTORS),
    "ethercat": ("faq.html", MOTORS),
    "dynamixel": ("faq.html", MOTORS),
    "modbus": ("faq.html", MOTORS),
    "encoder": ("faq.html", MOTORS),
    "moveit": ("faq.html", PROGRAMS),
    "gazebo": ("faq.html", PROGRAMS),
    "sdf": ("faq.html", PROGRAMS),
    "usd": ("faq.html", PROGRAMS),
    "solidworks": ("faq.html", PROGRAMS),
    "raspberry pi": ("faq.html", SMALL),
    "jetson": ("faq.html", SMALL),
    "docker": ("faq.html", SMALL),
    "no module named pybullet": ("faq.html", MESSAGES),
    "package://": ("faq.html", MESSAGES),
    "XlaRuntimeError": ("faq.html", MESSAGES),
    "noise in encoder velocities smooth": (RECORDINGS, VELOCITIES),
    "fit without velocities": (RECORDINGS, VELOCITIES),
    "unit of the loss": ("faq.html", "which-units"),
    "friction that sticks at low speed": ("control.html", "friction"),
    "my robot shakes after tuning": ("faq.html", SHAKES),
    "weigh energy against speed": ("tune.html", "weigh-energy-against-speed"),
    "reward does not increase": ("tutorials/reinforce.html", "where-it-fails"),
    "start from a pretrained policy": (
        "reinforce.html",
        "start-from-a-pretrained-policy",
    ),
    "action chunking": ("clone.html", OPTIONS),
    "joint angles in degrees": ("formats.html", "tables-of-joints"),
    "recordings with different sampling rates": (RECORDINGS, None),
    "which algorithm should I use": ("reinforce.html", ALGORITHMS),
    "difference between cloning and reinforcement learning": (
        "faq.html",
        "what-is-the-difference-between-cloning-and-reinforcement-learning",
    ),
    "robot hits its joint limits": ("robots.html", LIMITS),
    "train on several GPUs": (
        "cluster.html",
        "train-on-several-gpus-gradients-on-several-devices",
    ),
    "sensor delay": ("control.html", RANDOMIZATION),
    "run the policy without jax": ("faq.html", "can-i-run-a-policy-without-jax"),
    "demonstrations that disagree with each other": ("clone.html", OPTIONS),
    "discrete actions": ("faq.html", SPACES),
    "environment without rendering": (ENVIRONMENT, TOLD),
    "time step of my environment": (ENVIRONMENT, TOLD),
    "how do I choose a reward": (ENVIRONMENT, REWARD),
    "is my policy safe on the real robot": (
        "guides/deploy.html",
        "before-the-first-run-on-hardware",
    ),
    "when is the training finished": ("faq.html", FINISHED),
    "success rate confidence interval": ("faq.html", INTERVAL),
    "which gradient should I use": ("guides/gradients.html", None),
    "use with my own pytorch training loop": ("faq.html", PYTORCH),
    "log to weights and biases": ("log.html", CURVES),
    "tool tip offset": ("robots.html", "the-tool"),
    "how to watch training live": (
        "view.html",
        "watch-the-training-live-while-it-learns",
    ),
    "what does the ghost mean": ("view.html", GHOST),
    "robot without velocity sensors": (RECORDINGS, VELOCITIES),
    "how to run at 1 kHz": ("guides/deploy.html", RATE),
    "stop my arm from overshooting": ("faq.html", OVERSHOOT),
    "energy consumption of my robot": ("tune.html", "weigh-energy-against-speed"),
    "batch size": ("clone.html", "batch-size-and-early-stopping"),
    "change gravity": ("robots.html", GRAVITY),
    "robot mounted on the ceiling": ("robots.html", GRAVITY),
    "upside down robot": ("robots.html", GRAVITY),
    "self collision": ("limits.html", CONTACT),
    "does the twin check self-collision": ("limits.html", CONTACT),
    "time limit of a run": ("faq.html", FINISHED),
    "change the discount factor": ("reference/roboopt.rl.html", None),
    "stop at a target return": ("faq.html", FINISHED),
    "record a video": ("report.html", VIDEO),
    "early stopping": ("clone.html", "batch-size-and-early-stopping"),
    "save video as mp4": ("report.html", "read-a-report"),
    "read report.html on a phone": ("report.html", "read-a-report"),
    "stable baselines": ("faq.html", "does-it-work-with-stable-baselines3-sb3"),
    "how long should I record my robot": (RECORDINGS, RECORD),
    "which motion excites all parameters": (RECORDINGS, RECORD),
    "limit the torque of a policy": ("clone.html", "limits-of-the-actions"),
    "fine-tune a policy on new data": ("clone.html", "fine-tune-a-policy-on-new-data"),
    "policy jitters on the real robot": ("faq.html", SHAKES),
    "tune PID gains": ("faq.html", "how-do-i-tune-a-pid-controller"),
    "camera images as observations": (
        "limits.html",
        "cameras-images-and-dictionaries-as-observations",
    ),
    "read a ROS bag": ("formats.html", "tables-of-joints"),
    "use MuJoCo instead of PyBullet": (
        "faq.html",
        "does-it-work-with-mujoco",
    ),
    "payload mass at the gripper": (RECORDINGS, "a-payload"),
    "loss is nan": ("faq.html", "what-if-the-loss-is-nan"),
    "set the gains at the start": ("control.html", "set-the-gains-at-the-start"),
    "initial gains": ("faq.html", GAINS),
    "difference between before and after": ("faq.html", BEFORE_AND_AFTER),
    "wind": ("faq.html", DISTURBANCES),
    "external disturbance": ("faq.html", DISTURBANCES),
    "joystick demonstrations": ("tutorials/clone.html", "your-demonstrations"),
    "xacro not supported": (
        "faq.html",
        "does-it-work-with-moveit-gazebo-isaac-solidworks-sdf-usd-step",
    ),
    "video of the robot": ("report.html", VIDEO),
    "gymnasium environment not found": (
        "faq.html",
        "what-do-these-messages-mean-no-module-named-pybullet-xlaruntimeerror",
    ),
    "how do I use my own URDF": ("guides/own_robot.html", None),
    "load a saved policy": ("guides/deploy.html", "save-load-export"),
    "plot training curve": ("log.html", CURVES),
    "how long does training take": ("faq.html", FINISHED),
    "save video mp4": ("report.html", VIDEO),
    "change the random seed": ("faq.html", "how-do-i-change-the-random-seed"),
    "neural network size hidden layers": ("faq.html", NETWORK),
    "discount factor gamma": ("reinforce.html", ALGORITHMS),
    "normalize observations": ("faq.html", SPACES),
    "dead time of motor": ("control.html", "drives"),
    "what does condition number mean": ("faq.html", CONDITION),
    "number of episodes": ("faq.html", INTERVAL),
}
"""Words as typed: the address of the page, and the anchor where there is one."""
