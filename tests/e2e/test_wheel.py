"""The wheel carries everything: installed in a fresh environment, it runs from another folder."""

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.conftest import ROOT, environment

pytestmark = pytest.mark.slow


def run(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    plain = {key: value for key, value in environment().items() if key != "PYTHONPATH"}
    done = subprocess.run(words, cwd=cwd, env=plain, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done


def test_the_wheel_works_on_its_own(tmp_path: Path, data_file: Path) -> None:
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        str(tmp_path),
        str(ROOT),
    ]
    run(*build, cwd=tmp_path)
    wheel = next(tmp_path.glob("srd-*.whl"))
    venv.create(tmp_path / "fresh", with_pip=False)
    python = tmp_path / "fresh" / "bin" / "python"
    packages = Path(
        run(str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path).stdout.strip()
    )
    run(
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "--quiet",
        "--no-deps",
        str(wheel),
        cwd=tmp_path,
    )
    # The dependencies are this environment's: a plain path line, so that its editable srd stays out.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    where = run(str(python), "-c", "import srd; print(srd.__file__)", cwd=elsewhere).stdout
    assert str(packages) in where
    srd = str(tmp_path / "fresh" / "bin" / "srd")
    listed = run(srd, "ls", cwd=elsewhere).stdout
    assert "demo/srd" in listed
    assert "openllama2_7b_to_3b" in listed
    done = run(srd, "run", "debug=smoke", "dataset=jsonl", f"dataset.path={data_file}", "engine=cpu", cwd=elsewhere)
    assert done.stdout.count("ROUGE-L") == 3
    assert (elsewhere / "outputs" / "evaluate").is_dir()
    assert "report.html" in run(srd, "report", "smoke", cwd=elsewhere).stdout
    page = (elsewhere / "outputs/report/smoke/report.html").read_text()
    files = [file for kind in ("*.js", "*.css") for file in (ROOT / "srd/report").glob(kind)]
    assert len(files) == 5
    assert all(file.read_text() in page for file in files)
