"""Datasets: read from what users have, checked against a model, written for devices.

dataset = load("digits.npz")            # or a folder, or "package.module:function"
dataset = fit(dataset, signature)       # names and shapes now match the model
evaluation = write_eval(dataset, path)  # the npz that travels to the devices
"""

from __future__ import annotations

from edgepack.data.dataset import Dataset
from edgepack.data.evaluation import write_eval
from edgepack.data.fitting import fit, random_inputs
from edgepack.data.loaders import check, load

__all__ = ["Dataset", "check", "fit", "load", "random_inputs", "write_eval"]
