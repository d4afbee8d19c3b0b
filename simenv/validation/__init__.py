"""Physics cases measured against theory and experiment: `simenv validate`.

`registry` names the cases and is light; each module of `cases` runs one of them and returns an
`Outcome`, comparisons and curves; `runner`, `report` and `plots` run, tabulate and draw them.
"""
