"""Every network of the table: its maps are those of float64, and where no layer is given the right one is chosen."""

import pytest
import torch

from tests.families.measured import explained, images_of, measure, model_of
from tests.families.page import line_of, shown, without_error
from tests.families.table import TABLE, Row
from xaimed_core.admission import admit_model
from xaimed_core.anatomy import layers_of

# untrained weights: a class may find no evidence in favour; what is tested is the raw map, which has signs
pytestmark = [
    pytest.mark.filterwarnings("ignore:every .* map is empty:UserWarning"),
    pytest.mark.filterwarnings(
        "ignore:.* by each channel's sum:UserWarning"
    ),  # some layers lie before a ReLU
    # torch moves these to another package; networks that people have were quantised with them
    pytest.mark.filterwarnings("ignore:torch.ao.quantization is deprecated"),
    pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor, torch.quantize_per_channel"),
]

CLOSE, NO_CLOSER = 1e-4, 1e-3
"""The error that is allowed, and the one where plain float32 torch itself is about as far from float64 as that."""

CHOSEN = [row for row in TABLE if row.chosen]
READ = [row for row in TABLE if row.layout is not None]


@pytest.fixture(autouse=True)
def _installed(row: Row) -> None:
    for package in row.needs:
        pytest.importorskip(package, reason=f"{package} is not installed; it comes with the dev extra")


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_a_familys_maps_are_those_of_float64(row: Row):
    found, errors = measure(row)
    assert set(found.maps) == set(row.methods) == set(errors)
    for method, error in errors.items():
        allowed = NO_CLOSER if error.plain > CLOSE / 2 else CLOSE
        assert error.found <= allowed, f"{method}: {error}"


@pytest.mark.parametrize("row", CHOSEN, ids=str)
def test_the_layer_that_is_chosen_lies_on_the_way_to_the_score_and_holds_places(row: Row):
    layout = None if row.layout is None else "infer"
    model = model_of(row)
    found = explained(row, model, layer=None, layout=layout, methods=("xgradcam",))
    assert found.layer == row.chosen
    layers = layers_of(admit_model(model)[0], images_of(row), row.output)
    assert [layer.activation for layer in layers if layer.name == row.chosen] == [""]
    assert f"layer {row.chosen} chosen" in str(found.route["xgradcam"].remarks)
    assert found.raw["xgradcam"].any()


@pytest.mark.parametrize("row", READ, ids=str)
def test_an_inferred_layout_is_the_tables(row: Row):
    expected, _ = measure(row)
    methods = ("xgradcam", "eigencam")
    found = explained(row, model_of(row), layer=row.layer, layout="infer", methods=methods)
    for method in methods:
        assert torch.equal(found.maps[method], expected.maps[method])


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_the_page_shows_what_is_measured(row: Row):
    line, error = without_error(shown()[TABLE.index(row)])
    assert line == without_error(line_of(row))[0]
    assert 0 <= error <= NO_CLOSER
    assert len(shown()) == len(TABLE)
