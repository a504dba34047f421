"""A formula's definition rewritten for tiles that come in several tensors: each line once for every piece."""

from __future__ import annotations

import ast
from copy import deepcopy
from typing import final


def in_pieces(definition: ast.FunctionDef, name: str, pieces: int) -> ast.FunctionDef:
    """``weights(a, g, total, positions)`` with tuples of tensors for ``a`` and ``g``, and one returned.

    A local value with positions becomes one for each piece, and ``total(x)`` gets the tuple of them. ``x.relu()``,
    which tiles lack, becomes ``relu(x)``. Raises ValueError for statements other than assignments to a name and a
    return at the end.
    """
    a, g, total, _ = (argument.arg for argument in definition.args.args)
    split = _Split({a: f"{a}[{{}}]", g: f"{g}[{{}}]"}, total, pieces)
    body: list[ast.stmt] = []
    for statement in definition.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=target)], value=value):
                body += split.assign(target, value)
            case ast.Return(value=ast.expr() as value) if statement is definition.body[-1]:
                body.append(ast.Return(split.every(value)))
            case _:
                line, *_ = ast.unparse(statement).splitlines()
                raise ValueError(
                    f"formula {name!r} cannot run on a GPU: {line!r} is neither name = value nor the return at the end"
                )
    definition.body = body
    return ast.fix_missing_locations(definition)


@final
class _Split(ast.NodeTransformer):
    """``names``: of values with positions, each with what stands for a piece of it."""

    def __init__(self, names: dict[str, str], total: str, pieces: int) -> None:
        self.names, self.total, self.pieces = names, total, pieces
        self.piece = 0

    def assign(self, target: str, value: ast.expr) -> list[ast.Assign]:
        """One assignment for each piece, or one where the value has no positions."""
        if not self.has_positions(value):
            values = {target: self.part(value, 0)}
            self.names.pop(target, None)
        else:
            values = {f"{target}_{piece}": part for piece, part in enumerate(self.every(value).elts)}
            self.names[target] = f"{target}_{{}}"
        return [ast.Assign([ast.Name(name, ast.Store())], part) for name, part in values.items()]

    def every(self, value: ast.expr) -> ast.Tuple:
        """The value's pieces."""
        return ast.Tuple([self.part(value, piece) for piece in range(self.pieces)], ast.Load())

    def part(self, value: ast.expr, piece: int) -> ast.expr:
        """The value for one piece."""
        before, self.piece = self.piece, piece
        found: ast.expr = self.visit(deepcopy(value))
        self.piece = before
        return found

    def has_positions(self, value: ast.AST) -> bool:
        """Whether a name with positions stands in it, other than inside a total."""
        if isinstance(value, ast.Name):
            return value.id in self.names
        return not self.is_total(value) and any(map(self.has_positions, ast.iter_child_nodes(value)))

    def is_total(self, value: ast.AST) -> bool:
        """Whether it is ``total(...)``."""
        return (
            isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == self.total
        )

    def visit_Name(self, node: ast.Name) -> ast.expr:
        """The piece of a value with positions."""
        return ast.parse(self.names.get(node.id, node.id).format(self.piece), mode="eval").body

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """A total of all pieces; a relu."""
        if self.is_total(node):
            (value,) = node.args
            inside = (
                self.every(value) if self.has_positions(value) else ast.Tuple([self.visit(value)], ast.Load())
            )
            return ast.Call(node.func, [inside], [])
        match node.func:
            case ast.Attribute(value=value, attr="relu"):
                return ast.Call(ast.Name("relu", ast.Load()), [self.visit(value)], [])
            case _:
                return self.generic_visit(node)
