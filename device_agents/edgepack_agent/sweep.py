"""The further thread counts of a job: visited in the same rounds as its variants."""

from typing import Callable, List, Sequence, Set

from edgepack_agent import cpu, modes
from edgepack_agent.job import Job
from edgepack_agent.subject import Subject


def subjects(job: Job) -> List[Subject]:
    """The job's variants in order, and behind them each with each further thread count.

    timeout_s is shared: one half of a variant's part is its own, the other that of its sweep.
    """
    further = job.settings.sweep_threads
    share = job.settings.timeout_s / len(job.variants) / (2 if further else 1)
    own = [Subject(ref, share, job.threads) for ref in job.variants]
    return own + [
        Subject(ref, share / len(further), threads, swept=True)
        for ref in job.variants
        for threads in further
    ]


def fold(
    visited: Sequence[Subject], excluded: Set[int], warn: Callable[[Subject, str], None]
) -> None:
    """End the sweep's children, and give their medians to their variants.

    What one of them failed of is no failure of the variant: it is told, and a flag.
    """
    variants = {subject.ref.name: subject for subject in visited if not subject.swept}
    for subject in visited:
        if not subject.swept:
            continue
        subject.end()
        variant = variants[subject.ref.name]
        medians = modes.medians(subject.clean(excluded))
        if medians:
            variant.sweep.append({"threads": subject.threads, "medians_ns": medians})
            used = subject.cpu
            if used is not None and cpu.threads_ignored(subject.threads, used, min(medians)):
                variant.flags.append("threads-ignored")
        if subject.error is not None:
            variant.flags.append("sweep-incomplete")
            warn(variant, "with %d threads: %s" % (subject.threads, subject.error["what"]))
