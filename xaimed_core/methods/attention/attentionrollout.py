"""Attention rollout: Abnar and Zuidema 2020, ACL (arXiv 2005.00928), eq. 1 and section 3."""

from xaimed_core.methods.method import Attention, Method

ATTENTIONROLLOUT = Method(
    name="attentionrollout",
    title="Attention rollout",
    paper="arXiv 2005.00928",
    equation="the first token's row of R_l ... R_1, R_l = (mean of P_l over heads + I) / 2; no such token: their mean",
    kind=Attention(by_gradient=False),
)
