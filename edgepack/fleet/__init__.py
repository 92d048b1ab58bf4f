"""The fleet: each job run on its device, many at once, no failure touching another device."""

from edgepack.fleet.engine import opened, run_jobs_on
from edgepack.fleet.report import DeviceReport
from edgepack.fleet.runner import run_jobs

__all__ = ["DeviceReport", "opened", "run_jobs", "run_jobs_on"]
