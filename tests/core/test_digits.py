import pytest

from framework.core.digits import brief, kept, rounded


def test_a_file_name_and_an_image_round_the_same_number():
    # 379 of 400 in float32
    value = 0.9474999904632568
    assert f"{value:.3f}" == "0.947"
    assert kept(value) == 0.9475
    assert f"{kept(value):.3f}" == rounded(kept(value)) == "0.948"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.8125, "0.812"),
        (466330528.0, "4.66e+08"),
        (0.0004, "0.0004"),
        (1e-17, "0.000"),
        (0.0, "0.000"),
        (221114, "221,114"),
        (None, "–"),
        (-0.5, "-0.500"),
    ],
)
def test_one_way_of_rounding(value, text):
    assert rounded(value) == text


def test_a_difference_has_its_sign():
    assert rounded(0.01, sign=True) == "+0.010"


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ((0.0031622776601683794,), ["0.003162"]),
        ((0.0031622776601683794, 0.01, 1e-05), ["0.003162", "0.01", "1e-05"]),
        # as many digits as tell two apart, for these two alone
        ((0.012345, 0.0123456, 0.98765432), ["0.012345", "0.012346", "0.9877"]),
        ((0.1 + 0.2, 0.3), ["0.30000000000000004", "0.3"]),
        ((12345678, 1000.0, "words 0.123456", None, True), ["12345678", "1000", "'words 0.123456'", "null", "true"]),
    ],
)
def test_searched_values_are_short_and_never_alike(values, texts):
    assert list(brief(values).values()) == texts
