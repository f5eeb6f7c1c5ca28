"""Tests of leaving aside what is set for new tensors."""

import pytest
import torch

from sklearn_l2cnn._utils.defaults import usual_defaults


def world():
    return (
        torch.empty(0).device,
        torch.get_default_dtype(),
        torch.is_autocast_enabled("cpu"),
    )


USUAL = torch.device("cpu"), torch.float32, False


@pytest.mark.parametrize("raises", [False, True])
def test_all_defaults_are_left_aside_and_come_back(raises):
    other = torch.device("meta"), torch.float64, True
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"), torch.autocast("cpu"):
            assert world() == other
            try:
                with usual_defaults():
                    assert world() == USUAL
                    if raises:
                        raise KeyError
            except KeyError:
                assert raises
            assert world() == other
    finally:
        torch.set_default_dtype(torch.float32)
    assert world() == USUAL
    with usual_defaults():
        assert world() == USUAL
