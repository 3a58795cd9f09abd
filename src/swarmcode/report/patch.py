"""The proven patch as a person or git is given it. Inside a run, and in its report, paths begin at its folder."""

from swarmcode.flow import Report
from swarmcode.sections import rooted


def patch(report: Report) -> str:
    """The proven patch, of all that failed or of a part of it; empty where nothing is proven.

    Its paths begin at the top of the repository, also where the run was about a folder in it: so `git apply` takes it
    wherever one stands.
    """
    if report.merge is None or not report.merge.proven:
        return ""
    return rooted(report.merge.diff, report.issue.inside)
