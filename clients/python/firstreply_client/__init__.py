"""Client of a firstreply server: posts in, typed results out. Everything a caller needs is imported from here."""

from firstreply_client.client import AsyncClient, Client
from firstreply_client.errors import (
    FirstreplyError,
    NotAuthenticatedError,
    OverloadedError,
    RefusedError,
    ServerError,
    TimedOutError,
    UnreachableError,
)
from firstreply_client.mentions import Author, Mention
from firstreply_client.parts import Limits
from firstreply_client.results import ModelInfo, PolicyInfo, Priority, Result, Signal, Unscored, Word

__all__ = [
    "AsyncClient",
    "Author",
    "Client",
    "FirstreplyError",
    "Limits",
    "Mention",
    "ModelInfo",
    "NotAuthenticatedError",
    "OverloadedError",
    "PolicyInfo",
    "Priority",
    "RefusedError",
    "Result",
    "ServerError",
    "Signal",
    "TimedOutError",
    "UnreachableError",
    "Unscored",
    "Word",
]
