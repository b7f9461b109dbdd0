"""XML of strangers."""

import pytest

from hsi_al.scenes.plain_xml import DAMAGE, tree_in


def test_definitions_are_refused() -> None:
    assert tree_in(b"<a><b>c</b></a>").findtext("b") == "c"
    for content in (b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', b"<a>", b""):
        with pytest.raises(DAMAGE):
            tree_in(content)
