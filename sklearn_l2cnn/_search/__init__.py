"""Many fits: the candidates of a search, trained one by one or stacked."""
