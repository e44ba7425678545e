"""`make coverage-study`: how often intervals cover, over thousands of data sets whose truth is known.

`declarations` says what a scenario is; `closed_forms`, `pools`, `models` and `looks` declare them, each
figure with the coverage expected of it and why; `exact` computes what mathematics says, without the code
under test; `tallies` simulates and keeps what is done; `results` writes RESULTS.md. Decision 0030.
"""
