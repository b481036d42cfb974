"""Reading archives: single lines, whole files, and synthetic archives of any month to read."""
