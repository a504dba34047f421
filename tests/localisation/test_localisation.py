"""Localisation metrics against their definitions, pixel by pixel in float64, and against scikit-learn and OpenCV."""

import cv2
import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

import xaimed_core
from xaimed_core.explanation import Maps
from xaimed_core.localisation import LOCALISATION, THRESHOLDS, best_threshold, evaluate_localisation, ious

SIZES = ((1, 2), (5, 7), (33, 21))
KINDS = ("distinct", "zeros", "few values", "negative", "constant", "nothing")
TOLERANCES = (0, 1, 2.5, 15)


def maps_with(kind, size, count=6, dtype=np.float32):
    random = np.random.default_rng(0)
    values = random.random((count, *size))
    match kind:
        case "zeros":  # a ReLU's
            values = np.maximum(values - 0.7, 0)
        case "few values":
            values = np.floor(values * 3)
        case "negative":
            values = values * 2 - 1
        case "constant":
            values = np.full_like(values, 0.3)
        case "nothing":
            values = np.zeros_like(values)
    return torch.from_numpy(values.astype(dtype))


def lesions_of(size, count=6):
    """A single pixel, all but one, and boxes at random places; never empty and never everything."""
    random = np.random.default_rng(1)
    found = np.zeros((count, *size), dtype=bool)
    for i, lesion in enumerate(found):
        y, x = (random.integers(side) for side in size)
        lesion[y : y + 1 + i, x : x + 1 + 2 * i] = True
        if i == 1 or lesion.all():
            lesion[:] = True
            lesion[y, x] = False
    return torch.from_numpy(found)


def pointing(m, lesion, tolerance):
    pixels = [(y, x) for y in range(m.shape[0]) for x in range(m.shape[1])]
    top = [p for p in pixels if m[p] == m.max()]
    of_lesion = [p for p in pixels if lesion[p]]
    near = [any((y - a) ** 2 + (x - b) ** 2 <= tolerance**2 for a, b in of_lesion) for y, x in top]
    return sum(near) / len(top)


def mass(m, lesion):
    positive = np.maximum(m, 0)
    return positive[lesion].sum() / positive.sum() if positive.any() else lesion.mean()


def rank(m, lesion):
    """The mean over all ways to break ties: pixels above the last place, and a share of those at it."""
    k = lesion.sum()
    least = np.sort(m.ravel())[-k]
    above, ties = (m > least), (m == least)
    return (lesion[above].sum() + (k - above.sum()) * lesion[ties].mean()) / k


def iou(marked, lesion):
    return (marked & lesion).sum() / (marked | lesion).sum()


def at_threshold(m, lesion, threshold):
    return iou(m > np.float64(m.min()) + threshold * (np.float64(m.max()) - m.min()), lesion)


def otsu_level(m):
    """The level up to which all is background, by the variance between the parts, level by level."""
    levels = np.floor((m - m.min()) / (m.max() - m.min()) * 255)
    best, found = -1.0, None
    for level in range(255):
        low, high = levels[levels <= level], levels[levels > level]
        between = len(low) * len(high) * (low.mean() - high.mean()) ** 2
        if between > best * (1 + 1e-12):
            best, found = between, level
    return levels, found


def at_otsu(m, lesion):
    if m.min() == m.max():
        return 0.0
    levels, level = otsu_level(m)
    return iou(levels > level, lesion)


DEFINITIONS = {
    "pointing": lambda m, lesion: pointing(m, lesion, 15),
    "mass": mass,
    "rank": rank,
    "iou-otsu": at_otsu,
    "iou": lambda m, lesion: at_threshold(m, lesion, 0.5),
    "auprc": lambda m, lesion: average_precision_score(lesion.ravel(), m.ravel()),
    "auc": lambda m, lesion: roc_auc_score(lesion.ravel(), m.ravel()),
}


def defined(definition, maps, lesions):
    pairs = zip(maps.double().numpy(), lesions.numpy(), strict=True)
    return torch.tensor([float(definition(m, lesion)) for m, lesion in pairs])


def test_every_metric_has_a_definition_here():
    assert DEFINITIONS.keys() == LOCALISATION.keys()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", LOCALISATION)
