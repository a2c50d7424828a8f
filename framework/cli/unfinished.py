"""Going on with a run that has not ended: named by ``resume=RUN_FOLDER``, or found by its command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from framework.cli.typed import in_full
from framework.config.data_only import overrides_of_run
from framework.config.documents import read
from framework.config.folders import conf_folder
from framework.core.console import say
from framework.core.errors import BadInput, Problem
from framework.core.files import is_locked
from framework.core.runs import RunFolder, refuse_made
from framework.core.schema import whole_path

OPTION = "resume="
RUN_DIR = "hydra.run.dir="


def take_resume(arguments: Sequence[str]) -> list[str]:
    """Arguments with ``resume=RUN_FOLDER`` replaced by what that run was begun with, and its folder.

    Raises:
        BadInput: the folder holds no run.
    """
    named = [argument for argument in arguments if argument.startswith(OPTION)]
    rest = [argument for argument in arguments if not argument.startswith(OPTION)]
    if not named:
        return rest
    folder = Path(whole_path(named[-1].removeprefix(OPTION).strip("'\""))).resolve()
    if not folder.is_dir():
        raise BadInput(Problem(f"there is no run folder {folder}", f"command line: {named[-1]}"))
    run = RunFolder(folder)
    refuse_made(run, named[-1])
    typed = overrides_of_run(run.read_run().get("overrides"), run.run_json)
    # one of a sweep goes on alone, and here
    begun = [override for override in typed if not override.startswith(("compute", "sweep."))]
    given = {override.partition("=")[0].lstrip("+~") for override in rest}
    return [*(one for one in begun if one.partition("=")[0].lstrip("+~") not in given), *rest, f"{RUN_DIR}'{folder}'"]


def find_unfinished(overrides: Sequence[str]) -> Path | None:
    """The folder of the newest run that this very command line has begun and not ended.

    Only where the folder's name is left to the default, which has the time in it; elsewhere the folder is the same
    anyway.
    """
    if any(override.lstrip("+").startswith(RUN_DIR) for override in overrides):
        return None
    wanted = [in_full(override) for override in overrides if not override.startswith("resume.")]
    default = read(conf_folder() / "train.yaml").content["hydra"]["run"]["dir"]
    for path in sorted(Path(default).parent.glob("*/state.npz"), reverse=True):
        folder = RunFolder(path.parent.resolve())
        try:
            run = folder.read_run()
        except BadInput:
            continue
        noted, status = run.get("overrides"), str(run.get("status"))
        begun = [str(one) for one in noted] if isinstance(noted, list) else []
        begun = [in_full(one) for one in begun if not one.startswith(("hydra.", "resume."))]
        if status not in ("finished", "failed") and begun == wanted and not is_locked(folder.lock):
            say(f"going on with {path.parent}, which was {status.replace('running', 'cut off')}")
            return folder.path
    return None
