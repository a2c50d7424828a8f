"""The notebooks, run from a clean kernel: to see that they work, and to write their outputs anew.

    python -m docs.notebooks.make FOLDER

runs clothing.ipynb in FOLDER and keeps its outputs. Where that holds ``clothing``, the course's photos, and
``mobilenet_2_5_224_tf_no_top.h5``, it is done on these, else on the drawn garments; no photo is kept with the outputs,
for they are not the project's. Needs nbclient and ipykernel.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CLONE = HERE.parents[1]
NOTEBOOK = HERE / "clothing.ipynb"
MOST_SECONDS = 1800  # that a cell may take


def execute(folder: Path) -> Any:
    """The notebook with its outputs, run in this folder; raises what a cell raises."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = NotebookClient(notebook, timeout=MOST_SECONDS, kernel_name="python3", coalesce_streams=True)
    path = os.pathsep.join([str(CLONE), *filter(None, [os.environ.get("PYTHONPATH")])])
    client.execute(cwd=str(folder), env={**os.environ, "PYTHONPATH": path})
    return notebook


def main() -> None:
    """Run it and write it, without what only this machine knows."""
    import nbformat

    folder = Path(sys.argv[1]).resolve()
    notebook = execute(folder)
    notebook.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            # bars that are gone leave an empty output each
            cell.outputs = [one for one in cell.outputs if one.get("data") != {"text/plain": ""}]
            for one in cell.outputs:
                if (folder / "clothing").exists():
                    one.get("data", {}).pop("image/png", None)
    text = nbformat.writes(notebook).replace(f"{folder}/", "").replace(f"{sys.executable} -m", "python -m")
    text = re.sub(r"\\u001b\[[0-9;]*[mK]", "", text)  # colours of a terminal
    NOTEBOOK.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
