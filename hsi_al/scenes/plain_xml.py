"""XML that may be a stranger's, read without definitions, with which a small file can claim any amount of memory."""

from typing import NoReturn
from xml.etree import ElementTree

# What damaged or refused content raises.
DAMAGE = (ElementTree.ParseError, ValueError, LookupError)


class _Plain(ElementTree.TreeBuilder):
    """Builds a tree, but refuses definitions."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> NoReturn:
        """Refuse."""
        raise ValueError(f"it defines a document type {name!r}")


def tree_in(content: bytes) -> ElementTree.Element:
    """Return the root of an XML document.

    Raises:
        ElementTree.ParseError, ValueError, LookupError: It is damaged, or defines a document type.
    """
    return ElementTree.fromstring(content, ElementTree.XMLParser(target=_Plain()))
