"""Mention to intents to priority, on ONNX Runtime: brands, text normalisation, bundle, inference, calibration, policy.

Nothing here imports torch, FastAPI or a training library.
"""
