"""Pulls: pages of the account → mapping in the pull direction → Dataset.write → ledger, each lot in one transaction.

steps      what each kind of part does                 window    what is asked for, and how far the pulls of a sync came
pages      lots of records, read ahead of their use    arriving  one lot, from records to rows, in one transaction
deciding   what one record needs (pure)                finding   which record of ours it is
glance     what can be said without the database (pure)
asking     records by their ids                        local     rows here: locked, read, written
undone     what a run was to fetch and did not         gone      what is not there any more
"""
