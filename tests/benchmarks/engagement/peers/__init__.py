"""Programs that do a part of the engagement worker's work, each the way its library has it.

They are started as processes of their own; `quix` in an environment of its own.
"""
