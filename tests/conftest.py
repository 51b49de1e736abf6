"""What every test shares: float64 for laws, signatures checked by beartype except where bad input is the point."""

import pytest
import torch
from jaxtyping import config


@pytest.fixture
def float64():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.fixture
def unchecked():
    """Switch off the shape checks of the test run, so that the message a user would see comes through."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)
