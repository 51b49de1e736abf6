from collections.abc import Iterator

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest
from matplotlib.axes import Axes

mpl.use("Agg")


@pytest.fixture(autouse=True)
def _no_figures_left() -> Iterator[None]:
    plt.close("all")  # of tests elsewhere, in the same process
    yield
    plt.close("all")


@pytest.fixture
def ax(_no_figures_left: None) -> Axes:
    return plt.subplots()[1]
