"""Labelled mentions to bundle: recipe, loss, trainer, export, quantisation, calibration. Torch lives here only."""
