"""A formula's definition rewritten for tiles that come in several tensors: each line once for every piece."""

from __future__ import annotations

import ast
from typing import final


def in_pieces(definition: ast.FunctionDef, name: str, pieces: int) -> ast.FunctionDef:
    """``weights(a, g, total, positions)`` with tuples of tensors for ``a`` and ``g``.

    A local value with positions becomes one for each piece, ``total(x)`` gets the tuple of them, and the tuple is
    returned. Raises ValueError for statements other than assignments to a name and one return at the end.
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
                raise ValueError(
                    f"formula {name!r} cannot run on a GPU: line {ast.unparse(statement)!r} is neither name = value "
                    "nor the return at the end"
                )
    definition.body = body
    return ast.fix_missing_locations(definition)


@final
class _Split(ast.NodeTransformer):
    """``names``: of values with positions, each with what stands for a piece of it."""

    def __init__(self, names: dict[str, str], total: str, pieces: int) -> None:
        self.names, self.total, self.pieces = names, total, pieces
        self.piece = 0

    def assign(self, target: str, value: ast.expr) -> list[ast.stmt]:
        """One assignment for each piece, or one where the value has no positions."""
        if not self.has_positions(value):
            self.names.pop(target, None)
            return [ast.parse(f"{target} = {ast.unparse(self.part(value, 0))}").body[0]]
        parts = [ast.unparse(self.part(value, piece)) for piece in range(self.pieces)]
        self.names[target] = f"{target}_{{}}"
        return [ast.parse(f"{target}_{piece} = {part}").body[0] for piece, part in enumerate(parts)]

    def every(self, value: ast.expr) -> ast.Tuple:
        """The value's pieces."""
        return ast.Tuple([self.part(value, piece) for piece in range(self.pieces)], ast.Load())

    def part(self, value: ast.expr, piece: int) -> ast.expr:
        """The value for one piece."""
        before, self.piece = self.piece, piece
        found: ast.expr = self.visit(ast.parse(ast.unparse(value), mode="eval").body)
        self.piece = before
        return found

    def has_positions(self, value: ast.expr) -> bool:
        """Whether a name with positions stands in it, other than inside a total."""
        if self.is_total(value):
            return False
        if isinstance(value, ast.Name):
            return value.id in self.names
        return any(
            self.has_positions(part) for part in ast.iter_child_nodes(value) if isinstance(part, ast.expr)
        )

    def is_total(self, value: ast.AST) -> bool:
        return (
            isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == self.total
        )

    def visit_Name(self, node: ast.Name) -> ast.expr:
        name = self.names.get(node.id, node.id)
        return ast.parse(name.format(self.piece), mode="eval").body

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if isinstance(node.func, ast.Attribute) and node.func.attr == "relu":
            return ast.Call(ast.Name("relu", ast.Load()), [self.visit(node.func.value)], [])
        if not self.is_total(node):
            return self.generic_visit(node)
        (value,) = node.args
        inside = (
            self.every(value) if self.has_positions(value) else ast.Tuple([self.part(value, 0)], ast.Load())
        )
        return ast.Call(node.func, [inside], [])
