"""Risks that were raised in groups to alerts for whoever is on duty: a path of its own, from the events'
topic to a topic of alerts, a table and webhooks. It waits for no lake, no warehouse and no consent.

What a risk means and what is to be done about it is not judged here: nothing here is clinical.
"""
