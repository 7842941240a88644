"""How long it takes to load and compile a thousand journeys: `python -m tests.bench.journeys [N] [--plain]`.

Journeys are those of tests/data/config/worked (four steps, a decision, list mapping, branches), each with another name
and condition; `--plain` leaves out of them what remembers, measures, draws and caps. Times are CPU seconds of one
process, which other work on the machine changes by a third at most.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import shutil
import tempfile
import time

from ruamel.yaml import YAML

from pipeline.config.compile import compile as compile_config
from pipeline.config.load import load
from pipeline.config.secrets import Secrets

WORKED = pathlib.Path("tests/data/config/worked")
SECRETS = dict.fromkeys(("CRM_TOKEN", "PROMO_ALERT", "SALES_ALERT", "PRIVACY_ALERT"), "a" * 40)


def write(root: pathlib.Path, count: int, *, plain: bool) -> None:
    """Write a configuration of so many journeys."""
    shutil.copytree(WORKED, root)
    for folder in ("journeys", "env", "tests"):
        shutil.rmtree(root / folder)
    (root / "journeys").mkdir()
    yaml = YAML(typ="safe", pure=True)
    whole = yaml.load(root / "hookline.yaml")
    journey = yaml.load(WORKED / "journeys/cart_recovery.yaml")
    if plain:
        for key in ("brakes", "caps", "quiet_hours"):
            del whole[key]
        for key in ("holdout", "success", "cancel_on"):
            del journey[key]
        del journey["trigger"]["once"]
    yaml.dump(whole, root / "hookline.yaml")
    for number in range(count):
        journey["journey"] = f"cart_{number}"
        journey["trigger"]["when"] = f"event.properties.cart_value >= {20 + number}.0"
        yaml.dump(journey, root / f"journeys/cart_{number}.yaml")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("journeys", type=int, nargs="?", default=1_000)
    parser.add_argument("--plain", action="store_true")
    args = parser.parse_args()
    count = args.journeys
    schemas = {path.stem: json.loads(path.read_text()) for path in (WORKED / "schemas").glob("*.avsc")}
    with tempfile.TemporaryDirectory() as temporary:
        root = pathlib.Path(temporary) / "config"
        write(root, count, plain=args.plain)
        start_s = time.process_time()
        config = load(root, None)
        loaded_s = time.process_time()
        made = compile_config(config, Secrets(root, SECRETS), schemas)
        plan = made.plan("shop.carts", schemas["shop.CartAbandoned"])
        done_s = time.process_time()
    assert len(plan.routes["cart.abandoned"]) == count
    print(  # noqa: T201
        f"{count} journeys: load {loaded_s - start_s:.2f} s, compile {done_s - loaded_s:.2f} s of CPU"
    )


if __name__ == "__main__":
    main()
