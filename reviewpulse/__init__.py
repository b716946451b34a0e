"""The ground floor: records, labels, text, settings, store and checkpoint forms that rooms share; it knows no room."""
