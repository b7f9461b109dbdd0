"""The null model in the paper's tables: the class of the nearest labelled pixel, without any spectrum."""
