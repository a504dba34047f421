"""What a notebook shows of an explanation."""

import pytest

from xaimed_core import explain


def test_an_explanation_is_summarised_not_printed(net, images):
    found = explain(net, images, ("xgradcam", "gradcam++"), "block")
    assert repr(found) == "Explanation(3 images of 20x24, layer block, methods xgradcam, gradcam++)"
    assert found._repr_html_().count("<tr>") == 3


def test_the_figure_has_a_row_per_image_and_a_column_per_method(net, images, tmp_path):
    found = explain(net, images, ("xgradcam", "gradcam++"), "block")
    figure = found.show(images)
    assert len(figure.axes) == 3 * 3
    assert [axis.get_title() for axis in figure.axes[:3]] == ["image", "xgradcam", "gradcam++"]
    figure.savefig(tmp_path / "maps.png")
    assert (tmp_path / "maps.png").stat().st_size > 1000


def test_an_empty_map_is_marked(net, images):
    with pytest.warns(UserWarning, match="every layercam map is empty: the score's gradient is exactly 0"):
        found = explain(net, images, "layercam", "block", targets=lambda row: 0 * row.sum())
    assert found.empty["layercam"].all()
    assert [axis.texts[0].get_text() for axis in found.show(images).axes[1::2]] == ["empty"] * 3


def test_other_images_are_refused(net, images):
    found = explain(net, images, "xgradcam", "block")
    with pytest.raises(ValueError, match="show the images that were explained"):
        found.show(images[:2])
