"""SS-CAM: Wang et al. 2020 (arXiv 2006.14255), with the noise on the mask (the first of its two variants)."""

from xaimed_core.methods.method import InputProbe, Method

SAMPLES, DEVIATION = 10, 2.0

SSCAM = Method(
    name="sscam",
    title="SS-CAM",
    paper="arXiv 2006.14255",
    equation="w_k = softmax_k mean_i y(x * (s(up(A_k)) + 2 e_i)), e_i of 10 normal draws",
    kind=InputProbe(scales=(1.0,) * SAMPLES, deviation=DEVIATION),
    differs=(
        "torch-cam draws noise anew for each channel and call, 35 times. Here 10 seeded draws serve every channel and "
        "image: channels are compared under the same noise, and a map depends neither on the call nor on the batch."
    ),
)
