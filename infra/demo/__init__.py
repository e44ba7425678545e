"""The demo: posts two published data sets and a synthetic community as any partner would.

It uses the gateway, Dagster and the published tables like everybody else; nothing is written past them.
"""
