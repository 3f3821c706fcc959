"""Reports: runs as one page of HTML that needs no network."""

from ritz.report.facts import RunFacts as RunFacts
from ritz.report.facts import facts_of as facts_of
from ritz.report.page import write_report as write_report
