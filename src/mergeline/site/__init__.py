"""The site of a repository: its releases, checks, reports, drift, performance, gates and lineage on one page."""
