"""A formula's Python function as a Triton function: its own source text, compiled apart."""

from __future__ import annotations

import ast
import hashlib
import inspect
import linecache
import textwrap
from functools import cache
from typing import Any

import triton
import triton.language as tl

from xaimed_kernels.gradient_maps.formula import Formula
from xaimed_kernels.gradient_maps.kernel import relu
from xaimed_kernels.gradient_maps.pieces import in_pieces


@cache
def triton_formula(formula: Formula, pieces: int) -> Any:
    """``formula.weights`` for Triton tiles that come in ``pieces``: ``a`` and ``g`` are tuples, and so is the result.

    The source is compiled without its annotations (Triton would look them up as if they were values) and with
    only the numbers it refers to outside itself. The function's name carries a hash of both, because Triton
    tells functions that it gets as constants apart by name alone: an edited formula is a new kernel.

    Raises ValueError for a lambda or anything else that is no plain ``def`` in a file.
    """
    definition = in_pieces(_definition(formula), formula.name, pieces)
    numbers = _numbers(formula)
    text = ast.unparse(definition)
    digest = hashlib.sha256(f"{text}{sorted(numbers.items())}".encode()).hexdigest()[:12]
    definition.name = f"{definition.name.strip('_')}_{digest}"
    text = ast.unparse(definition) + "\n"
    file = f"<formula {definition.name}>"
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    scope: dict[str, Any] = {"__name__": __name__, "tl": tl, "relu": relu}
    scope |= {name: tl.constexpr(value) for name, value in numbers.items()}
    exec(compile(text, file, "exec"), scope)
    return triton.jit(scope[definition.name])


def _definition(formula: Formula) -> ast.FunctionDef:
    """The function's syntax tree without annotations and docstring."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(formula.weights))).body[0]
    except (OSError, TypeError, SyntaxError):
        tree = None
    if not isinstance(tree, ast.FunctionDef) or tree.name != formula.weights.__name__:
        raise ValueError(
            f"formula {formula.name!r} cannot run on a GPU: its weights must be a function written with def in a "
            "file (not a lambda, a partial or typed at a prompt), because Triton compiles its source"
        )
    tree.returns, tree.decorator_list = None, []
    for argument in tree.args.args:
        argument.annotation = None
    if ast.get_docstring(tree) is not None:
        del tree.body[0]
    return tree


def _numbers(formula: Formula) -> dict[str, int | float]:
    """The plain numbers that the function refers to outside itself: module constants, closures."""
    outside = inspect.getclosurevars(formula.weights)
    return {
        name: value
        for name, value in {**outside.globals, **outside.nonlocals}.items()
        if isinstance(value, (int, float))
    }
