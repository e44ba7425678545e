"""What a build is made of beyond one folder, for Dagster and for the command line: one at a time, evidence
from marts to an approved candidate, everything anew, an estimate once more from its snapshot.

What is computed stands in `evidence`, what is published in `publication`; when it runs, in `defs`.
"""
