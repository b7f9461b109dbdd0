"""A wheel in an empty folder finds its configuration and its scene."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
def test_a_wheel_runs_in_an_empty_folder(tmp_path: Path) -> None:
    pytest.importorskip("hatchling")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    installed, empty = tmp_path / "installed", tmp_path / "empty"
    zipfile.ZipFile(wheel).extractall(installed)
    ours = {path.relative_to(ROOT) for path in (ROOT / "hsi_al").rglob("*") if path.is_file() and path.suffix != ".pyc"}
    assert {path for path in ours if not (installed / path).is_file()} == set()
    empty.mkdir()
    code = (
        "import hsi_al, hsi_al.run, sys; assert hsi_al.__file__.startswith(sys.argv[1]), hsi_al.__file__; "
        "sys.exit(hsi_al.run.main(sys.argv[2:]))"
    )
    arguments = ["protocol=smoke", "protocol.max_pixels=100", "learner=emp_svm", "acquisition=entropy"]
    done = subprocess.run(
        [sys.executable, "-c", code, str(installed), *arguments, "trainer.threads=1"],
        cwd=empty,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (empty / "outputs/main/indian_pines/emp_svm/entropy/smoke-paper/seed=0/curve.csv").exists()


def test_every_layer_speaks_only_of_itself() -> None:
    """No paths of the machine it was made on."""
    files = [path for folder in ("hsi_al", "conf", "docs", "experiments") for path in (ROOT / folder).rglob("*")]
    texts = [path for path in files if path.suffix in {".py", ".yaml", ".md"}]
    assert texts
    assert not [path for path in texts if "/" + "work/" in path.read_text()]
