"""`srd ls [KIND]`: what there is."""

from pathlib import Path

from srd.commands.terminal import hanging, outputs_of
from srd.errors import UserError, nearest
from srd.store.manifests import artefacts_in, read_manifest


def ls(words: list[str]) -> None:
    """`srd ls [KIND]`: config options, or artefacts."""
    from srd.commands.schema import groups, options

    outputs, rest = outputs_of(words)
    kinds = [*groups(), "artefacts"]
    if rest and rest[0] not in kinds:
        raise UserError(f"unknown kind '{rest[0]}'; {nearest(rest[0], kinds)}")
    for group in [kind for kind in kinds[:-1] if not rest or kind == rest[0]]:
        print(group)
        found = options(group)
        longest = max(len(name) for name in found)
        for name, path in found.items():
            print(hanging(f"  {name:<{longest}}  ", _headline(path)))
    if not rest or rest[0] == "artefacts":
        print(f"artefacts in {outputs}")
        _list_artefacts(outputs)


def _list_artefacts(outputs: Path) -> None:
    """One line an artefact; after all that are sound, a `UserError` for the first that is not."""
    unsound: list[UserError] = []
    for folder in artefacts_in(outputs):
        try:
            manifest = read_manifest(folder)
        except UserError as error:
            unsound.append(error)
            continue
        seconds = manifest["ledger"]["seconds"]
        print(f"  {folder.relative_to(outputs)!s:<28} {manifest['started']}  {seconds:.1f} s")
    if unsound:
        raise unsound[0]


def _headline(path: Path) -> str:
    """The first comment of a config file."""
    comments = [
        line[1:].strip()
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.startswith("#") and "@package" not in line
    ]
    return comments[0] if comments else ""
