import numpy as np
import pytest

from simenv.render import PALETTE, diverging, qualitative


def test_qualitative_repeats_the_palette():
    """Equal labels have equal colours, and label 8 that of label 0."""
    np.testing.assert_array_equal(qualitative([0, 8, 3, -1]), PALETTE[[0, 0, 3, 7]])
    assert qualitative([]).shape == (0, 3)


def test_palette_colors_stay_apart_without_red_or_green_vision():
    """Seen with one cone type missing, any two colours still differ visibly."""
    # Linear-light simulations of protanopia and deuteranopia (Vienot, Brettel and Mollon, 1999).
    protan = [[0.11238, 0.88762, 0.0], [0.11238, 0.88762, 0.0], [0.00401, -0.00401, 1.0]]
    deutan = [[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]]
    for matrix in (np.eye(3), np.array(protan), np.array(deutan)):
        seen = np.clip(PALETTE**2.2 @ matrix.T, 0, 1) ** (1 / 2.2)
        gaps = np.linalg.norm(seen[:, None] - seen[None], axis=2) + 9 * np.eye(len(seen))
        assert gaps.min() > 0.2


def test_diverging_is_blue_pale_and_red():
    """The ends are saturated, the middle is pale, outside is clipped, NaN is grey."""
    low, middle, high, beyond, missing = diverging([-1, 0, 1, 7, np.nan])
    assert low[2] > low[0] + 0.3
    assert high[0] > high[2] + 0.3
    assert middle.min() > 0.85
    np.testing.assert_array_equal(beyond, high)
    assert len(set(missing)) == 1


def test_diverging_is_continuous():
    """Neighbouring values have neighbouring colours."""
    assert np.abs(np.diff(diverging(np.linspace(-1, 1, 401)), axis=0)).max() < 0.01


def test_wrong_shapes_are_named():
    """Both helpers say what they wanted and what they got."""
    with pytest.raises(ValueError, match=r"labels must be integers of shape \(P,\)"):
        qualitative([0.5])
    with pytest.raises(ValueError, match=r"values must have shape \(P,\), got \(1, 1\)"):
        diverging([[0.0]])
