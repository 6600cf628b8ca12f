"""The NHS authorities that issue MESH certificates: their generation, their environment and their end.

Source: the CA bundles in the mesh-client package, and NHS England's notice that the first live generation ended in June 2024.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True)
class Authority:
    """An issuing authority. ``environment`` is live, int or dep (deployment, which the portal does not work with)."""

    name: str
    generation: str
    environment: str
    root: str
    ends: datetime

    @property
    def words(self) -> str:
        """As pages show it."""
        return f"Generation {self.generation[1:]}, {ENVIRONMENT_WORDS[self.environment]}"


ENVIRONMENT_WORDS = {"live": "live", "int": "integration", "dep": "deployment", "sandbox": "sandbox"}
_G1, _G2 = "g1", "g2"
_PTL, _PTL_G2 = "NHS PTL Root Authority", "NHS PTL Root Authority G2"
_ALL = (
    Authority("NHS Authentication G2", _G2, "live", "NHS Root Authority G2", datetime(2032, 9, 15, tzinfo=UTC)),
    Authority("NHS Level 1C", _G1, "live", "NHS Root Authority", datetime(2024, 6, 4, tzinfo=UTC)),
    Authority("NHS INT Authentication G2", _G2, "int", _PTL_G2, datetime(2032, 8, 4, tzinfo=UTC)),
    Authority("NHS INT Level 1C", _G1, "int", _PTL, datetime(2029, 11, 11, tzinfo=UTC)),
    Authority("NHS DEP Authentication G2", _G2, "dep", _PTL_G2, datetime(2032, 8, 4, tzinfo=UTC)),
    Authority("NHS DEP Level 1C", _G1, "dep", _PTL, datetime(2029, 10, 29, tzinfo=UTC)),
)
_BY_NAME = {authority.name.casefold(): authority for authority in _ALL}


def known(common_name: str) -> Authority | None:
    """The authority of this name, or None: the sandbox's, and whatever NHS England makes next."""
    return _BY_NAME.get(" ".join(common_name.split()).casefold())


def outdated(authority: Authority | None) -> bool:
    """Whether there is a newer generation for the environment of ``authority``."""
    if authority is None:
        return False
    return any(one.environment == authority.environment and one.generation > authority.generation for one in _ALL)
