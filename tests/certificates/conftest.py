"""One set of authorities and keys for all tests of certificates."""

from __future__ import annotations

import pytest

from tests.certificates.making import CN, Making, Pair
from tests.conftest import Need


@pytest.fixture(scope="session")
def making(need: Need, tmp_path_factory: pytest.TempPathFactory) -> Making:
    need("openssl")
    return Making(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def good(making: Making) -> Pair:
    """A client certificate that nothing is wrong with."""
    return making.issue(CN, making.authority)
