"""Files that partners and researchers have, as events: one reader for each kind of file.

`read(path, options)` of `metapsy`, `redcap` and `fhir` gives a `rows.Row` for each row or resource, as often
as it is asked, without the file in memory. Nothing is posted here: `infra.cli.importing` does that, as any
partner would.
"""
