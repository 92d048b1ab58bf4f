"""A stored search as a page shows it: the trials, the front, the best so far, and what binds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgepack import fetching
from edgepack.analysis.quality import better_is_lower
from edgepack.plan import Target
from edgepack.report import search_page
from edgepack.report.searched import DeviceSearch, Final, Limit, Point, Search
from edgepack.report.text import plain
from edgepack.searching import limits
from edgepack.searching.answers import Binding
from edgepack.searching.document import SCHEMA, trials
from edgepack.searching.finalists import front
from edgepack.searching.gauge import Setting
from edgepack.searching.study import Study
from edgepack.searching.telling import amount, beyond, distance, said
from edgepack.searching.values import Choice, Judge, Request, Tried, judged_on

UNFINISHED = "unfinished"
_Bound = tuple[str, str, float]
"""See `limits.of_device`."""
_UNKNOWN = Judge(metric="quality", source=0.0, samples=0)


def page(study: Study) -> str:
    """The search as one HTML document that opens offline."""
    return search_page.render(of(study))


def document(study: Study) -> dict[str, Any]:
    """The stored search as its document, schema `edgepack.search/1`."""
    return {**_concluded(study), "trials": trials(study.tried())}


def _concluded(study: Study) -> Mapping[str, Any]:
    none = {"schema": SCHEMA, "search_id": study.name, "runs": [], "devices": {}, "lost": {}}
    return study.concluded or {**none, "status": UNFINISHED}


def of(study: Study) -> Search:
    """The stored search, all of its text cleaned."""
    tried, request, judge = study.tried(), study.request, study.judge or _UNKNOWN
    concluded, error = _concluded(study), better_is_lower(judge.metric)
    ahead = {one.number for one in front([one for one in tried if one.ok and one.choice.judged])}
    devices = tuple(
        _device(target, request, concluded["devices"].get(target.device.name), tried, ahead, judge)
        for target in request.targets
    )
    return Search(
        search_id=plain(study.name),
        source=plain(Path(fetching.shown(request.model).partition("#")[0]).name),
        status=concluded["status"],
        headline=_headline(study.name, concluded, devices),
        metric=plain(judge.metric, 40),
        samples=judge.samples,
        source_quality=judge.source,
        by_speed=limits.quality_is_limited(request.budgets),
        trials=len(tried),
        seconds=study.seconds_used,
        asked=tuple(_asked(request, error=error)),
        devices=devices,
        failed=tuple(
            (f"t{one.number:03d}", choice(one.choice), plain(one.error))
            for one in tried
            if not one.ok
        ),
        lost=tuple((plain(name), plain(why)) for name, why in concluded["lost"].items()),
        notes=tuple(plain(note) for note in concluded.get("notes", ())),
        runs=tuple(plain(run) for run in concluded["runs"]),
        document=document(study),
    )


def choice(chosen: Choice) -> str:
    """A choice in words: "int8, cut to 60% of the time (l2, lean +1), 6 epochs"."""
    parts = [chosen.scheme]
    if chosen.percent < 100:
        lean = f", lean {chosen.lean:+g}" if chosen.lean else ""
        parts.append(f"cut to {chosen.percent}% of the time ({chosen.importance}{lean})")
    if chosen.epochs:
        parts.append(f"{chosen.epochs} epoch{'s' * (chosen.epochs != 1)}")
    if chosen.threads:
        parts.append(f"{chosen.threads} thread{'s' * (chosen.threads != 1)}")
    if chosen.runtime:
        parts.append(chosen.runtime)
    return plain(", ".join(parts))


def _headline(name: str, concluded: Mapping[str, Any], devices: Sequence[DeviceSearch]) -> str:
    if concluded["status"] == UNFINISHED:
        return f"Not finished yet; it goes on with: edgepack search --resume {plain(name)}"
    best = [
        f"{one.best.variant} on {one.name}" + (f" ({one.best.setting})" if one.best.setting else "")
        for one in devices
        if one.best
    ]
    without = [one.name for one in devices if one.found is False]
    parts = [f"Ship {', '.join(best)}." if best else ""]
    parts += [f"Nothing meets the budget on {', '.join(without)}." if without else ""]
    parts += ["Not every device could be measured." if concluded["lost"] else ""]
    return " ".join(part for part in parts if part)


def _asked(request: Request, *, error: bool) -> Iterator[tuple[str, str]]:
    yield "data", plain(fetching.shown(request.data or "seeded random inputs"))
    for budget in request.budgets:
        bounds = [
            f"{name} {amount(name, most, error=error)}" for name, most in budget.limits.items()
        ]
        yield f"budget {plain(budget.selector, 60)}", plain(", ".join(bounds))
    yield "trials at most", str(request.trials)
    yield "time", "no limit" if request.seconds is None else f"{request.seconds:g} s"
    yield "schemes", ", ".join(request.schemes)
    yield "threads", ", ".join(str(count or "the profile's") for count in request.threads)
    yield "runtimes", plain(", ".join(name or "the profile's" for name in request.runtimes))
    yield "epochs", f"{request.epochs[0]}, then {request.epochs[1]} more"
    yield "cuts", "yes" if request.cut else "no"
    yield "seed", str(request.seed)


# ---------------------------------------------------------------- one device


def _device(
    target: Target,
    request: Request,
    answer: Mapping[str, Any] | None,
    tried: Sequence[Tried],
    ahead: set[int],
    judge: Judge,
) -> DeviceSearch:
    name, error = target.device.name, better_is_lower(judge.metric)
    # By data of their own devices judge every scheme alike.
    here = judge if request.device_data is None else replace(judge, samples=0)
    own = [one for one in tried if one.ok and name in one.latency_us]
    found = tuple(_finals(answer)) if answer else ()
    best = next((one for one in found if one.best), None)
    binding = tuple(_binding(each, error=error) for each in answer["binding"]) if answer else ()
    bounds = list(limits.of_device(request.budgets, target.device))
    return DeviceSearch(
        name=plain(name),
        profile=plain(target.profile.name),
        points=tuple(_point(one, name, bounds, one.number in ahead, here) for one in own),
        limits=tuple(_limit(*bound, own, error=error) for bound in bounds),
        finals=found,
        best=best,
        found=None if answer is None else best is not None,
        outcome=_outcome(answer, best),
        binding=binding,
    )


def _outcome(answer: Mapping[str, Any] | None, best: Final | None) -> str:
    if answer is None:
        return "not concluded"
    if best is None:
        return "nothing meets the budget"
    return f"meets the budget, {best.speedup:.2f}× as fast as the float source"


def _point(
    one: Tried, device: str, bounds: Sequence[_Bound], on_front: bool, judge: Judge
) -> Point:
    samples, error = judged_on(one.choice.scheme, judge.samples), better_is_lower(judge.metric)
    fewer = f", judged on {samples} samples" if samples < judge.samples else ""
    over = [
        (limit, one.over[key], bound) for key, limit, bound in bounds if one.over.get(key, 0.0) > 0
    ]
    return Point(
        number=one.number,
        stage=plain(one.stage, 20),
        choice=choice(one.choice) + fewer,
        us=one.latency_us[device],
        speedup=one.speedup[device],
        quality=one.quality,
        loss=one.loss,
        bytes=one.bytes,
        missed=tuple(f"{each[0]} by {distance(*each, error=error)}" for each in over),
        excess=sum(share for _, share, _ in over),
        judged=one.choice.judged,
        on_front=on_front,
        at_s=one.at_s,
    )


def _limit(key: str, name: str, bound: float, own: Sequence[Tried], *, error: bool) -> Limit:
    shares = [one.over[key] for one in own if key in one.over and one.choice.judged]
    nearest = min(shares, default=None)
    said = "not measured" if nearest is None else "met"
    if nearest is not None and nearest > 0:
        said = beyond(name, nearest, bound, error=error)
    return Limit(
        name=plain(name, 60),
        bound=bound,
        judged=len(shares),
        missed=sum(share > 0 for share in shares),
        nearest=nearest,
        shown=amount(name, bound, error=error),
        said=said,
    )


def _finals(answer: Mapping[str, Any]) -> Iterator[Final]:
    best = answer["best"] or {}
    ahead = [(one["run"], one["variant"]) for one in answer["pareto"]]
    for one in sorted(answer["finalists"], key=lambda one: float(one["latency_us"])):
        place = one["run"], one["variant"]
        yield Final(
            variant=plain(one["variant"]),
            us=one["latency_us"],
            ci95_us=_interval(one.get("latency_ci95_us")),
            setting=plain(Setting(threads=one["threads"] or 0, runtime=one["runtime"] or "").said),
            speedup=one["speedup"],
            quality=one["quality"],
            delta=one["quality_delta"],
            bytes=one["bytes"],
            fits=one["fits"],
            on_front=place in ahead,
            best=place == (best.get("run"), best.get("variant")),
            run_id=plain(one["run"]),
        )


def _interval(found: Sequence[float] | None) -> tuple[float, float] | None:
    """None in searches that were concluded before intervals were kept."""
    return (found[0], found[1]) if found else None


def _binding(each: Mapping[str, Any], *, error: bool) -> str:
    found = Binding(
        limit=each["limit"],
        bound=each["bound"],
        value=each["value"],
        excess=each["excess"],
        variant=each["variant"],
        others=each["meets_all_others"],
    )
    return plain(said(found, error=error))
