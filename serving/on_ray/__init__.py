"""``firstreply score --engine ray``: bulk scoring on many machines. Nothing else needs Ray, pyarrow or this package."""
