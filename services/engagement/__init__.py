"""Participation events to rolling figures of groups: a Faust worker and its arithmetic.

The figures are fast and absolute; the truth is the recompute from raw by dbt. What is published to
analysts is not made here.
"""
