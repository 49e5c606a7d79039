"""Which customer may use which product."""
