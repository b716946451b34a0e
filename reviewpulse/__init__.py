"""The ground floor: records, labels, text, settings, store and checkpoint forms that the rooms share; it knows no room."""
