"""The program where it is installed: it finds its interfaces and libraries by itself."""

import os
import subprocess

import pytest
from conftest import BIN

BUILD = BIN.parent.parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    if not (BUILD / "cmake_install.cmake").exists():
        pytest.fail(f"{BUILD} is no build folder: the program under test was not built here")
    prefix = tmp_path_factory.mktemp("prefix")
    subprocess.run(["cmake", "--install", str(BUILD), "--prefix", str(prefix)], check=True, capture_output=True)
    return prefix


def test_an_installed_program_lists_its_tools_from_the_manifest_that_came_along(world, installed, tmp_path):
    env = {**world.env, "GPUMCP_CACHE": str(tmp_path)}  # no cached manifest, and none is made
    done = subprocess.run([str(installed / "bin/gpumcp"), "tools"], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    assert "get_embedding(" in done.stdout
    assert not (tmp_path / "manifests").exists()


def test_an_installed_program_computes_without_LD_LIBRARY_PATH(world, installed):
    env = {k: v for k, v in world.env.items() if k != "LD_LIBRARY_PATH"}
    command = [str(installed / "bin/gpumcp"), "call", "get_embedding", "text=hello world", "--idle", "0"]
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    assert '"dims":384' in done.stdout


def test_installed_libraries_name_no_folder_of_the_build(installed):
    for path in [*installed.rglob("*.so"), installed / "bin/gpumcp"]:
        dynamic = subprocess.run(["readelf", "-d", str(path)], capture_output=True, text=True, check=True).stdout
        paths = [line for line in dynamic.splitlines() if "RUNPATH" in line or "RPATH" in line]
        assert all(str(BUILD) not in line for line in paths), (path, paths)
    assert os.access(installed / "bin/gpumcp", os.X_OK)
