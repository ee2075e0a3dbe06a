"""Programs that measure this template beside its peers; see README.md."""
