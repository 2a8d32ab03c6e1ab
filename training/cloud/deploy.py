"""Puts a model on a Raspberry Pi, perhaps with a catalog that was built with it: sent, switched to, tried, taken back.

    python -m training.cloud deploy push BUNDLE [--catalog CATALOG] [--smoke COMMAND] [--keep N]
    python -m training.cloud deploy list
    python -m training.cloud deploy rollback [--to RELEASE]

What runs there uses FOLDER/current/model and FOLDER/current/catalog. After the switch a bundled photo must be
identified there, with the new model and a small catalog that was built with it here; `smoke` under [deploy] is another
test.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cardrec.catalog import Catalog
from cardrec.model import Model
from cardrec.store import LOCK
from training.cloud.releases import Releases
from training.cloud.remote import Remote
from training.cloud.settings import Deploy, add_cloud_option, read_cloud
from training.failure import Failure, one_line

__all__ = ["assemble", "smoke_of"]

COMMAND = "python -m training.cloud deploy"

_IDENTIFY = "identify {release}/smoke/photo.jpg --model {release}/model --catalog {release}/smoke/catalog"
_VERIFY = "index verify {release}/catalog"

SMOKE_CARDS = 24
"""Of the demo deck, the photo's card among them."""


def assemble(folder: Path, bundle: Path, catalog: Path | None, *, smoke: bool) -> Model:
    """Fills a folder with what a release is: model, catalog, and what the smoke test needs.

    Raises:
        CardrecError: the bundle or the catalog is damaged, or they don't belong together.
        OSError: one can't be read.
    """
    model = Model.load(bundle)
    shutil.copytree(bundle, folder / "model")
    if catalog is not None:
        with Catalog.open(catalog) as opened:
            opened.check_model(model.fingerprint, model.preprocessing_hash)
            opened.verify()
        shutil.copytree(catalog, folder / "catalog", ignore=shutil.ignore_patterns(LOCK))
    if smoke:
        _add_smoke_test(folder, model)
    return model


def _add_smoke_test(folder: Path, model: Model) -> None:
    """A photo of a demo card, and a catalog that has the card, built with the new model."""
    from PIL import Image

    from cardrec.embed import Embedder, open_encoder
    from cardrec.samples import FOLDER
    from training.demo import CATALOG_CARDS, CATALOG_SEED, SHOTS
    from training.render import deck, render

    shot = SHOTS[0]
    first = shot.cards[0]
    specs = deck(CATALOG_CARDS, seed=CATALOG_SEED)[first : first + SMOKE_CARDS]
    items = ((spec.card_id, Image.fromarray(render(spec)), dict(spec.meta())) for spec in specs)
    with Embedder(open_encoder(model, backend="onnx")) as embedder:
        Catalog.build(folder / "smoke" / "catalog", items, encoder=embedder)
    (folder / "smoke" / "catalog" / LOCK).unlink(missing_ok=True)
    shutil.copyfile(FOLDER / f"{shot.name}.jpg", folder / "smoke" / "photo.jpg")


def smoke_of(settings: Deploy, *, catalog: bool) -> str:
    """The shell command of the smoke test."""
    if settings.smoke:
        return settings.smoke
    command = f"{settings.program} {_IDENTIFY}"
    return f"{command} && {settings.program} {_VERIFY}" if catalog else command


def _options(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(COMMAND, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--host", help="instead of the one of the settings")
    shared.add_argument("--smoke", help="shell command that must succeed there; {release} is the release's folder")
    add_cloud_option(shared)
    actions = parser.add_subparsers(dest="action", required=True)
    act = actions.add_parser("push", parents=[shared], help="send a release, switch to it, try it")
    act.add_argument("bundle", type=Path, help="model bundle")
    act.add_argument("--catalog", type=Path, help="that was built with it")
    act.add_argument("--keep", type=int, metavar="N", help="releases that stay there")
    actions.add_parser("list", parents=[shared], help="releases there, oldest first")
    act = actions.add_parser("rollback", parents=[shared], help="switch to an earlier release")
    act.add_argument("--to", default="", metavar="RELEASE", help="default: the one before the current one")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> None:
    options = _options(given)
    with one_line(COMMAND):
        settings = read_cloud(options.cloud).deploy
        settings = replace(settings, host=options.host or settings.host, smoke=options.smoke or settings.smoke)
        with Remote(settings) as remote:
            if options.action == "list":
                for release in Releases(remote, settings).all():
                    print(f"{release.name}  {release.mark}".rstrip())
            elif options.action == "rollback":
                print(f"{Releases(remote, settings).roll_back(options.to)} is current")
            else:
                _push(options, remote, settings)


def _push(options: argparse.Namespace, remote: Remote, settings: Deploy) -> None:
    keep = settings.keep if options.keep is None else options.keep
    if keep < 1:
        raise Failure(f"--keep is {keep}; expected at least 1, the release that is sent")
    settings = replace(settings, keep=keep, smoke=smoke_of(settings, catalog=options.catalog is not None))
    with tempfile.TemporaryDirectory() as folder:
        model = assemble(Path(folder) / "release", options.bundle, options.catalog, smoke="/smoke/" in settings.smoke)
        name = Releases(remote, settings).push(Path(folder) / "release", model.fingerprint[:12])
    print(f"{name} is current")


if __name__ == "__main__":
    main()
