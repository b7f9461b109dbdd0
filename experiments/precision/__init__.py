"""Whether scoring in a lower precision changes which pixels are queried."""
