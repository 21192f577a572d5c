"""Two runs and their wire, for the tests of the core; counts, for those on sockets."""

from __future__ import annotations

import pytest

from transport.pairs import ADA, BEN, Run, Wire
from transport.sockets import Counts


@pytest.fixture
def ada() -> Run:
    return Run(ADA)


@pytest.fixture
def ben() -> Run:
    return Run(BEN)


@pytest.fixture
def wire(ada: Run, ben: Run) -> Wire:
    return Wire(ada, ben)


@pytest.fixture
def counts() -> Counts:
    return Counts()
