"""What every benchmark shares."""

import pytest

from benchmarks.measure import needs


def test_what_is_missing_is_told_in_one_line():
    needs("json", "numpy")
    with pytest.raises(SystemExit) as error:
        needs("numpy", "no_such_package")
    assert error.value.code == "this benchmark needs no_such_package: pip install -e '.[bench]'"
