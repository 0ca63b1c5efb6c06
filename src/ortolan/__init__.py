"""Ortolan turns a trained model and a target recipe into checked, reproducible device artifacts."""

__version__ = "0.1.0"
