"""Configurations that Hydra can't compose."""

import pytest

from hsi_al.errors import ConfigurationError
from hsi_al.run import composing


def endless() -> None:
    endless()


def test_configurations_that_name_themselves_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="through its defaults, part of itself"), composing():
        endless()


def test_a_bug_of_a_job_stays_one() -> None:
    def task() -> None:
        endless()

    with pytest.raises(RecursionError), composing():
        task()
