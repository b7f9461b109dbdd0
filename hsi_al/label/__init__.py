"""Labelling by a person: a session in a folder, a page in the browser, an assessment and files for QGIS at the end."""
