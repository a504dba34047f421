"""Tiles of ``gradient_maps`` hold every position once, in pieces that the kernel can have, for any size."""

import pytest

from xaimed_kernels.gradient_maps.launch import LARGEST, Tile, tile_across, tile_along
from xaimed_kernels.launching import power_of_two

POSITIONS = (*range(1, 260), 784, 1000, 1023, 1024, 3136, 4097, 12544, LARGEST)


def tiles(positions: int, channels: int, formulas: int) -> list[Tile]:
    found = [tile_along(positions, channels, formulas)]
    if 1 < positions <= 1024:
        found += [tile_across(positions, channels, formulas, narrow=narrow) for narrow in (False, True)]
    return found


@pytest.mark.parametrize("formulas", [1, 3, 7])
@pytest.mark.parametrize("channels", [1, 3, 24, 2048])
def test_pieces_are_powers_of_two_that_end_in_the_row_where_positions_end(channels, formulas) -> None:
    for positions in POSITIONS:
        for tile in tiles(positions, channels, formulas):
            pieces = tile.pieces(positions)
            row = 0
            for first, rows, cut in pieces:
                assert first == row
                assert rows == power_of_two(rows)
                row += rows
                assert cut == (row * tile.lanes > positions)
            assert (row - 1) * tile.lanes < positions <= row * tile.lanes


@pytest.mark.parametrize("formulas", [1, 3, 7])
@pytest.mark.parametrize("channels", [1, 3, 24, 2048])
def test_threads_hold_no_more_values_than_their_registers(channels, formulas) -> None:
    most = 32 if formulas <= 4 else 16
    for positions in POSITIONS:
        for tile in tiles(positions, channels, formulas):
            held = tile.rows * tile.channels * tile.lanes / (32 * tile.warps)
            assert held <= most, (positions, tile)
            assert tile.channels <= power_of_two(channels)


@pytest.mark.parametrize("side", [7, 14, 28, 56, 112])
def test_layers_of_halved_images_leave_an_eighth_of_a_tile_empty_at_most(side) -> None:
    for tile in tiles(side * side, 512, 3):
        assert tile.rows * tile.lanes <= side * side * 8 / 7


def test_channels_last_reads_whole_sectors() -> None:
    for positions in range(2, 1025):
        assert tile_across(positions, 512, 3, narrow=True).channels * 2 >= 32
        assert tile_across(positions, 512, 3, narrow=False).channels * 4 >= 32
