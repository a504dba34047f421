"""LeGrad's and attention rollout's maps: what the tokens of a transformer's blocks attend to.

Nothing is known of any package: blocks are found around the layer, and their attention is the softmax over tokens in
the graph that autograd keeps of each. Fused attention has none, so that it is written out from queries and keys here.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge
from torch.nn.attention import SDPBackend, sdpa_kernel

from xaimed_core.autograd_graph import nodes_behind
from xaimed_core.dependence import rounding_of
from xaimed_core.explanation import Route
from xaimed_core.isolation.subject import subject_of, undisturbed
from xaimed_core.layout import Tokens
from xaimed_core.outputs import call, rows_of
from xaimed_core.raw_maps import LayerView, RawMap, Run
from xaimed_core.targets import Targets

SOFTMAX = ("SoftmaxBackward0", "SafeSoftmaxBackward0")


@final
@dataclass(frozen=True)
class Block:
    """One block: the ``tokens [n, t, d]`` that it gave, and the ``attention`` that made them, an operation."""

    tokens: Tensor
    attention: Any

    @property
    def probabilities(self) -> Tensor:
        """``[n, heads, t, t]``: of each token (rows) for each (columns)."""
        n, t = self.tokens.shape[:2]
        return self.attention._saved_result.detach().view(n, -1, t, t)


def rollout(view: LayerView, run: Run) -> RawMap:
    """``R_l ... R_1``'s row of the first token, ``R_l = (mean of P_l over heads + I) / 2``; no class: see below.

    Source: Abnar and Zuidema 2020 (arXiv 2005.00928), eq. 1. Where every token has a place, as in a network that
    averages them, it is the mean over rows. One forward, of which one block's graph is held at a time.
    """
    tokens = _tokens(view, "attentionrollout")
    flow: Tensor | None = None

    def at_block(block: Block) -> None:
        nonlocal flow
        mixed = block.probabilities.float().mean(1)
        mixed = (mixed + torch.eye(mixed.shape[1], device=mixed.device)) / 2
        flow = mixed if flow is None else mixed @ flow

    with _block_by_block(view, run, "attentionrollout", at_block):
        pass
    assert flow is not None
    seen = (flow[:, 0] if tokens.prefix else flow.mean(1))[:, tokens.prefix :]
    route = Route("full-forward", "one forward more, attention written out; rollout")
    return RawMap(seen.unflatten(1, tokens.grid), None, route)


def legrad(view: LayerView, run: Run, targets: Targets) -> RawMap:
    """The mean over blocks, heads and queries of ``relu(d y_l / d P_l)``.

    Source: Bousselham et al. 2024 (arXiv 2404.03214). ``y_l`` is the score where what follows the blocks
    reads, in every token's place, the mean of the tokens of block l. All blocks' scores come of one forward: behind the
    last block it runs on one row more per image for each. Raises ValueError where those rows depend on each other.
    """
    tokens, blocks, n = _tokens(view, "legrad"), list[Block](), len(run.images)

    def levels(last: Tensor) -> Tensor:
        means = [block.tokens.mean(1, keepdim=True).expand_as(last) for block in blocks]
        return torch.cat([last.detach(), *means])

    with _block_by_block(view, run, "legrad", blocks.append, levels) as returned:
        logits = rows_of(returned, (len(blocks) + 1) * n, run.output)[0]
        assert run.logits is not None
        if not torch.allclose(logits[:n], run.logits, rtol=0, atol=rounding_of(run.logits), equal_nan=True):
            raise ValueError(
                "legrad runs what follows the blocks for several rows per image, and this model's outputs depend on "
                "that; ask for attentionrollout, or explain one image at a time"
            )
        images = torch.arange(n, device=logits.device).repeat(len(blocks))
        total = targets.score(logits[n:], images).sum()
        edges = [GradientEdge(block.attention, 0) for block in blocks]
        gradients = torch.autograd.grad(total, edges)
    risen = torch.stack(
        [
            g.float().view_as(b.probabilities).relu().mean((1, 2))
            for g, b in zip(gradients, blocks, strict=True)
        ]
    )
    route = Route("full-forward", "one forward more, attention written out, a backward through each block")
    return RawMap(risen.mean(0)[:, tokens.prefix :].unflatten(1, tokens.grid), None, route)


def _tokens(view: LayerView, method: str) -> Tokens:
    if isinstance(view.layout, Tokens):
        return view.layout
    raise ValueError(
        f"{method} reads what the tokens of a transformer attend to, and layer {view.name} holds none; give a layer of "
        'tokens with layout="infer" or Tokens(grid, prefix), or ask for a method of channels, e.g. gradcam'
    )


@contextmanager
def _block_by_block(
    view: LayerView,
    run: Run,
    method: str,
    at_block: Callable[[Block], None],
    at_last: Callable[[Tensor], Tensor] = torch.Tensor.detach,
) -> Generator[Any]:
    """One forward, with autograd inside each block and none between blocks; gives what the model returned.

    ``at_block`` sees each as it is done; what follows the last reads ``at_last`` of its tokens.
    """
    blocks = blocks_around(run.model, view.name, method)
    subject = subject_of(run.model, blocks.values())
    seen: list[str] = []
    with ExitStack() as stack:
        stack.enter_context(undisturbed(subject, run.images.device))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))

        def hook(name: str) -> Callable[[nn.Module, Any, Any], Any]:
            def done(_module: nn.Module, _inputs: Any, output: Any) -> Any:
                tokens = output[0] if isinstance(output, tuple) else output
                at_block(_read(tokens, name, method))
                seen.append(name)
                passed = at_last(tokens) if len(seen) == len(blocks) else tokens.detach().requires_grad_()
                return (passed, *output[1:]) if isinstance(output, tuple) else passed

            return done

        for name, block in blocks.items():
            stack.enter_context(subject.on_output(block, hook(name)))
        returned = call(subject.root, run.images.detach().clone().requires_grad_())
        if seen != list(blocks):
            raise ValueError(
                f"{method} needs blocks that run once, in their order; this model runs {', '.join(seen)}"
            )
        yield returned


def _read(tokens: Any, name: str, method: str) -> Block:
    """A block as its output's graph shows it."""
    if isinstance(tokens, Tensor) and tokens.ndim == 3:
        n, t = tokens.shape[:2]
        softmaxes = [node for node in nodes_behind(tokens.grad_fn) if node.name() in SOFTMAX]
        shapes = [tuple(node._saved_result.shape) for node in softmaxes]
        if len(shapes) == 1 and shapes[0][-2:] == (t, t) and prod(shapes[0]) % (n * t * t) == 0:
            return Block(tokens, softmaxes[0])
    raise ValueError(
        f"{method} needs one attention of all tokens to all in each block, and {name} has not (windows, or a mixing of "
        "another kind); ask for a method of channels, e.g. gradcam"
    )


def blocks_around(model: nn.Module, layer: str, method: str) -> dict[str, nn.Module]:
    """The blocks by dotted name: two or more modules of one kind in the outermost list around the layer."""
    parts = layer.split(".")
    for i, part in enumerate(parts):
        around = model.get_submodule(".".join(parts[:i]))
        children = dict(around.named_children())
        alike = {
            ".".join([*parts[:i], name]): child
            for name, child in children.items()
            if type(child) is type(children[part])
        }
        if isinstance(around, nn.ModuleList | nn.Sequential) and len(alike) > 1:
            return alike
    raise ValueError(
        f"{method} finds the blocks of a transformer around the layer, and {layer} lies in no list of them; give a "
        'layer inside a block, or leave layer out with layout="infer"'
    )
