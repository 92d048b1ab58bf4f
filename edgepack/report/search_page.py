"""The HTML page of a search; `page` is its frame."""

from __future__ import annotations

from typing import Any

from edgepack.report import page, search_charts, text
from edgepack.report.searched import DeviceSearch, Point, Search

#: Rows of a device's table; the others are in the raw data.
MOST_ROWS = 1500
#: How the status of a search is coloured: the style sheet's classes of verdicts.
BADGES = {"found": "pass", "infeasible": "fail", "unmeasured": "unmeasured"}


def render(found: Search) -> str:
    """The whole search as one HTML document."""
    return page.render(
        "search.html.j2",
        search=found,
        badge=BADGES.get(found.status, "none"),
        devices=[_device(one, found) for one in found.devices],
        took=_took(found.seconds),
        size=text.size,
        file_name=page.file_name(found.search_id),
        document=page.as_link(page.encoded(found.document)),
    )


def _device(one: DeviceSearch, search: Search) -> dict[str, Any]:
    from markupsafe import Markup

    drawn = search_charts.trials(one, search), search_charts.progress(one, search)
    rows = sorted(one.points, key=_rank)[:MOST_ROWS]
    return {
        "view": one,
        "trials": Markup(drawn[0]) if drawn[0] else None,  # noqa: S704  (escaped by svg.tag)
        "progress": Markup(drawn[1]) if drawn[1] else None,  # noqa: S704
        "rows": rows,
        "left": len(one.points) - len(rows),
        "pick": one.best.variant if one.best else "",
    }


def _rank(one: Point) -> tuple[bool, float, bool, float]:
    return not one.fits, one.excess, not one.judged, one.us


def _took(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min"
