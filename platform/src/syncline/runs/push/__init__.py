"""The push pipeline: dataset → map → compare → match → send → record.

`reader` reads changed rows in keyset chunks, `prepare` fills the identity index, `matching` decides who is who (pure),
`classify` says what each row needs (pure), `sender` writes batches and records their outcomes, `pipeline` moves it all.
"""
