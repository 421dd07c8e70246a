"""Each plugin's light code is called once before anything heavy begins. No torch.

What a plugin does wrong in planning is found in the first second and said in one line with its
name, not in a traceback after minutes of preparing data.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain

from benchmark.config import Chosen, Config
from benchmark.errors import UserError
from benchmark.identity import canonical
from benchmark.loading.contract import check_spec
from benchmark.loading.faults import blamed
from benchmark.loading.origin import KINDS
from benchmark.plan import deciding_parts
from benchmark.types import AttackInstance, DatasetInfo, Trigger


def rehearse(config: Config) -> None:
    """Call what planning will call of every plugin in the run.

    Raises `UserError`, naming the plugin, if its code fails, if its options cannot be written as
    JSON, or if an attack offers what is no patch of the data set's images.
    """
    parts = (config.dataset, config.model, *config.attacks, *config.defenses, *config.metrics)
    for chosen in parts:
        with blamed(chosen.found.origin):
            canonical(chosen.component().options)
    for attack in config.attacks:
        with blamed(attack.found.origin):
            _check_instances(attack, config.dataset.spec.info)
    for defense in config.defenses:
        with blamed(defense.found.origin):
            check_spec(*KINDS["defense"], defense.spec.under(defense.options))


def _check_instances(attack: Chosen, info: DatasetInfo) -> None:
    seen: dict[str, tuple[str, int]] = {}
    for instance in attack.spec.instances(attack.options, info):
        fault = _fault(instance, info) or _twin(instance, seen)
        if fault:
            raise UserError(f"attack {attack.spec.name!r}: {fault}")
        seen[canonical(deciding_parts(instance))] = instance.trigger.name, instance.target
    if not seen:
        raise UserError(f"attack {attack.spec.name!r} offers no trigger for {info}")


def _twin(instance: AttackInstance, seen: Mapping[str, tuple[str, int]]) -> str:
    """Return which of those before it (deciding parts → name and target) it equals; or nothing."""
    name, parts = instance.trigger.name, canonical(deciding_parts(instance))
    if (name, instance.target) in seen.values():
        return f"two instances are called {name!r}"
    if parts not in seen:
        return ""
    what = "pixels, place, target" + (" and weights" if instance.model else "")
    return f"{seen[parts][0]!r} and {name!r} are two names of one instance: the same {what}"


def _fault(instance: object, info: DatasetInfo) -> str:
    """Return what is wrong with an instance; empty if nothing is."""
    if not isinstance(instance, AttackInstance) or not isinstance(instance.trigger, Trigger):
        return f"its instances hold a {type(instance).__name__}, not an AttackInstance"
    trigger, target = instance.trigger, instance.target
    if not isinstance(trigger.name, str) or not trigger.name:
        return "a trigger has no name"
    if isinstance(target, bool) or not isinstance(target, int):
        return f"the target of trigger {trigger.name!r} is no class number"
    if not 0 <= target < info.num_classes:
        return f"target {target} of trigger {trigger.name!r} is none of {info.num_classes} classes"
    height, width = trigger.size
    rows = list(chain.from_iterable(trigger.pixels))
    planes = len(trigger.pixels)
    if planes not in (3, 4) or len(rows) != planes * height or any(len(r) != width for r in rows):
        return f"trigger {trigger.name!r} is not of shape (3, height, width)"
    if not (0 < height <= info.image_size[0] and 0 < width <= info.image_size[1]):
        return f"trigger {trigger.name!r} does not fit images of {info.image_size}"
    if not all(0 <= value <= 1 for row in rows for value in row):
        return f"trigger {trigger.name!r} has values outside [0, 1]"
    return _place_fault(trigger, info)


def _place_fault(trigger: Trigger, info: DatasetInfo) -> str:
    if trigger.place is None:
        return ""
    room = zip(trigger.place, trigger.size, info.image_size, strict=True)
    if all(0 <= at <= whole - size for at, size, whole in room):
        return ""
    return (
        f"trigger {trigger.name!r} does not fit at {trigger.place} in images of {info.image_size}"
    )
