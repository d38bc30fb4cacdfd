"""From stored columns to the model's input."""

from __future__ import annotations

import numpy as np
import pytest

from curvcli.errors import DataError

IMAGES = np.arange(2 * 3 * 4 * 3, dtype=np.uint8).reshape(2, 3, 4, 3)
Y = np.arange(2)


def only(samples) -> np.ndarray:
    (batch,) = samples.batches(100)
    assert batch.inputs["x"].shape[1:] == samples.input_shapes["x"]
    return batch.inputs["x"]


@pytest.fixture
def image(open_spec, save):
    """The input made of IMAGES by the given steps."""

    def image_(steps: str) -> np.ndarray:
        save(x=IMAGES, y=Y)
        return only(open_spec(x=f'column = "x"\n{steps}'))

    return image_


def test_integers_stay_as_they_are_without_arithmetic(image):
    x = image("")
    assert x.dtype == np.uint8
    np.testing.assert_array_equal(x, IMAGES)


def test_scale_makes_float64(image):
    x = image("scale = 0.5")
    assert x.dtype == np.float64
    np.testing.assert_array_equal(x, IMAGES * 0.5)


def test_stored_float32_becomes_float64(open_spec, save):
    save(x=np.float32([0.1, 0.2]), y=Y)
    assert only(open_spec()).dtype == np.float64


def test_mean_and_std_follow_scale(image):
    np.testing.assert_allclose(image("scale = 0.5\nmean = 3\nstd = 2"), (IMAGES * 0.5 - 3) / 2)


def test_mean_and_std_per_channel_follow_the_last_axis(image):
    x = image("mean = [1, 2, 3]\nstd = [1, 2, 4]")
    np.testing.assert_allclose(x[..., 2], (IMAGES[..., 2] - 3.0) / 4)


def test_channels_are_the_axis_that_the_layout_calls_c(open_spec, save):
    save(x=IMAGES.transpose(0, 3, 1, 2), y=Y)
    x = only(open_spec(x='column = "x"\nmean = [1, 2, 3]\nlayout = "NCHW->NCHW"'))
    np.testing.assert_allclose(x[:, 1], IMAGES[..., 1] - 2.0)


def test_layout_permutes_after_mean(image):
    x = image('mean = [1, 2, 3]\nlayout = "NHWC->NCHW"')
    np.testing.assert_allclose(x, (IMAGES - np.array([1.0, 2, 3])).transpose(0, 3, 1, 2))
    assert x.flags.c_contiguous


def test_layout_without_the_samples_axis_means_the_same(image):
    np.testing.assert_array_equal(image('layout = "HWC->CHW"'), IMAGES.transpose(0, 3, 1, 2))


def test_shape_comes_before_layout(open_spec, save):
    save(x=IMAGES.reshape(2, -1), y=Y)
    x = only(open_spec(x='column = "x"\nshape = [3, 4, 3]\nlayout = "HWC->CHW"'))
    np.testing.assert_array_equal(x, IMAGES.transpose(0, 3, 1, 2))


def test_shape_may_leave_one_axis_free(image):
    assert image("shape = [-1, 9]").shape == (2, 4, 9)


def test_an_empty_shape_makes_single_numbers(open_spec, save):
    save(x=np.ones((2, 1)), y=Y)
    assert only(open_spec(x='column = "x"\nshape = []')).shape == (2,)


def test_dtype_is_the_last_step(image):
    assert image('scale = 0.1\ndtype = "float32"').dtype == np.float32


def test_columns_of_single_numbers_are_joined_to_a_vector(open_spec, save):
    save(a=np.array([1, 2]), b=np.array([0.5, 0.25]), y=Y)
    np.testing.assert_array_equal(only(open_spec(x='columns = ["b", "a"]')), [[0.5, 1], [0.25, 2]])


def test_columns_are_joined_along_the_last_axis(open_spec, save):
    save(a=IMAGES, b=IMAGES[..., :1], y=Y)
    x = only(open_spec(x='columns = ["a", "b"]'))
    np.testing.assert_array_equal(x, np.concatenate([IMAGES, IMAGES[..., :1]], axis=-1))


def test_columns_that_differ_in_another_axis_are_refused(open_spec, save):
    save(a=IMAGES, b=IMAGES[:, :2], y=Y)
    with pytest.raises(DataError, match=r"column 'b' has shape \(2, 4, 3\) per sample, 'a' has \(3, 4, 3\)"):
        open_spec(x='columns = ["a", "b"]')


@pytest.mark.parametrize("shape", ["[3, 4]", "[-1, 7]", "[37]"])
def test_a_shape_that_does_not_hold_a_sample_is_refused(image, shape):
    with pytest.raises(
        DataError, match=r"inputs\.x: shape .* does not hold one sample of d\.npz: column 'x'.*36 values"
    ):
        image(f"shape = {shape}")


def test_a_layout_of_other_axes_than_the_data_is_refused(image):
    with pytest.raises(DataError, match=r"inputs\.x: layout 'NHW->NWH' names 2 axes besides N; .*\(3, 4, 3\)"):
        image('layout = "NHW->NWH"')


def test_a_mean_of_other_length_than_the_channels_is_refused(image):
    with pytest.raises(DataError, match=r"inputs\.x: mean has 2 entries, .* axis 2 has 3"):
        image("mean = [1, 2]")


def test_a_mean_per_channel_of_single_numbers_is_refused(open_spec, save):
    save(x=np.ones(2), y=Y)
    with pytest.raises(DataError, match="a sample is a single number"):
        open_spec(x='column = "x"\nmean = [1, 2]')


@pytest.mark.parametrize(
    ("values", "dtype"),
    [([1.0, 1.5], "int64"), ([0.0, 3e9], "int32"), ([0.0, 2.0**63], "int64"), ([0.0, 1e39], "float32")],
)
def test_values_that_do_not_fit_dtype_are_refused_with_their_row(open_spec, save, values, dtype):
    save(x=np.array(values), y=Y)
    with pytest.raises(DataError, match=f"d.npz: column 'x', row 1: .* does not fit {dtype}"):
        only(open_spec(x=f'column = "x"\ndtype = "{dtype}"'))


def test_arithmetic_that_overflows_is_refused_with_its_row(open_spec, save):
    save(x=np.array([1.0, 1e300]), y=Y)
    with pytest.raises(DataError, match="after scale, mean and std, row 1: an infinite value"):
        only(open_spec(x='column = "x"\nscale = 1e10'))
