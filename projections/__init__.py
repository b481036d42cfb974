"""Views of the log, each declared once as data and pure folds; ``step`` runs them, live and in bulk alike."""
