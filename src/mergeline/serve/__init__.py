"""The model server: from a verified release to answers, logs and figures."""
