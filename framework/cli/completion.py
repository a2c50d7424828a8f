"""Tab completion of every command: what can follow the words typed so far.

What takes long to find out, names and types of all options, is found out once, at the first Tab, and kept in the user's
cache folder until the package or its configs change. What changes by itself, run folders and recipes, is looked up each
time. So this module imports nothing heavy by itself.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import framework
from framework.core.files import cache_folder, write_whole

# commands that take what framework-train takes
TRAINING = ("train", "auto", "check", "plan", "lr_find", "augment", "embed", "doctor", "benchmark")
# options that lead to runs, and what else they take
RUNS: dict[str, list[str]] = {"run": ["latest"], "runs": [], "sweep": [], "from": [], "resume": []}
OF_TRAINING: dict[str, list[str]] = {"from": [], "resume": [], "recipe": [], "recipes": []}
WORDS = {
    "recipe": ["new", "list", "check", "copy"],
    "cache": ["list", "verify", "clear"],
    "complete": ["bash", "zsh", "fish"],
}
# what a shell evaluates, and how it says which scripts are meant; "query" gets the line up to the cursor
SHELLS = {
    "bash": """# Tab completion of the framework's commands: eval "$(framework-complete bash)"
_framework_complete() {
    local line=${COMP_LINE:0:COMP_POINT} reply
    COMPREPLY=()
    while IFS= read -r reply; do
        COMPREPLY+=("$reply")
    done < <("${1%framework*}framework-complete" query "$line" 2>/dev/null)
    [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *[=/.] ]] && compopt -o nospace
}
complete -o default -o bashdefault -F _framework_complete NAMES""",
    "zsh": """# Tab completion of the framework's commands: eval "$(framework-complete zsh)"
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
_framework_complete() {
    local line="${(j: :)words[1,CURRENT-1]} $PREFIX"
    local -a replies
    replies=(${(f)"$(COMP_WORDBREAKS= "${words[1]%framework*}framework-complete" query "$line" 2>/dev/null)"})
    (( $#replies )) || { _files; return }
    compadd -S '' -- ${(M)replies:#*[=/.]}
    compadd -- ${replies:#*[=/.]}
}
compdef _framework_complete NAMES""",
    "fish": """# Tab completion of the framework's commands: framework-complete fish | source
function __framework_complete
    set -l words (commandline -opc) (commandline -ct)
    set -l script (string replace -r 'framework[^/]*$' framework-complete -- $words[1])
    set -l replies (env COMP_WORDBREAKS= $script query (string join ' ' -- $words) 2>/dev/null)
    if set -q replies[1]
        printf '%s\\n' $replies
    else
        __fish_complete_path (commandline -ct)
    end
end
for name in NAMES
    complete -c $name -f -a '(__framework_complete)'
end""",
}

Known = Mapping[str, Mapping[str, Any]]


def script(shell: str, names: Iterable[str]) -> str:
    """What a shell evaluates: one function for all scripts; where it has no answer, the shell offers files."""
    scripts = ["framework", *(f"framework-{name.replace('_', '-')}" for name in names)]
    return SHELLS[shell].replace("NAMES", " ".join(scripts))


def answers(line: str, names: Iterable[str], breaks: str = "=") -> list[str]:
    """What can stand in place of the word that the line ends with.

    Args:
        line: as it was typed, up to the cursor.
        names: of all commands.
        breaks: signs that the shell takes for the end of a word: an answer begins behind the last of them.
    """
    *before, word = _words(line)
    if not before:
        return []
    name = Path(before[0]).name.removeprefix("framework").lstrip("-").replace("-", "_")
    if not name:
        if len(before) == 1:
            return [one.replace("_", "-") for one in names if one.replace("_", "-").startswith(word)]
        name = before[1].replace("-", "_")
    if name not in names:
        return []
    found = sorted(one for one in _possible(name, word, before) if one.startswith(word))
    cut = max((word.rfind(sign) for sign in breaks), default=-1) + 1
    return [one[cut:] for one in dict.fromkeys(found)]


def _words(line: str) -> list[str]:
    """Words as a shell parts them, quotes left as they are; the last one is empty behind a blank."""
    return [word for word in line.split(" ")[:-1] if word] + line.split(" ")[-1:]


def _possible(name: str, word: str, before: list[str]) -> Iterator[str]:
    """Words that a command could take, those that do not begin right among them."""
    known = _known()[name]
    key, equals, value = word.partition("=")
    plain = key.lstrip("+~")
    if not equals:
        yield from (f"{key[: len(key) - len(plain)]}{one}=" for one in known["keys"])
        if plain == key:
            yield from known["words"]
            if name == "recipe" and before[-1] in ("check", "copy"):
                yield from _recipes()
            if word.startswith("-"):
                yield from known["flags"]
        return
    # of a list or of several values to try, what is behind the last sign is completed
    start = max(value.rfind(sign) for sign in "[,") + 1
    given = value[:start].strip("[").split(",")
    for one in [*known["keys"].get(plain, ()), *_living(name, plain, value)]:
        if one not in given:
            yield f"{key}={value[:start]}{one}"


def _living(name: str, key: str, value: str) -> list[str]:
    """Values that are not always the same: run folders and recipes here."""
    if key == "recipe" and name != "recipe":
        return _recipes()
    if key in RUNS and (name in TRAINING) == (key in OF_TRAINING):
        sweeps = [f"sweeps/{path.name}" for path in _folders("sweeps")]
        own = [str(file.parent) for place in ("runs", "sweeps") for file in Path(place).glob("**/run.json")]
        return [*RUNS[key], *(sweeps if key in ("run", "sweep") else []), *(own if key != "sweep" else [])]
    return []


def _folders(place: str) -> list[Path]:
    return [path for path in Path(place).iterdir() if path.is_dir()] if Path(place).is_dir() else []


def _recipes() -> list[str]:
    from framework.config.recipes import names

    return names()


def _known() -> Known:
    """What is kept, found out anew where the package or its configs have changed since."""
    file = cache_folder() / "completion.json"
    stamp = _stamp()
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        if kept["stamp"] == stamp:
            return kept["commands"]
    except (OSError, ValueError, KeyError):
        pass
    found = {name: _of_command(name) for name in commands()}
    write_whole(file, json.dumps({"stamp": stamp, "commands": found}))
    return found


def _stamp() -> str:
    """Stands for the version, and for names and times of the modules and configs that options come from."""
    from framework.config.folders import conf_folder

    package = Path(framework.__file__).parent
    files = [*package.glob("*.py"), *package.glob("parts/*.py"), *conf_folder().rglob("*.yaml")]
    told = [framework.__version__, sys.prefix, *sorted(f"{file} {file.stat().st_mtime_ns}" for file in files)]
    return hashlib.blake2b("\n".join(told).encode(), digest_size=16).hexdigest()


def commands() -> list[str]:
    """Names of all commands, as their modules are called."""
    package = Path(framework.__file__).parent
    return sorted(file.stem for file in package.glob("*.py") if not file.name.startswith("_"))


def _of_command(name: str) -> dict[str, Any]:
    """Keys with their values, words and flags of a command."""
    flags: list[str] = ["--help", "--version"]
    keys: dict[str, list[str]] = {}
    module = import_module(f"framework.{name}")
    if name in TRAINING or name == "show":
        from framework.cli.command import FLAGS

        keys = _of_training() | OF_TRAINING
        flags += [flag for flag in FLAGS if name == "train"]
    if hasattr(module, "Options"):
        from framework.cli.options import known_options

        keys |= {key: _values(kind) for key, kind in known_options(module.Options).items()}
    if name == "show":
        from framework.cli.bases_table import COLUMNS, FORMATS

        keys |= {"sort": [*COLUMNS, *(f"-{one}" for one in COLUMNS)], "where": [], "format": list(FORMATS)}
    words = WORDS.get(name, [])
    if name == "show":
        from framework.config.folders import groups

        words = [*(group.replace("/", ".") for group in groups()), "config"]
    return {"keys": keys, "words": words, "flags": flags}


def _of_training() -> dict[str, list[str]]:
    """Groups with their options, and keys with their values where these can be told."""
    import framework.parts  # noqa: F401 - registers the shipped parts
    from framework.config.documents import primary, read_option
    from framework.config.folders import conf_folder, groups
    from framework.config.kinds import OF_HYDRA, kinds

    found = {group.replace("/", "."): list(options) for group, options in groups().items()}
    paths = [path for path in primary().keys if path.split(".")[0] not in ("defaults", "hydra")]
    for group, options in groups().items():
        for option in options:
            document = read_option(conf_folder() / group / f"{option}.yaml")
            paths += [f"{group.replace('/', '.')}.{path}" for path in document.keys if path != "defaults"]
    for path in [*paths, *OF_HYDRA]:
        if "." in path and path not in found:
            found[path] = list(dict.fromkeys(value for kind in kinds(path) for value in _values(kind)))
    return found


def _values(kind: Any) -> list[str]:
    """The values of a type that has few."""
    from framework.core.schema import members, show

    found = []
    for member in members(kind):
        if member is bool:
            found += ["true", "false"]
        elif member is type(None):
            found.append("null")
        elif not isinstance(member, type) and isinstance(member, str | int):
            found.append(show(member))
    return found
