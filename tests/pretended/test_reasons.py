"""The list of what may fail on the pretended device names tests that there are."""

from pathlib import Path

import pytest

from tests.pretended.reasons import REASONS

TESTS = Path(__file__).parents[1]


@pytest.mark.parametrize("start", REASONS)
def test_reasons_are_of_tests(start):
    path, _, name = start.partition("::")
    assert f"def {name.partition('[')[0]}" in (TESTS / path).read_text()
