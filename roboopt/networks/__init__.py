"""Networks: the normalized multilayer perceptron of policies and learned dynamics."""

from roboopt.networks._mlp import MLP as MLP
from roboopt.networks._normalized_mlp import NormalizedMLP as NormalizedMLP
from roboopt.networks._normalized_mlp import angle_features as angle_features
