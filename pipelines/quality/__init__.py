"""What is checked at the two doors of the warehouse: raw rows before staging, evidence before release. And
beside it: live figures against what the warehouse makes of the same events.

Who checks what: the gateway checks the shape of one message and refuses it; Great Expectations checks
slices of raw rows and candidate tables here; dbt tests check keys and relationships between models.
Statistics and the rules of disclosure do not belong here.
"""
