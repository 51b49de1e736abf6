from pathlib import Path

import pytest
from coursework.tiny import write_chapter

from flowlib.coursework import exercises


@pytest.fixture(scope="session")
def chapter(tmp_path_factory) -> Path:
    folder = write_chapter(tmp_path_factory.mktemp("book") / "chapters" / "04_tiny")
    exercises.write(folder)
    return folder
