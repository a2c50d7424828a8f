"""What a search has found, as ``search.json`` in the sweep's folder: every trial, the best, and how much each key matters.

Comparisons read that file; none of them needs Optuna.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from framework.core.digits import is_number
from framework.core.files import write_whole
from framework.reports.search import FILE, FORMAT
from framework.sweeps.study import FOLDER, VALUES, Study

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

FEWEST = 10  # trials that a forest can be grown of


def write(study: Study) -> dict[str, Any]:
    """Write what the study has found by now; gives back what was written."""
    import optuna

    finished = study.study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    told = {
        "format": FORMAT,
        "study": study.study.study_name,
        "sampler": study.search.settings.name,
        "keys": [_key(one) for one in study.space.dimensions],
        "objectives": [{"column": one.column, "higher": one.higher} for one in study.search.objectives],
        "trials": [_trial(trial) for trial in study.trials() if trial.state.is_finished()],
        "best": sorted({trial.user_attrs.get(FOLDER, "") for trial in study.study.best_trials}) if finished else [],
        "importance": [
            {"column": one.column, **_importance(study, finished, place)}
            for place, one in enumerate(study.search.objectives)
        ],
    }
    write_whole(Path(study.request.folder, FILE), json.dumps(told, indent=1, ensure_ascii=False) + "\n")
    return told


def _key(dimension: Any) -> dict[str, Any]:
    numeric = hasattr(dimension, "log")
    return {"key": dimension.name, "numeric": numeric, "log": numeric and dimension.log}


def _trial(trial: FrozenTrial) -> dict[str, Any]:
    return {
        "folder": trial.user_attrs.get(FOLDER),
        "state": trial.state.name.lower(),
        "results": [value if is_number(value) else None for value in trial.values or ()],
        "values": trial.user_attrs.get(VALUES, {}),
    }


def _importance(study: Study, finished: Sequence[FrozenTrial], place: int) -> dict[str, Any]:
    """Each key's share of what the objective varies by, or a sentence why it can't be told.

    Source: Hutter et al., 2014, functional ANOVA, https://proceedings.mlr.press/v32/hutter14.html.
    """
    common = [name for name in study.space.names if all(name in trial.params for trial in finished)]
    varying = [name for name in common if len({str(trial.params[name]) for trial in finished}) > 1]
    rest = [name for name in study.space.names if name not in varying]
    why = ""
    if len(finished) < FEWEST:
        why = f"it takes {FEWEST} finished trials"
    elif len({trial.values[place] for trial in finished}) == 1:
        why = "all trials are equally good"
    elif not varying:
        why = "no key varies in all trials"
    if why:
        return {"shares": {}, "why_not": why, "rest": []}
    # not before: it imports scikit-learn
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    shares = get_param_importances(
        study.study,
        evaluator=FanovaImportanceEvaluator(seed=0),
        params=varying,
        target=lambda trial: trial.values[place],
    )
    return {"shares": {name: round(float(share), 4) for name, share in shares.items()}, "why_not": "", "rest": rest}
