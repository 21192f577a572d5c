"""What the packages promise to export, and what importing them costs."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
import time
import types

import pytest

import federlib


def public_packages() -> list[str]:
    """Find what users may import by name: the root, its packages, and its public modules."""
    names = [module.name for module in pkgutil.iter_modules(federlib.__path__, "federlib.")]
    return ["federlib", *(name for name in names if not name.startswith("federlib._"))]


PACKAGES = public_packages()
IMPORT_BAR_S = 0.05  # over bare Python, as the design asks
IMPORT_TRIES = 5  # the best of them: another program's turn on the core is not our cost


def exported(name: str) -> tuple[types.ModuleType, list[str]]:
    module = importlib.import_module(name)
    names: list[str] = module.__all__
    return module, names


def test_the_packages_of_the_map_are_all_found() -> None:
    assert {"federlib", "federlib.dag", "federlib.errors", "federlib.storage"} <= set(PACKAGES)
    assert not [name for name in PACKAGES if name.rpartition(".")[2].startswith("_")]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_exported_name_exists_and_is_listed_once(package: str) -> None:
    module, names = exported(package)
    assert len(names) == len(set(names))
    for name in names:
        assert getattr(module, name) is not None


@pytest.mark.parametrize("package", PACKAGES)
def test_every_exported_class_and_function_says_what_it_is_for(package: str) -> None:
    module, names = exported(package)
    silent = [
        name
        for name in names
        if isinstance(getattr(module, name), type | types.FunctionType)
        and not (getattr(module, name).__doc__ or "").strip()
    ]
    assert silent == []


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_has_a_docstring(package: str) -> None:
    module, _ = exported(package)
    assert module.__doc__


def loaded_by(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_federlib_alone_loads_nothing_heavy() -> None:
    loaded = loaded_by("import federlib")
    heavy = {"anyio", "attrs", "msgspec", "structlog", "stamina", "sqlite3", "click", "yaml"}
    assert loaded & heavy == set()
    assert {name for name in loaded if name.startswith("federlib.")} == set()


def seconds_for(statement: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True)
    return time.perf_counter() - began


def test_importing_federlib_alone_is_quick() -> None:
    bare = min(seconds_for("pass") for _ in range(IMPORT_TRIES))
    ours = min(seconds_for("import federlib") for _ in range(IMPORT_TRIES))
    assert ours - bare < IMPORT_BAR_S


def test_connecting_loads_no_driver_and_no_command_line_library() -> None:
    loaded = loaded_by("import federlib\nfederlib.connect('memory://')")
    assert loaded & {"sqlite3", "structlog", "click", "rich", "yaml", "trio"} == set()


def test_an_unknown_attribute_is_an_attribute_error() -> None:
    module = importlib.import_module("federlib")
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        getattr(module, "nonsense")  # noqa: B009 (mypy knows that it is not there)