def test_values_are_those_of_the_definition(name, kind, size, dtype):
    maps, lesions = maps_with(kind, size, dtype=dtype), lesions_of(size)
    found = evaluate_localisation(maps, lesions, metrics=name)
    assert found.reasons == ("",) * 6
    torch.testing.assert_close(found[name], defined(DEFINITIONS[name], maps, lesions), rtol=0, atol=1e-6)


@pytest.mark.parametrize("tolerance", TOLERANCES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_pointing_game_hits_within_a_disk(kind, tolerance):
    maps, lesions = maps_with(kind, (33, 21)), lesions_of((33, 21))
    expected = defined(lambda m, lesion: pointing(m, lesion, tolerance), maps, lesions)
    found = evaluate_localisation(maps, lesions, metrics="pointing", tolerance=tolerance)["pointing"]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_the_tolerance_is_a_distance_between_pixels():
    maps, lesions = torch.zeros(2, 40, 40), torch.zeros(2, 40, 40, dtype=torch.bool)
    maps[:, 30, 20] = 1
    lesions[0, 21, 8] = lesions[1, 18, 28] = True  # 9 and 12 pixels away: 15; 12 and 8: 14.4
    for tolerance, expected in ((15, [1, 1]), (14.5, [0, 1]), (14, [0, 0])):
        found = evaluate_localisation(maps, lesions, metrics="pointing", tolerance=tolerance)
        assert found["pointing"].tolist() == expected


@pytest.mark.parametrize("seed", range(5))
def test_otsus_threshold_is_opencvs(seed):
    random = np.random.default_rng(seed)
    m = np.concatenate([random.normal(0, 1, 300), random.normal(3, 0.5, 100)]).reshape(20, 20)
    m = (m - m.min()) / (m.max() - m.min())
    level, marked = cv2.threshold(np.uint8(255 * m), 0, 1, cv2.THRESH_OTSU)
    assert level == otsu_level(m)[1]
    whole = torch.from_numpy(marked == 1)[None]
    assert evaluate_localisation(torch.from_numpy(m)[None], whole)["iou-otsu"].item() == 1


@pytest.mark.parametrize("kind", KINDS)
def test_one_threshold_is_the_best_on_average(kind):
    maps, lesions = maps_with(kind, (33, 21)), lesions_of((33, 21))
    columns = [defined(lambda m, lesion, t=t: at_threshold(m, lesion, t), maps, lesions) for t in THRESHOLDS]
    expected = torch.stack(columns, 1)
    torch.testing.assert_close(ious(maps, lesions), expected, rtol=0, atol=1e-6)
    assert best_threshold(maps, lesions) == THRESHOLDS[int(expected.mean(0).argmax())]
    for threshold in THRESHOLDS:
        found = evaluate_localisation(maps, lesions, metrics=("iou",), threshold=threshold)["iou"]
        assert torch.equal(found, ious(maps, lesions, [threshold])[:, 0])


@pytest.mark.parametrize("name", LOCALISATION)
def test_a_perfect_map_scores_one_and_a_constant_map_what_knowing_nothing_does(name):
    lesions = lesions_of((33, 21))
    assert evaluate_localisation(lesions.float(), lesions)[name].tolist() == [1.0] * 6
    share = lesions.float().mean((1, 2))
    expected = {"iou": 0 * share, "iou-otsu": 0 * share, "auc": 0 * share + 0.5}.get(name, share)
    found = evaluate_localisation(torch.ones(6, 33, 21), lesions, tolerance=0)[name]
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("name", ["pointing", "rank", "iou-otsu", "iou", "auprc", "auc"])
def test_neither_scale_nor_offset_of_a_map_matters(name):
    maps, lesions = maps_with("distinct", (33, 21), dtype=np.float64), lesions_of((33, 21))
    found = evaluate_localisation(maps * 8 - 4, lesions)[name]
    assert torch.equal(found, evaluate_localisation(maps, lesions)[name])


def test_a_lesion_or_map_that_cannot_be_scored_has_a_reason_and_costs_no_other_its_score():
    maps, lesions = maps_with("distinct", (5, 7)), lesions_of((5, 7))
    alone = evaluate_localisation(maps[5:], lesions[5:])
    lesions[0], lesions[1] = False, True
    maps[2, 1, 1], maps[3, 0, 0] = torch.nan, torch.inf
    lesions[4] = False
    maps[4] = torch.nan
    found = evaluate_localisation(maps, lesions)
    empty, nan = "its lesion is empty", "its map holds NaN or infinity, which cannot be ranked"
    assert found.reasons == (empty, "its lesion covers the whole image", nan, nan, empty, "")
    for name, values in found.items():
        assert values[:5].isnan().all()
        assert torch.equal(values[5:], alone[name])
    assert ious(maps, lesions)[:5].isnan().all()
    assert best_threshold(maps, lesions) == best_threshold(maps[5:], lesions[5:])
    assert "over 1 of 6 images" in repr(found)
    with pytest.raises(ValueError, match="no lesion can be scored"):
        best_threshold(maps[:5], lesions[:5])
    assert evaluate_localisation(maps[:2], lesions[:2])["auc"].isnan().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_maps_are_read_as_they_are(dtype):
    maps, lesions = maps_with("distinct", (33, 21)).to(dtype), lesions_of((33, 21))
    found, expected = (evaluate_localisation(m, lesions) for m in (maps, maps.float()))
    assert all(torch.equal(found[name], expected[name]) for name in LOCALISATION)


def test_explanations_maps_and_arrays_are_taken():
    maps, lesions = maps_with("distinct", (5, 7)), lesions_of((5, 7))
    expected = evaluate_localisation(maps, lesions)["auc"]
    held = Maps({"layercam": maps, "xgradcam": maps.flip(0)}, None)
    for given in (maps.numpy(), maps.requires_grad_(), Maps({"layercam": maps}, None)):
        assert torch.equal(evaluate_localisation(given, lesions.numpy())["auc"], expected)
    assert torch.equal(evaluate_localisation(held, lesions, method="layercam")["auc"], expected)
    with pytest.raises(ValueError, match=r'which maps.*give method="..."'):
        evaluate_localisation(held, lesions)


MAPS, LESIONS = torch.zeros(2, 5, 7), torch.zeros(2, 5, 7, dtype=torch.bool)
WRONG = {
    "larger maps": (torch.zeros(2, 10, 14), LESIONS, {}, "one per image and of its size, got .*interpolate"),
    "a map too few": (MAPS[:1], LESIONS, {}, r"got \[1, 5, 7\]; one map for all of 2 images"),
    "a channel axis": (MAPS[:, None], LESIONS, {}, r"drop the channel axis with maps\[:, 0\]"),
    "maps of integers": (MAPS.long(), LESIONS, {}, r"maps must be real numbers.*maps.float\(\)"),
    "lesions of numbers": (MAPS, LESIONS.byte(), {}, "lesions must be bool.*lesions > 0"),
    "a lesion alone": (MAPS[0], LESIONS[0], {}, r"lesions must be \[n, h, w\], got \(5, 7\)"),
    "lesions' channels": (MAPS, LESIONS[:, None], {}, r"lesions\[:, 0\]"),
    "no lesion": (MAPS[:0], LESIONS[:0], {}, r"lesions must be \[n, h, w\], got \(0, 5, 7\)"),
    "another metric": (
        MAPS,
        LESIONS,
        {"metrics": "dice"},
        "no localisation metric 'dice'; they are pointing",
    ),
    "a metric too many": (MAPS, LESIONS, {"metrics": ("auc", 3)}, "no localisation metric 3"),
    "a negative tolerance": (MAPS, LESIONS, {"tolerance": -1}, "tolerance must be a number of pixels"),
    "no threshold": (MAPS, LESIONS, {"threshold": 50}, "thresholds must be parts of a map's range"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_cannot_be_scored_is_refused_in_one_sentence(what):
    maps, lesions, options, words = WRONG[what]
    with pytest.raises(ValueError, match=words) as caught:
        evaluate_localisation(maps, lesions, **options)
    assert "\n" not in str(caught.value)


def test_paths_are_no_lesions():
    with pytest.raises(TypeError, match="lesions must be a tensor"):
        evaluate_localisation(MAPS, "masks/")


def test_the_package_lends_it():
    assert xaimed_core.evaluate_localisation is evaluate_localisation
    assert xaimed_core.LOCALISATION is LOCALISATION
    assert xaimed_core.best_threshold is best_threshold
