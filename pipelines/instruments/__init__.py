"""Questionnaires: codes, items, ranges and scoring rules. What becomes of a score does not belong here.

Until the registry of instruments stands, a score is the total as posted, or the sum of the items posted.
"""
