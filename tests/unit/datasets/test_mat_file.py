"""MATLAB's files as scipy writes them, and what is no such file."""

import io

import numpy as np
import pytest
from scipy.io import savemat

from m3d_cli.datasets.mat_file import numeric_arrays

ARRAYS = {
    "doubles": np.array([[1.5, 2.5], [3.5, 4.5]]),
    "n": np.array([[7]], np.uint8),
    "a_long_name_of_an_array": np.arange(1000, dtype=np.int32)[:, None],
}


def written(packed: bool, **more: object) -> bytes:
    buffer = io.BytesIO()
    savemat(buffer, {**ARRAYS, **more}, do_compression=packed)
    return buffer.getvalue()


@pytest.mark.parametrize("packed", [False, True])
def test_arrays_come_back_column_by_column(packed: bool) -> None:
    found = numeric_arrays(written(packed, cell=np.array([["x"]], dtype=object), record={"a": 1}))
    assert ARRAYS.keys() <= found.keys()
    for name, values in ARRAYS.items():
        np.testing.assert_array_equal(found[name], values.ravel(order="F"))


@pytest.mark.parametrize("data", [b"", b"no mat", written(False)[:-9], written(True)[:-9], written(False) + bytes(8)])
def test_what_is_no_whole_file_is_refused(data: bytes) -> None:
    with pytest.raises((ValueError, OSError)):
        numeric_arrays(data)


def test_an_array_that_unpacks_to_gigabytes_is_refused() -> None:
    with pytest.raises(ValueError, match="larger than"):
        numeric_arrays(written(True, zeros=np.zeros((3000, 3000))))
