"""The errors that callers of firstreply can meet: one small tree under ``FirstreplyError``."""

from __future__ import annotations

from data.schema import FileError, FirstreplyError, MentionError

__all__ = ["BrandsError", "BundleError", "FileError", "FirstreplyError", "MentionError", "PolicyError"]


class BundleError(FirstreplyError):
    """A bundle is missing, damaged, or made for another version."""


class BrandsError(FirstreplyError):
    """A brands file cannot be read or contradicts itself."""


class PolicyError(FirstreplyError):
    """A policy file cannot be read or asks for something that does not exist."""
