"""AblationCAM: Desai and Ramaswamy 2020, WACV, eq. 2."""

from xaimed_core.methods.method import ChannelProbe, Method

ABLATIONCAM = Method(
    name="ablationcam",
    title="AblationCAM",
    paper="10.1109/WACV45572.2020.9093360",
    equation="w_k = y - y_k, y_k the score with A_k set to 0",
    kind=ChannelProbe(),
    oracle="AblationCAM",
    differs=(
        "The paper divides by y: the same map for y > 0, the inverted one for y < 0, nothing at 0. "
        "grad-cam sets a channel to 0 only where the batch's smallest activation is exactly 0, else to that minimum "
        "less 1e7, read again after earlier rows changed, so that its result depends on batch size and row; "
        "here it is always the value asked for."
    ),
)
