"""What a search left untried, in words: where nothing fits, whether more of it could help."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edgepack.searching.space import Space
from edgepack.searching.telling import counted
from edgepack.searching.values import Request, Tried

MORE = "more --trials (or --time) may find one"


def untried(tried: Sequence[Tried], request: Request, space: Space) -> Iterator[str]:
    """Lines for a search that found nothing. tried: every finished trial."""
    ended = "trials ran out" if len(tried) >= request.trials else "time was up"
    if not space.cuts:
        yield from _choices(len(tried), request, space, ended)
        return
    cuts = [one for one in tried if one.choice.percent < 100]
    if not cuts:
        yield f"no cut was tried: {ended}; {MORE}"
        return
    # What a bracket left out when it trained its best was judged; a whole bracket was not.
    trained = {one.bracket for one in cuts if one.choice.epochs}
    left = sum(one.ok and one.bracket not in trained for one in cuts)
    if not left:
        return
    were = f"{counted(left, 'cut')} {'was' if left == 1 else 'were'}"
    if len(space.epochs) > 1:
        yield f"{were} not trained: {ended}; {MORE}"
    else:
        yield f"{were} not trained: there are no samples to train on; give --data with some"


def cannot_cut(request: Request, space: Space) -> bool:
    """Whether cuts were asked for in a model that has none (and not only data that stay away)."""
    return request.cut and request.device_data is None and not space.cuts


def _choices(done: int, request: Request, space: Space, ended: str) -> Iterator[str]:
    why = "nothing can be cut in this model: " if cannot_cut(request, space) else ""
    choices = counted(space.size, "choice")
    if done >= space.size:
        every = f"all {choices} were tried" if space.size != 1 else "the one choice was tried"
        yield f"{why}{every}"
    else:
        yield f"{why}{done} of {choices} {'was' if done == 1 else 'were'} tried: {ended}; {MORE}"
