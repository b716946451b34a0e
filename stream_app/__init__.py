"""Scores the stream: reviews topic in, predictions topic and store out; must not know who writes or reads them."""
