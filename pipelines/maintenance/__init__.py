"""Upkeep of the lake: few files, bounded snapshots, nothing left behind. Changes no figure."""
