"""A strict double of the MESH service for tests: it refuses what the real service refuses, and fails on demand.

Where the published specification leaves a status open, the double decides: a body above the limit 413, a body
without Content-Length 411, a foreign Mex-From 400 with code 07, a used or old token 403, a bad continuation token 400.
"""

from __future__ import annotations

from . import faults
from .bodies import Synthetic
from .facade import Double, MessageInfo, Put
from .process import DoubleProcess
from .recorder import Record
from .state import Settings

__all__ = ["Double", "DoubleProcess", "MessageInfo", "Put", "Record", "Settings", "Synthetic", "faults"]
