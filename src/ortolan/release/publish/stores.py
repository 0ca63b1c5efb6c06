"""The store that an address names."""

from __future__ import annotations

from pathlib import Path

from ...cache import Cache
from ...events import Emit
from .address import Address
from .folder import LocalFolders
from .gitlab import packages
from .patience import PATIENCE, Patience
from .registry import Registry
from .s3 import bucket
from .store import Store
from .tree import Tree
from .upload import Sessions


def store(address: Address, cache: Cache, emit: Emit, patience: Patience = PATIENCE) -> Store:
    """Nothing is asked yet. ``cache`` keeps the locations of unfinished uploads."""
    if address.kind == "oci":
        return Registry(address, Sessions(cache.root / "uploads"), emit, patience)
    if address.kind == "file":
        return Tree(LocalFolders(Path(address.path)), emit)
    return Tree(bucket(address) if address.kind == "s3" else packages(address, patience), emit)
