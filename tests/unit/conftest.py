"""Commands that are called here set up logging for their whole process, which is the tests' as well."""

import logging
from collections.abc import Generator

import pytest
import structlog


@pytest.fixture(autouse=True)
def logging_as_before() -> Generator[None]:
    level = logging.root.level
    yield
    structlog.reset_defaults()
    logging.captureWarnings(capture=False)
    logging.basicConfig(handlers=[], level=level, force=True)
