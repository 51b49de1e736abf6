"""How pytest runs the notebooks.

Exercises are not run here: their stubs raise on purpose, and tests/chapters runs each against its check.
"""

collect_ignore_glob = ["chapters/*/exercises.ipynb", "chapters/*/checks.py"]

try:
    from nbval.kernel import RunningKernel
except ImportError:  # unit tests need no nbval
    pass
else:

    def execute_cell_input(self, cell_input, allow_stdin=None):
        """Run a cell as a front end does: nbval's own way drops a trailing ';' and shows the value it hides."""
        return self.kc.execute(cell_input, store_history=True, allow_stdin=allow_stdin, stop_on_error=False)

    RunningKernel.execute_cell_input = execute_cell_input
