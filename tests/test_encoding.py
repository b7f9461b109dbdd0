"""Text files are UTF-8 whatever the locale: no call leaves the encoding to it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TEXT = {"read_text": 0, "write_text": 1}  # where the encoding may stand without its name


def without_encoding(source: str) -> Iterator[int]:
    """Lines of calls that read or write text, or what a process prints, in the encoding of the locale."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        named = {keyword.arg: keyword.value for keyword in node.keywords}
        if "encoding" in named or len(node.args) > TEXT.get(name, 9):
            continue
        if name in TEXT or (name in ("open", "fdopen") and not is_binary(node, named)):
            yield node.lineno
        if name in ("run", "Popen", "check_output") and {"text", "universal_newlines"} & named.keys():
            yield node.lineno


def is_binary(node: ast.Call, named: dict[str | None, ast.expr]) -> bool:
    if isinstance(node.func, ast.Attribute) and node.args and not isinstance(node.args[0], ast.Constant):
        return True  # a member of an archive
    modes = [*node.args, *filter(None, [named.get("mode")])]
    return any(isinstance(mode, ast.Constant) and "b" in str(mode.value) for mode in modes)


@pytest.mark.parametrize("folder", ["hsi_al", "experiments"])
def test_every_text_file_has_its_encoding(folder: str) -> None:
    files = sorted((ROOT / folder).rglob("*.py"))
    assert len(files) > 10
    assert [
        f"{path.relative_to(ROOT)}:{line}"
        for path in files
        for line in without_encoding(path.read_text(encoding="utf-8"))
    ] == []


def test_calls_without_encoding_are_found() -> None:
    wrong = ["p.read_text()", "p.write_text('x')", "p.open()", "open('f', 'w')", "subprocess.run(['a'], text=True)"]
    right = [
        "p.read_text('utf-8')",
        "p.write_text('x', encoding='utf-8')",
        "p.open('rb')",
        "open(mode='wb', file='f')",
        "zip.open(entry)",
    ]
    assert list(without_encoding("\n".join([*wrong, *right]))) == [1, 2, 3, 4, 5]
