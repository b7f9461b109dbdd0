"""Garbage is collected by hand, and only where networks leave it."""

import sys
from types import SimpleNamespace

import pytest

from hsi_al.garbage import Garbage


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    names = ("collect", "freeze", "unfreeze")
    gc = SimpleNamespace(**{name: lambda name=name: found.append(name) for name in names})
    monkeypatch.setattr("hsi_al.garbage.gc", gc)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace())
    return found


def test_the_outermost_alone_leaves_out_the_old(calls: list[str]) -> None:
    garbage = Garbage()
    with garbage.leaving_out_the_old():
        with garbage.leaving_out_the_old():
            garbage.collect()
        assert calls == ["collect", "freeze", "collect"]
    assert calls[3:] == ["unfreeze"]
    with pytest.raises(KeyError), garbage.leaving_out_the_old():
        raise KeyError
    assert calls[4:] == ["collect", "freeze", "unfreeze"]


def test_without_torch_there_is_none(calls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch")
    garbage = Garbage()
    with garbage.leaving_out_the_old():
        garbage.collect()
    assert not calls
