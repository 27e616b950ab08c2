"""FINN+'s environment: found, refused, mended."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hls_backend.finn.environment import Environment, find, make, required_besides
from passes.errors import UserError


def test_one_that_is_right_is_found_and_not_made_again(an_environment: Environment) -> None:
    assert find(an_environment.folder) == an_environment
    before = sorted(an_environment.folder.rglob("*"))
    assert make(an_environment.folder) == an_environment
    assert sorted(an_environment.folder.rglob("*")) == before


def test_one_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no FINN\+ in .*nowhere.*graphops finn setup"):
        find(tmp_path / "nowhere")


def test_what_is_missing_is_named(an_environment: Environment) -> None:
    (info,) = an_environment.folder.rglob("brevitas-*.dist-info")
    shutil.rmtree(info)
    with pytest.raises(UserError, match=r"lacks brevitas 0\.13\.0; mend it"):
        find(an_environment.folder)


def test_another_version_is_not_right(an_environment: Environment) -> None:
    (info,) = an_environment.folder.rglob("finn_plus-*.dist-info")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: finn-plus\nVersion: 1.5.0\n")
    assert an_environment.missing() == ["finn-plus 1.6.1"]


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(UserError, match="no environment of graphops"):
        make(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_package_that_cannot_be_had_is_said(tmp_path: Path) -> None:
    """From an index in an empty folder, pip gets nothing; the environment is there to go on from."""
    (index := tmp_path / "index").mkdir()
    folder = tmp_path / "environment"
    with pytest.raises(UserError, match=r"torch==0\.0\.1 could not be had .*--torch-index"):
        make(folder, torch="torch==0.0.1", torch_index=index.as_uri())
    with pytest.raises(UserError, match="left half made"):
        find(folder)
    with pytest.raises(UserError, match=r"torch==0\.0\.2 could not be had"):
        make(folder, torch="torch==0.0.2", torch_index=index.as_uri())


def test_finn_s_own_pins_are_asked_for(an_environment: Environment) -> None:
    (info,) = an_environment.folder.rglob("finn_plus-*.dist-info")
    with (info / "METADATA").open("a") as file:
        file.write(
            "Requires-Dist: bitstring (>=4.3.1,<4.4.0)\n"
            "Requires-Dist: brevitas (==0.13.0)\n"
            'Requires-Dist: pytest (>=9.1.1,<9.2.0) ; extra == "test" or extra == "all"\n'
            "Requires-Dist: mashumaro[yaml] (>=3.15,<4.0)\n"
        )
    assert required_besides(an_environment) == ["bitstring >=4.3.1,<4.4.0", "mashumaro[yaml] >=3.15,<4.0"]
