"""_core.pyi lists exactly what _core has, and is installed with it."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from types import GetSetDescriptorType, MemberDescriptorType

import pytest

import gracefulexit
from gracefulexit import _core

PACKAGE = Path(gracefulexit.__file__).parent
STUB = ast.parse((PACKAGE / "_core.pyi").read_text())
CLASSES = [node for node in STUB.body if isinstance(node, ast.ClassDef)]


def public(names: list[str]) -> set[str]:
    return {name for name in names if not name.startswith("_")}


def is_data(node: ast.stmt) -> bool:
    """An attribute, as against something to call."""
    if isinstance(node, ast.FunctionDef):
        return any("property" in ast.unparse(d) for d in node.decorator_list)
    return isinstance(node, ast.AnnAssign)


def stubbed(body: list[ast.stmt]) -> dict[str, ast.stmt]:
    """Names that a stub defines (not those that it imports)."""
    found: dict[str, ast.stmt] = {}
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = node
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found[node.target.id] = node
    return found


def functions() -> list[object]:
    """(owner, definition) of each function and method in the stub."""
    found = []
    for owner, body in [("", STUB.body), *((c.name, c.body) for c in CLASSES)]:
        for name, node in stubbed(body).items():
            if isinstance(node, ast.FunctionDef) and not is_data(node):
                found.append(pytest.param(owner, node, id=f"{owner}.{name}"))
    return found


def parameters(node: ast.FunctionDef) -> list[tuple[str, str]]:
    """As inspect.signature() would give them, without self and cls."""
    a = node.args
    listed = [(arg.arg, "POSITIONAL_ONLY") for arg in a.posonlyargs]
    listed += [(arg.arg, "POSITIONAL_OR_KEYWORD") for arg in a.args]
    listed += [(a.vararg.arg, "VAR_POSITIONAL")] if a.vararg else []
    listed += [(arg.arg, "KEYWORD_ONLY") for arg in a.kwonlyargs]
    listed += [(a.kwarg.arg, "VAR_KEYWORD")] if a.kwarg else []
    return [(name, kind) for name, kind in listed if name not in ("self", "cls")]


def test_module_has_what_the_stub_says() -> None:
    """Functions, classes and constants are the same in both."""
    assert public(list(stubbed(STUB.body))) == public(dir(_core))


@pytest.mark.parametrize("node", CLASSES, ids=lambda node: node.name)
def test_class_has_what_the_stub_says(node: ast.ClassDef) -> None:
    """Methods and members are the same in both, special methods included."""
    actual = getattr(_core, node.name)
    wanted = stubbed(node.body)

    assert isinstance(actual, type)
    assert public(list(wanted)) == public(list(vars(actual)))
    assert [name for name in wanted if not hasattr(actual, name)] == []


@pytest.mark.parametrize("node", CLASSES, ids=lambda node: node.name)
def test_members_are_of_the_same_kind(node: ast.ClassDef) -> None:
    """What the stub calls an attribute is one, and a method is a method."""
    members = vars(getattr(_core, node.name))
    data = (GetSetDescriptorType, MemberDescriptorType, int, str)
    wanted = {n: d for n, d in stubbed(node.body).items() if not n.startswith("_")}

    assert {name: is_data(d) for name, d in wanted.items()} == {
        name: isinstance(members.get(name), data) for name in wanted
    }


@pytest.mark.parametrize(("owner", "node"), functions())
def test_parameters_are_the_same(owner: str, node: ast.FunctionDef) -> None:
    """Each function's docstring opens with the signature that the stub has."""
    scope = getattr(_core, owner) if owner else _core
    actual = getattr(scope, node.name)
    if node.name in ("__new__", "__init__"):
        actual = scope  # a type's signature is its constructor's
    if node.name.startswith("__") and actual is not scope:
        return  # slots: CPython writes their signatures itself
    signature = inspect.signature(actual)

    assert parameters(node) == [
        (p.name, p.kind.name)
        for p in signature.parameters.values()
        if p.name not in ("self", "cls")
    ]


def test_package_is_marked_as_typed() -> None:
    """Type checkers look into an installed package only if py.typed is there."""
    assert (PACKAGE / "py.typed").exists()
